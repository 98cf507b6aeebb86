"""The pages that a browser gets: the telephone at `/client/` and the console at `/`."""
