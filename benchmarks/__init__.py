"""Measurements of Holdline that a person runs; each file says what it prints."""
