"""The facts of a call: events, the turn's timeline, the call's phase, its outcome."""
