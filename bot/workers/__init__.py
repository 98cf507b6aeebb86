"""The supervisor, its workers, and what one process needs to answer calls."""
