"""Clocks, the HTTP client, host names, exit codes: for every process."""
