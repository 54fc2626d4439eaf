"""Read-only queries of an AWS account. They need boto3, but neither Pulumi nor NumPy."""
