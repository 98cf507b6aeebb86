"""Speech and language providers, one module a vendor, and their catalogue."""
