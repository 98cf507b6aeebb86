"""A simulated Deepgram Aura."""
