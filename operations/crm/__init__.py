"""The owner's customer register: asked about callers, and told of calls."""
