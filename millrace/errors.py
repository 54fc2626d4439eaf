"""The product's error tree: every error says what, where, the value, what was expected and the next step.

```
MillraceError
├── DeclarationError (ValueError)           a use case or environment that cannot be what was meant
├── DataError (ValueError)                  a batch of data that must not be trained on
├── RequestError (ValueError)               a request that the model cannot take
│   └── Refusal                             the same with its HTTP status, field and row
├── StoreError                              the online feature store does not answer
├── UnreadableCaptureError (ValueError)     a captured request that cannot be read
├── UnreadablePauseError                    a pause that somebody wrote by hand
├── RolledBackError                         a rollout that SageMaker rolled back
├── FeatureRemovedError (ValueError)        a feature group that would lose a feature
├── UnreadableSourceError                   a file that `millrace upgrade` cannot read
└── CliError                                a command that cannot do what was asked
    ├── NoStackError                        a stack that the backend does not have
    ├── UpdateError                         an update that failed, perhaps in the middle
    ├── NotServingError                     an endpoint that does not serve what was deployed
    └── StalePlanError                      a saved plan that is out of date
```

`local` and `engine`, which import nothing of ours, have trees of their own in `errors.py`; `cli/delivery/comment.py`
runs alone and has one error. Commands map errors of libraries to a `CliError` where they end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from pydantic import BaseModel, ValidationError


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


#: Where Python found the module, at the end of what it says of a failed import.
_MODULE_FILE = re.compile(r" \((/[^()]*|unknown location)\)$")


def fault(error: Exception, file: str, line: int | None) -> str:
    """An error of a use case's source as file, line, message, mend."""
    message = _MODULE_FILE.sub("", (error.msg if isinstance(error, SyntaxError) else str(error)))
    place = file if line is None else f"{file}, line {line}"
    return f"{place}: {type(error).__name__}{': ' if message else ''}{message}; correct it there"


#: The next step after a finding of pydantic's, by its type.
_MENDS = {
    "string_too_long": "shorten it",
    "string_pattern_mismatch": "spell it so",
    "enum": "choose one of them",
    "literal_error": "choose one of them",
    "too_short": "add what is missing",
}


def sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Each of pydantic's findings as field, value, expectation, mend."""
    sentences = []
    for finding in error.errors(include_url=False):
        where = ".".join(str(part) for part in finding["loc"])
        cause = finding.get("ctx", {}).get("error")
        if isinstance(cause, DeclarationError):
            sentences += [_within(where, problem) for problem in cause.problems]
        elif finding["type"] == "extra_forbidden":
            hint = get_close_matches(str(finding["loc"][-1]), _fields(model, finding["loc"][:-1]), n=1)
            mend = f"did you mean {hint[0]!r}?" if hint else "remove it"
            sentences.append(f"{where} = {finding['input']!r}: there is no such field; {mend}")
        elif finding["type"] == "missing":
            sentences.append(f"{where}: is missing; add it")
        elif finding["type"] == "value_error":
            message = re.sub(r"^Value error, ", "", finding["msg"])
            sentences.append(f"{where}: {message}" if where else message)
        else:
            mend = _MENDS.get(finding["type"], "change it")
            sentences.append(f"{where or 'declaration'} = {finding['input']!r}: {finding['msg']}; {mend}")
    return sentences


#: A sentence that begins with the field it is about.
_OF_A_FIELD = re.compile(r"[\w.]+(?: = |: )")


def _within(where: str, problem: str) -> str:
    """A part's problem as the whole's, e.g. `rollout.step_percent = 60: …`."""
    return f"{where}.{problem}" if _OF_A_FIELD.match(problem) else f"{where}: {problem}"


def _fields(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The names that a model, or a part of it, knows."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
