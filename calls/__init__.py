"""A call's data: events, the turn and its deadline, phases, cost, outcome, resume state."""
