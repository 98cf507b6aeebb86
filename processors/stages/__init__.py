"""The three stages of a call, each a ladder of providers in the place of one."""
