"""A simulated Cartesia."""
