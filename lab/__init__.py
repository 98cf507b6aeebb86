"""The fault lab, the drill and the demo: providers, carriers and callers on loopback."""
