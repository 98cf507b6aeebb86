"""The server: who may come in, by which door, and the pages."""
