"""The commands that run the lab: `demo`, `drill`, `lab` and `replay`."""
