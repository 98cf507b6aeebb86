"""Calls that we place: the dialler of a server and what it needs."""
