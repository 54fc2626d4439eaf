"""The content of a report, and its plots."""
