"""A simulated ElevenLabs."""
