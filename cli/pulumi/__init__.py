"""The Pulumi CLI as a subprocess: updates, state, locks, secrets."""
