"""The supervisor and its workers, and the resources of a process that answers calls."""
