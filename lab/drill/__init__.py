"""The drill: breaks everything on purpose, and judges what callers heard."""
