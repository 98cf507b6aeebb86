"""Clips: texts rendered in advance as audio in the agent's voice."""
