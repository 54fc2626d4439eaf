"""Queries and operations on the AWS resources of a use case, for the commands."""
