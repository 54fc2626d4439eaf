"""AWS services, one folder each; moto provides those that are not implemented here."""
