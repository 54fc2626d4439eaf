"""State that the stages of `millrace new` share: the command's options, and what has been found so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cli.console.progress import Progress
from cli.scaffold.questions import Questions


@dataclass(frozen=True)
class Wishes:
    """The arguments and options of the command."""

    name: str
    path: Path | None
    problem: str | None
    target: str | None
    positive: str | None
    key: str | None
    event_time: str | None
    missing: tuple[str, ...]
    time_format: str | None
    leave_out: tuple[str, ...]
    trust: tuple[str, ...]
    region: str
    yes: bool
    dry_run: bool
    as_json: bool


@dataclass
class Begun:
    """The state that the stages share."""

    wishes: Wishes
    progress: Progress
    questions: Questions
    now: datetime
    said: list[str] = field(default_factory=list)
    """Notes for the user about how the file is read, where that may be unexpected."""
    as_numbers: dict[str, str] = field(default_factory=dict)
    """A note on each column whose digits are read as numbers; it does not apply if the column is the key."""
