"""The browser pages: the telephone at `/client/`, the console at `/`, one call at `/calls/ID`."""
