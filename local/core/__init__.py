"""The shared core of the cloud's services: protocol, store, clock, events and access keys."""
