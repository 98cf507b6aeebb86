"""Checks for whatever could stop the first call."""
