"""Whole recordings and whole texts: what each provider does outside a live call."""
