"""The configuration: its models, where values come from, and checks."""
