"""What was rendered ahead of being needed: texts as sound in the agent's voice."""
