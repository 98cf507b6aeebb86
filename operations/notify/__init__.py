"""Alerts: which events make an incident, when to notify operators, and the channels."""
