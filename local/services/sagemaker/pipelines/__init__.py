"""Pipelines: definitions, executions, steps."""
