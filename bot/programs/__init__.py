"""The programs behind the commands; each runs until it is done or stopped."""
