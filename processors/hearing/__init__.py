"""The STT stage, and the caller's words by voice or keypad."""
