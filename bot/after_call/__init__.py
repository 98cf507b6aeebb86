"""What a call came to: found out behind its end, kept, told, and called back."""
