"""Comparison of two revisions on this machine, without credentials."""
