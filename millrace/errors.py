"""The product's error tree: every error says what, where, the value, what was expected and the next step.

```
MillraceError
├── DeclarationError (ValueError)   a use case or environment that cannot be what was meant
├── DataError (ValueError)          a batch of data that must not be trained on
└── RequestError (ValueError)       a request that the model cannot take
```
"""

from __future__ import annotations


class MillraceError(Exception):
    """The root of all errors that Millrace raises on purpose."""


class DeclarationError(MillraceError, ValueError):
    """A declaration that cannot be what was meant.

    Args:
        where: The use case or stack, e.g. ``use case 'flights'``.
        problems: One sentence a problem: field, value, expectation, mend.
    """

    def __init__(self, where: str, problems: list[str]) -> None:
        super().__init__("\n".join([f"{where}:", *(f"  - {problem}" for problem in problems)]))
        self.where = where
        self.problems = problems


class DataError(MillraceError, ValueError):
    """A batch of data that must not be trained on: the rule, the rows, an example."""


class RequestError(MillraceError, ValueError):
    """A request that the model cannot take; the message names the field."""
