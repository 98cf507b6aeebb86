"""The world on loopback: simulated providers and callers that speak the real protocols and break on purpose."""
