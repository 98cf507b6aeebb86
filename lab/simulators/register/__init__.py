"""A simulated register of customers, as a CRM offers one over HTTP."""
