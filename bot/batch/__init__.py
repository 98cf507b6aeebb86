"""Whole recordings into words and whole texts into sound, outside a call."""
