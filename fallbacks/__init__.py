"""Decide: what happens when a provider fails; standard library only, no clock, chance or I/O."""
