"""Pulumi components: one noun a file, each usable alone by someone who never heard of a use case."""
