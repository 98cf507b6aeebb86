"""Telephone calls over a carrier's websocket; a dialect describes each carrier."""
