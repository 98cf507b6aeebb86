"""Probes of the real kind: each asks its provider for a morsel of what a caller needs."""
