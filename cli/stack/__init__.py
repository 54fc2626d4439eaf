"""What a command is about: stacks, their files, and the connection to their account."""
