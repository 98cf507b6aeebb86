"""The demo: the server against simulated providers, and a campaign among simulated callees."""
