"""Handing a caller to a person."""
