"""The command `millrace`, which does what `pulumi` does not do."""
