"""The declaration of a use case, and of the environment in which it runs.

Importing it needs only pydantic: no AWS SDK, no Pulumi, no NumPy.
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
