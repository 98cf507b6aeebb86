"""Pipecat processors: they turn frames into events, and decisions into frames."""
