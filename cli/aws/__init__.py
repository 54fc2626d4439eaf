"""What the commands ask an account about a use case, and start there."""
