"""Outbound calls: contacts, calling hours, dials and their results."""
