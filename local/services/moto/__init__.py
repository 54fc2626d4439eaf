"""The services that moto implements, mounted in this process."""
