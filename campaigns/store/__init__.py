"""Database access of campaigns: queue, contacts, dials, figures."""
