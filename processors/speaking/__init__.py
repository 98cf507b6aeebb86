"""The TTS stage: sentences, the ledger, word times."""
