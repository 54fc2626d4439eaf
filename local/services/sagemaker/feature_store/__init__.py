"""Feature groups and their records."""
