"""One thin file for each command of `holdline`."""
