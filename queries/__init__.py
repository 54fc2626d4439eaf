"""Read-only questions to an AWS account, each asked in one way. Needs boto3, and neither Pulumi nor arrays."""
