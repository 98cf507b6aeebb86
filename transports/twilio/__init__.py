"""Twilio: its media dialect, webhook, REST interface and dialling."""
