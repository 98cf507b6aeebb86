"""Batch requests: whole recordings and whole texts, outside a live call."""
