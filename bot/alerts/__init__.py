"""Tells operators of incidents, through the channels that the configuration names."""
