"""Real probes: each asks its provider for a small piece of what a caller needs."""
