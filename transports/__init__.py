"""The caller's line: one package a carrier or kind of line, and what they share."""
