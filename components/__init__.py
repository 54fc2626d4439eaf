"""Pulumi components of the MLOps loop, one per file; `MlopsStack` wires them, and each can be used alone."""
