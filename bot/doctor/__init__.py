"""What could stop the first call, looked for before it."""
