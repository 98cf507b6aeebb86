"""A simulated Anthropic."""
