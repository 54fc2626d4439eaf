"""A review stack: its configuration, derived from another environment's, and the record of it in its account.

The record lies in a parameter of Systems Manager, so that whoever has the account can find and end the stack, from any
checkout: the configuration that the program needs for it is in the record, too.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

import stacks
from cli.console.errors import CliError
from cli.stack.target import STACKS, configuration, profile_of
from millrace import Environment
from millrace.environment import REVIEW
from queries.client import make_client

#: The parameters' path.
RECORDS = "/millrace/review"
#: What a parameter of the standard tier holds.
_LARGEST = 4096
_LIFETIME = re.compile(r"([1-9][0-9]{0,3})([hd])")
_LONGEST = timedelta(days=30)
#: What a review stack has none of, whatever it is derived from: it has no platform of its own, and nobody is woken.
_LEFT_OUT = ("lake", "notify")


@dataclass(frozen=True)
class Place:
    """Where records are kept: a region, and whose credentials are used there."""

    region: str
    profile: str | None

    def ssm(self) -> Any:
        """The client."""
        return make_client("ssm", self.region, profile=self.profile)


@dataclass(frozen=True)
class Record:
    """One review stack.

    Attributes:
        source: The environment that it is derived from.
        document: The whole of its configuration file.
    """

    use_case: str
    pull_request: int
    source: str
    created: datetime
    expires: datetime
    document: Mapping[str, Any]
    place: Place

    @property
    def environment(self) -> str:
        return f"{REVIEW}{self.pull_request}"

    @property
    def stack(self) -> str:
        return f"{self.use_case}-{self.environment}"

    @property
    def path(self) -> Path:
        """The stack's file."""
        return file_of(self.stack)

    @property
    def is_expired(self) -> bool:
        return self.expires <= datetime.now(UTC)

    def save(self) -> None:
        """Write the record down.

        Raises:
            CliError: When it is larger than a parameter may be.
        """
        value = json.dumps(
            {
                "use_case": self.use_case,
                "pull_request": self.pull_request,
                "from": self.source,
                "created": self.created.isoformat(),
                "expires": self.expires.isoformat(),
                "configuration": self.document,
            },
            separators=(",", ":"),
        )
        if len(value.encode()) > _LARGEST:
            raise CliError(
                f"{self.path.name}",
                f"makes a record of {len(value.encode())} bytes",
                expected=f"at most {_LARGEST}, as a parameter holds",
                fix=f"shorten the configuration of {self.use_case}-{self.source}",
            )
        self.place.ssm().put_parameter(
            Name=f"{RECORDS}/{self.stack}",
            Description=f"A review stack of pull request {self.pull_request}",
            Value=value,
            Type="String",
            Overwrite=True,
        )

    def now(self) -> Record | None:
        """The record as it is now; None where it is gone.

        Raises:
            CliError: When it cannot be read any more.
        """
        ssm = self.place.ssm()
        try:
            parameter = ssm.get_parameter(Name=f"{RECORDS}/{self.stack}")["Parameter"]
        except ssm.exceptions.ParameterNotFound:
            return None
        return _read(parameter["Name"], parameter["Value"], self.place)

    def forget(self) -> bool:
        """Delete the record, unless it has been written anew since this was read; whether it is gone."""
        if self.now() not in (None, self):
            return False
        ssm = self.place.ssm()
        with contextlib.suppress(ssm.exceptions.ParameterNotFound):
            ssm.delete_parameter(Name=f"{RECORDS}/{self.stack}")
        return True

    def restore(self) -> None:
        """Write the stack's file where this checkout does not have it."""
        if not self.path.exists():
            write(self.path, _text({**self.document}))


def file_of(stack: str) -> Path:
    """The file of a stack."""
    return STACKS / f"Pulumi.{stack}.yaml"


def lifetime(text: str) -> timedelta:
    """`72h` or `3d`.

    Raises:
        click.BadParameter: When it is neither, or longer than a review stack may live.
    """
    match = _LIFETIME.fullmatch(text)
    found = timedelta(hours=int(match[1]) * (24 if match[2] == "d" else 1)) if match else None
    if found is None or found > _LONGEST:
        raise click.BadParameter(f"{text!r}; expected hours or days, at most {_LONGEST.days}d, e.g. 72h or 3d")
    return found


def places(source: str) -> list[Place]:
    """The places of all stacks of an environment, where their review stacks are recorded.

    Raises:
        CliError: When there is no such environment.
    """
    found = []
    for path in sorted(STACKS.glob(f"Pulumi.*-{source}.yaml")):
        values = configuration(path.name.removeprefix("Pulumi.").removesuffix(".yaml"))
        configured = values.get("millrace:environment")
        if isinstance(configured, dict) and configured.get("name") == source and values.get("aws:region"):
            found.append(Place(str(values["aws:region"]), profile_of(values)))
    if not found:
        raise CliError(f"environment {source!r}", f"has no stack in {STACKS}", fix="name another one with --from")
    return list(dict.fromkeys(found))


def records(source: str) -> tuple[list[Record], list[str]]:
    """Every recorded review stack in the places of an environment, by pull request; and what is wrong with others."""
    found: list[Record] = []
    broken: list[str] = []
    for place in places(source):
        for name, value in _in(place):
            try:
                found.append(_read(name, value, place))
            except CliError as error:
                broken.append(str(error))
    return sorted(found, key=lambda record: (record.pull_request, record.use_case)), broken


def _in(place: Place) -> Iterator[tuple[str, str]]:
    pages = place.ssm().get_paginator("get_parameters_by_path").paginate(Path=RECORDS, Recursive=True)
    for page in pages:
        for parameter in page["Parameters"]:
            yield parameter["Name"], parameter["Value"]


def _read(name: str, value: str, place: Place) -> Record:
    try:
        told = json.loads(value)
        record = Record(
            str(told["use_case"]),
            int(told["pull_request"]),
            str(told["from"]),
            datetime.fromisoformat(told["created"]),
            datetime.fromisoformat(told["expires"]),
            dict(told["configuration"]),
            place,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CliError(
            f"parameter {name} in {place.region}",
            f"is not a record of a review stack ({error!r})",
            fix="correct or delete it",
        ) from error
    # Who may write parameters decides what is destroyed: never more than a review stack.
    if f"{RECORDS}/{record.stack}" != name or record.pull_request < 1:
        raise CliError(
            f"parameter {name} in {place.region}", f"is about stack {record.stack!r}", fix="correct or delete it"
        )
    return record


def derive(use_case: str, pull_request: int, source: str, expires: timedelta) -> tuple[Record, str]:
    """A review stack that is like a stack of another environment, as small as it can be, and can be destroyed whole.

    Returns:
        The record and the text of its file, neither of which is written.

    Raises:
        CliError: When there is no such stack, or what is derived cannot be.
    """
    declared = stacks.load(use_case)
    values = configuration(f"{declared.name}-{source}")
    document = _round_trip(file_of(f"{declared.name}-{source}"))
    stack, name = f"{declared.name}-{REVIEW}{pull_request}", f"{REVIEW}{pull_request}"
    _make_small(document["config"]["millrace:environment"], name)
    document.yaml_set_start_comment(
        f"Made by `millrace review create`; goes with `millrace review destroy {declared.name} --pr {pull_request}`."
    )
    plain = _plain(document)
    config = plain["config"]
    Environment.of_stack(stack, config["millrace:environment"], config.get("aws:region"))
    now = datetime.now(UTC).replace(microsecond=0)
    place = Place(str(config["aws:region"]), profile_of(values))
    return Record(declared.name, pull_request, source, now, now + expires, plain, place), _text(document)


def _make_small(environment: Any, name: str) -> None:
    """Change the configuration of an environment into that of a review stack."""
    environment["name"] = name
    environment["promotion"] = "automatic"
    environment["force_destroy"] = True
    for left_out in _LEFT_OUT:
        environment.pop(left_out, None)
    environment.pop("endpoint_count", None)
    # One instance has no shares.
    if rollout := environment.get("rollout"):
        rollout.pop("traffic", None)
        rollout.pop("step_percent", None)
        if not rollout:
            del environment["rollout"]


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    # A digest is longer than a line would be.
    yaml.width = 4096
    return yaml


def _round_trip(path: Path) -> Any:
    document = _yaml().load(path.read_text())
    environment = ((document or {}).get("config") or {}).get("millrace:environment")
    if not isinstance(environment, dict):
        raise CliError(
            f"{path}: millrace:environment", f"is {environment!r}", expected="an object with at least `name`"
        )
    return document


def _plain(document: Any) -> dict[str, Any]:
    """The same without what is only for writing it back."""
    import yaml

    return dict(yaml.safe_load(_text(document)))


def _text(document: Any) -> str:
    text = io.StringIO()
    _yaml().dump(document, text)
    return text.getvalue()


def write(path: Path, text: str) -> None:
    """Write a file, all of it or nothing."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".review-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
