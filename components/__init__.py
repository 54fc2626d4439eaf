"""Pulumi components of the whole MLOps loop, one noun a file; `MlopsStack` wires them, each is of use alone."""
