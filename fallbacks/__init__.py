"""Decisions about provider failures. Pure: standard library only, no clock, no chance, no I/O."""
