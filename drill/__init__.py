"""The drill: breaks everything on purpose and judges what the caller's ear got."""
