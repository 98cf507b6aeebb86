"""Transfer of a caller to a person."""
