"""Speech when an answer is late or cannot come: fillers, the outage menu, silence, farewell."""
