"""Millrace's vocabulary: what a use case declares and where it runs.

Importing it costs only pydantic: no AWS, no Pulumi, no NumPy.
"""

from millrace.declaration import (
    Champion,
    Expect,
    FeatureTable,
    Gate,
    Monitoring,
    Retraining,
    Slice,
    UseCase,
)
from millrace.environment import Environment
from millrace.errors import DeclarationError, MillraceError

__all__ = [
    "Champion",
    "DeclarationError",
    "Environment",
    "Expect",
    "FeatureTable",
    "Gate",
    "MillraceError",
    "Monitoring",
    "Retraining",
    "Slice",
    "UseCase",
]
