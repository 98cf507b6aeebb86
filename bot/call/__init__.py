"""One call: put together, run, and ended."""
