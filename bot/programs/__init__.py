"""The programs behind the commands; each runs until its work is done or until it is stopped."""
