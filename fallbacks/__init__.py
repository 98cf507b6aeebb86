"""Decisions about provider failures. Pure: standard library and PyYAML only, no clock, no chance, no I/O."""
