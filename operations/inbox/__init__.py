"""The inbox: callbacks and messages for the staff, and notices about them."""
