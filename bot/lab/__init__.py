"""The door to the fault lab: as a process, its control, its callers."""
