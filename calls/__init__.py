"""Facts about a call: events, the turn and its deadline, phases, cost, outcome, resume state."""
