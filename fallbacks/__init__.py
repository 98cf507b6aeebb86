"""Decide: what happens when a provider fails; standard library only, no clock, no chance, no I/O."""
