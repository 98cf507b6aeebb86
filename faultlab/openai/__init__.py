"""A simulated OpenAI."""
