"""Calls that we place: the dialer in its house, and what it needs of it."""
