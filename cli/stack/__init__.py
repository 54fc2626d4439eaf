"""Stacks that commands work on, their files, and the connection to their account."""
