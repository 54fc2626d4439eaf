"""Clients that nobody here wrote, against the local cloud: each in an environment of its own; `make clients`."""
