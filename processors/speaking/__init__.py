"""The voices' stage: sentences, the ledger, word times."""
