"""The evidence report for a post-mortem."""
