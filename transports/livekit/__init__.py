"""LiveKit: rooms, SIP trunks and dialling."""
