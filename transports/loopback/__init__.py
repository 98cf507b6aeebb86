"""A line without a network: recorded audio in, what the caller heard out."""
