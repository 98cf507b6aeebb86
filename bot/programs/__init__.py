"""What a command starts: it runs until its work is done, or until it is told to stop."""
