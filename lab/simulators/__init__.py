"""Simulated providers, carriers and callers; imports nothing of Holdline but the engines."""
