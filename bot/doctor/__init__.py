"""Checks, before the first call, for anything that would make it fail."""
