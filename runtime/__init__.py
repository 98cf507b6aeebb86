"""What every process uses: clocks, the HTTP client, host names, exit codes."""
