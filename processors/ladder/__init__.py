"""What the three stages share: rungs, gates, seats, reconnecting."""
