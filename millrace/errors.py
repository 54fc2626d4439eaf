"""The product's error tree: every error has a subject, what was found, what was expected and how to fix it.

```
MillraceError
├── DeclarationError (ValueError)           a use case or environment that is not valid
├── InvalidValueError (ValueError)          a field or argument that is not valid
├── DataError (ValueError)                  a batch of data that must not be trained on
│   └── OwnCodeError                        a use case's own code that fails
├── RequestError (ValueError)               a request that the model does not accept
│   └── Refusal                             a request error with its HTTP status, field and row
├── StoreError                              the online feature store does not answer
├── UnreadableCaptureError (ValueError)     a captured request that cannot be read
├── UnreadablePauseError                    a pause that `millrace pause` did not write
├── UnreadableSnoozeError                   a snooze that `millrace alarms` did not write
├── UnreadableAnswerError                   an answer that `millrace reject` did not write
├── RefusedRequestError                     a request that an account in memory refuses
├── RolledBackError                         a rollout that SageMaker rolled back
├── FeatureRemovedError (ValueError)        a feature group that would lose a feature
├── SourceArchiveError                      a checkout of which no build could deploy
├── UnreadableSourceError                   a file that `millrace upgrade` cannot read
└── CliError                                a command that cannot do what was asked
    ├── DeclinedError                       a question that was answered with no
    ├── LockedError                         a stack that another update holds
    ├── NoStackError                        a stack that the backend does not have
    ├── UpdateError                         an update that failed, perhaps in the middle
    ├── NotServingError                     an endpoint that does not serve what was deployed
    ├── OtherChangesError                   a deployment of a model that would change more than the model
    ├── RolledBackModelError                a model whose rollout was rolled back, and which was rejected
    └── StalePlanError                      a saved plan that is out of date
```

`local` and `engine`, which import none of these packages, have their own trees in `errors.py`;
`cli/delivery/comment.py` runs standalone and has one error. Commands map errors of libraries to a `CliError`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


@dataclass(frozen=True)
class Diagnosis:
    """A problem and its fix, as the parts of one sentence.

    Attributes:
        subject: The thing with the problem: a stack, a file, a field with its value.
        found: The problem, as the predicate of the sentence.
        expected: The correct value.
        fix: The next step.
    """

    subject: str
    found: str = ""
    expected: str = ""
    fix: str = ""

    def __str__(self) -> str:
        """Return the sentence for people: subject, found, expected, fix."""
        text = f"{self.subject} {self.found}" if self.found else self.subject
        if self.expected:
            text += f"; expected {self.expected}"
        if self.fix:
            # After a list of lines, the next step begins a line of its own.
            text += self.fix if text.endswith("\n") else f"{': ' if self.expected else '; '}{self.fix}"
        return text


class MillraceError(Exception):
    """The root of all errors that Millrace raises on purpose.

    Args:
        subject: The thing with the problem.
        found: The problem.
        expected: The correct value.
        fix: The next step.
    """

    def __init__(self, subject: str, found: str = "", *, expected: str = "", fix: str = "") -> None:
        self.diagnosis = Diagnosis(subject, found, expected, fix)
        super().__init__(str(self.diagnosis))

    @property
    def subject(self) -> str:
        """The thing with the problem."""
        return self.diagnosis.subject

    @property
    def found(self) -> str:
        """The problem, as the predicate of the sentence."""
        return self.diagnosis.found

    @property
    def expected(self) -> str:
        """The correct value."""
        return self.diagnosis.expected

    @property
    def fix(self) -> str:
        """The next step."""
        return self.diagnosis.fix


class DeclarationError(MillraceError, ValueError):
    """A declaration that is not valid.

    Args:
        where: The use case or stack, e.g. ``use case 'flights'``.
        problems: One diagnosis for each field that is not valid.
    """

    def __init__(self, where: str, problems: Sequence[Diagnosis]) -> None:
        super().__init__("\n".join([f"{where}:", *(f"  - {problem}" for problem in problems)]))
        self.where = where
        self.problems = list(problems)


class InvalidValueError(MillraceError, ValueError):
    """A field of a declaration, or an argument of a component, that is not valid."""


class DataError(MillraceError, ValueError):
    """A batch of data that must not be trained on: the rule, the rows, an example."""


class OwnCodeError(DataError):
    """A failure of a use case's own code; its cause has the way there, which the job's log shows."""


class RequestError(MillraceError, ValueError):
    """A request that the model does not accept; the message names the field."""


#: The module's file at the end of Python's message about a failed import.
_MODULE_FILE = re.compile(r" \((/[^()]*|unknown location)\)$")


def diagnose_source(error: BaseException, file: str, line: int | None) -> Diagnosis:
    """Return the diagnosis of an error in a use case's source: file, line and message.

    Args:
        error: The exception of parsing or running the source.
        file: The source file, relative to the repository.
        line: The line, counted from 1; None where it is unknown.
    """
    message = _MODULE_FILE.sub("", (error.msg if isinstance(error, SyntaxError) else str(error)))
    place = file if line is None else f"{file}, line {line}"
    return Diagnosis(f"{place}:", f"{type(error).__name__}{': ' if message else ''}{message}", fix="correct it there")


#: The fix of an error of pydantic's, by its type.
_FIXES = {
    "string_too_long": "shorten it",
    "string_pattern_mismatch": "correct it",
    "enum": "choose one of them",
    "literal_error": "choose one of them",
    "too_short": "add what is missing",
}


def diagnose(error: ValidationError, model: type[BaseModel]) -> list[Diagnosis]:
    """Return a diagnosis of each of pydantic's errors: field, value, expectation and fix."""
    return [each for finding in error.errors(include_url=False) for each in _diagnose_finding(finding, model)]


def _diagnose_finding(finding: ErrorDetails, model: type[BaseModel]) -> list[Diagnosis]:
    """Return the diagnosis of one of pydantic's errors; several if a part of the model has several problems."""
    where = ".".join(str(part) for part in finding["loc"])
    field = f"{where or 'declaration'} = {finding['input']!r}"
    cause = finding.get("ctx", {}).get("error")
    if isinstance(cause, DeclarationError):
        return [_move(where, problem) for problem in cause.problems]
    if isinstance(cause, InvalidValueError):
        return [replace(cause.diagnosis, subject=f"{where}: {cause.subject}") if where else cause.diagnosis]
    if finding["type"] == "extra_forbidden":
        hint = get_close_matches(str(finding["loc"][-1]), _fields(model, finding["loc"][:-1]), n=1)
        return [Diagnosis(field, "is not a field", fix=f"did you mean {hint[0]!r}?" if hint else "remove it")]
    if finding["type"] == "missing":
        return [Diagnosis(where, "is missing", fix="add it")]
    return [Diagnosis(f"{field}:", finding["msg"], fix=_FIXES.get(finding["type"], "change it"))]


#: A subject that begins with the field it is about.
_OF_A_FIELD = re.compile(r"[\w.]+(?: = |: |$)")


def _move(where: str, problem: Diagnosis) -> Diagnosis:
    """Return a part's problem as one of the whole, e.g. `rollout.step_percent = 60: …`."""
    joint = "." if _OF_A_FIELD.match(problem.subject) else ": "
    return replace(problem, subject=f"{where}{joint}{problem.subject}")


def _fields(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Return the field names of a model, or of the part of it at a path."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
