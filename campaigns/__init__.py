"""Outbound calls: contacts, calling hours, dialling and results."""
