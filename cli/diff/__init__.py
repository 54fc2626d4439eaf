"""`millrace diff`: what a change would do to data, traffic, model, permissions, alarms and cost, for a reviewer."""

from cli.diff.command import diff

__all__ = ["diff"]
