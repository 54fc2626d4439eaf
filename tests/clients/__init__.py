"""Third-party clients against the local cloud, each in its own environment; run them with `make clients`."""
