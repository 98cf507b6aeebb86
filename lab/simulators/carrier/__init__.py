"""A simulated telephone carrier and its callers."""
