"""What outlives the process: wishes that callers left, in a database."""
