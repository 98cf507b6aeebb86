"""Shared parts of the three stages: rungs, gates, seats, reconnecting."""
