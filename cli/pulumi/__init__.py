"""The Pulumi CLI as a subprocess: updates, previews, state, locks, secrets."""
