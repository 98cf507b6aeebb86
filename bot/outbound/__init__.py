"""Outbound calls: the dialler of a server and its dependencies."""
