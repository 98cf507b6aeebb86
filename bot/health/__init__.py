"""Health of the providers: breakers, probes, sharing between processes, the operator's view."""
