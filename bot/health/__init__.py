"""What is known of the providers: watched, probed, shared with other processes, shown."""
