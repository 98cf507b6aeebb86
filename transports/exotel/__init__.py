"""Exotel: its media dialect, REST interface and dialling."""
