"""Decisions about provider failures: no clock, no chance, no I/O.

They import only the standard library, and PyYAML for tables.
"""
