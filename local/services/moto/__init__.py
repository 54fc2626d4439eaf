"""The services that moto answers, mounted in this process."""
