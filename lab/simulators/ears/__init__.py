"""Speech recognition for the simulators."""
