"""The commands of `holdline`, one thin file each."""
