"""Alerts: which facts make an incident, whom to tell, and the channels."""
