"""One call: building it, running it, ending it."""
