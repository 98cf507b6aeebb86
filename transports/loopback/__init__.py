"""A line without a network: plays recorded audio into a call, and records what the caller hears."""
