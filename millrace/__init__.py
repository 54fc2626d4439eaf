"""The declaration of a use case, and of the environment in which it runs.

Importing it needs only pydantic: no AWS SDK, no Pulumi, no NumPy.
"""

from millrace.declaration import FeatureTable, UseCase
from millrace.environment import Environment
from millrace.errors import DeclarationError, MillraceError
from millrace.rules import Champion, Expect, Gate, Inferred, Monitoring, Retraining, Slice

__all__ = [
    "Champion",
    "DeclarationError",
    "Environment",
    "Expect",
    "FeatureTable",
    "Gate",
    "Inferred",
    "MillraceError",
    "Monitoring",
    "Retraining",
    "Slice",
    "UseCase",
]
