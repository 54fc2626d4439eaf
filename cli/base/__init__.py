"""Comparing two revisions on this machine, without credentials."""
