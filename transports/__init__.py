"""Do: what every telephone offers a call, one file a telephone."""
