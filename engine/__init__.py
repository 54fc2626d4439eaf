"""The Pulumi engine on this machine: the official CLI, found, installed or built, and what local stacks need."""
