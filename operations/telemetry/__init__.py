"""The event stream's listeners: log, journal, metrics, live view, traces."""
