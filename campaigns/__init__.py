"""Outbound: whom to call, when, and what became of it."""
