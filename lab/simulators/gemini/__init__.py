"""A simulated Gemini."""
