"""The demo: a server with simulated providers, and a campaign with simulated callees."""
