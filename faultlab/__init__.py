"""The world on loopback: simulated providers and callers on the real protocols, made to break."""
