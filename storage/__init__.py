"""What outlives the process: requests that callers left, and what is known of the providers."""
