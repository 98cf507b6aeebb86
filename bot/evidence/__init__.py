"""What a post-mortem needs: read from the database, written as a page and as JSON."""
