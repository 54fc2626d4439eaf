"""Rules, patterns, targets and their deliveries."""
