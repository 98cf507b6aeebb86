"""A simulated CRM over HTTP."""
