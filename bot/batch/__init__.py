"""Transcription of recordings and synthesis of texts outside calls."""
