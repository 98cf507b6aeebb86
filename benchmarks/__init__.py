"""Measurements of Holdline, started by hand; benchmarks/README.md describes them."""
