"""The tables' readers and writers for campaigns: queue, contacts, dials, figures."""
