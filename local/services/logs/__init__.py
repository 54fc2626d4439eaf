"""CloudWatch Logs: what this cloud adds to moto's: lookups of names, and metric filters that publish."""
