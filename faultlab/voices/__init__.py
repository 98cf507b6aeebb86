"""Speech for the simulators."""
