"""Callbacks and messages that callers were promised: listed, closed, told of."""
