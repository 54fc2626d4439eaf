"""What every service of the cloud stands on: the protocol, the store, the clock, events, keys."""
