"""Simulated providers, carriers and callers; of Holdline's packages they import only `engines`."""
