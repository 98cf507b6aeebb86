"""From the configuration to a ladder's rungs: what they are built from, are told, and cost."""
