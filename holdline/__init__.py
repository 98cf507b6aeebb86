"""Holdline as one package, as the wheel installs it."""
