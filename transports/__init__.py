"""The caller's line: one package for each carrier or kind of line, and the code they share."""
