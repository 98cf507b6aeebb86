"""Facts about languages: one YAML file for each language, and `facts.py`, which reads them."""
