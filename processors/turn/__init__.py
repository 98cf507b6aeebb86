"""End of turn: detector, deadline, the path of the caller's audio."""
