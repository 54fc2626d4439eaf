"""What runs in place of a container: a process, its guard, its logs."""
