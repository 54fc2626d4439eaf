"""Setup of the Pulumi engine: the official CLI, found, installed or built, and its home for local stacks."""
