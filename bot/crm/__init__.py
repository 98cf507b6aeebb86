"""An owner's customer register: who calls, and what a call came to."""
