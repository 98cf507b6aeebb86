"""A simulated Deepgram."""
