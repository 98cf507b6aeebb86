"""A simulated telephone carrier and the caller behind it."""
