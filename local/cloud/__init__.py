"""The cloud's core: wire protocol, validation, state, clock, and the services that moto answers."""
