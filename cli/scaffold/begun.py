"""What the stages of `millrace new` share: the user's wishes, and what has been found so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cli.console.progress import Progress
from cli.scaffold.questions import Questions


@dataclass(frozen=True)
class Wishes:
    """What the command was given."""

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
    """What the stages share."""

    wishes: Wishes
    progress: Progress
    questions: Questions
    now: datetime
    said: list[str] = field(default_factory=list)
    """How the file is read, beyond what anybody would expect."""
    as_numbers: dict[str, str] = field(default_factory=dict)
    """What is to be said of a column whose digits are read as numbers, unless it is the key."""
