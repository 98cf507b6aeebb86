"""Do: the vendors of speech and language, one file a vendor, and the catalogue that lists them."""
