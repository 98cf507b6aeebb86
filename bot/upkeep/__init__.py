"""What keeps a process well: its tasks at work, how late its loop is, what it uses."""
