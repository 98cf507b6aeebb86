"""Speech and language providers, one module per vendor, and their catalogue."""
