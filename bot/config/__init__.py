"""What a configuration holds, where its values come from, and what is wrong with it."""
