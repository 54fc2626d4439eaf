"""Review stacks: their configuration, derived from another environment's, and their records in the account.

A record is a parameter of Systems Manager and contains the stack's whole configuration, so that anybody with access to
the account can find and destroy the stack from any checkout.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import stacks
from cli.console.errors import CliError
from cli.stack.target import STACKS, get_profile, read_configuration
from millrace import Environment
from millrace.config_files import find_config_files, make_file_name
from millrace.environment import REVIEW
from millrace.files import write_atomically
from queries.client import make_client

#: The path of the parameters with the records.
RECORDS = "/millrace/review"
#: Maximum size of a standard-tier parameter, bytes.
_LARGEST = 4096
LONGEST = timedelta(days=30)
#: Settings that a review stack never has: it uses no shared platform, and it notifies nobody.
_LEFT_OUT = ("lake", "notify")


@dataclass(frozen=True)
class Place:
    """The place of records: a region, and the profile whose credentials are used there."""

    region: str
    profile: str | None

    def make_client(self) -> Any:
        """Return the Systems Manager client."""
        return make_client("ssm", self.region, profile=self.profile)


@dataclass(frozen=True)
class Record:
    """The record of one review stack.

    Attributes:
        use_case: The use case's name.
        pull_request: The pull request's number.
        source: The environment that it is derived from.
        created: When it was created.
        expires: When it may be destroyed.
        document: The whole content of its configuration file.
        place: Where the record is kept.
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
        """The environment's name."""
        return f"{REVIEW}{self.pull_request}"

    @property
    def stack(self) -> str:
        """The stack's name."""
        return f"{self.use_case}-{self.environment}"

    @property
    def path(self) -> Path:
        """The path of the stack file."""
        return get_stack_path(self.stack)

    @property
    def is_expired(self) -> bool:
        """True if the stack may be destroyed because its lifetime is over."""
        return self.expires <= datetime.now(UTC)

    def save(self) -> None:
        """Write the record to its parameter.

        Raises:
            CliError: When the record is larger than a parameter may be.
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
                self.path.name,
                f"would need a record of {len(value.encode())} bytes",
                expected=f"at most {_LARGEST}, the limit of a parameter",
                fix=f"shorten the configuration of {self.use_case}-{self.source}",
            )
        self.place.make_client().put_parameter(
            Name=f"{RECORDS}/{self.stack}",
            Description=f"A review stack of pull request {self.pull_request}",
            Value=value,
            Type="String",
            Overwrite=True,
        )

    def reload(self) -> Record | None:
        """Read the record again from its parameter.

        Returns:
            The record as it is now; None if it no longer exists.

        Raises:
            CliError: When the parameter is not a valid record.
        """
        ssm = self.place.make_client()
        try:
            parameter = ssm.get_parameter(Name=f"{RECORDS}/{self.stack}")["Parameter"]
        except ssm.exceptions.ParameterNotFound:
            return None
        return _read(parameter["Name"], parameter["Value"], self.place)

    def delete(self) -> bool:
        """Delete the record unless it was overwritten since it was read.

        Returns:
            True if it no longer exists.

        Raises:
            CliError: When the parameter is not a valid record.
        """
        if self.reload() not in (None, self):
            return False
        ssm = self.place.make_client()
        with contextlib.suppress(ssm.exceptions.ParameterNotFound):
            ssm.delete_parameter(Name=f"{RECORDS}/{self.stack}")
        return True

    def restore(self) -> None:
        """Write the stack file if this checkout does not have it."""
        if not self.path.exists():
            write_atomically(self.path, _text({**self.document}))


def get_stack_path(stack: str) -> Path:
    """Return the path of a stack's file.

    Args:
        stack: The stack's name.
    """
    return STACKS / make_file_name(stack)


def list_places(source: str) -> list[Place]:
    """Return the places of all stacks of an environment, in which the records of their review stacks are kept.

    Raises:
        CliError: When the environment has no stack.
    """
    found = []
    for stack in find_config_files(STACKS, f"*-{source}"):
        values = read_configuration(stack)
        configured = values.get("millrace:environment")
        if isinstance(configured, dict) and configured.get("name") == source and values.get("aws:region"):
            found.append(Place(str(values["aws:region"]), get_profile(values)))
    if not found:
        raise CliError(f"environment {source!r}", f"has no stack in {STACKS}", fix="name another one with --from")
    return list(dict.fromkeys(found))


def list_records(source: str) -> tuple[list[Record], list[str]]:
    """Return all records in the places of an environment, sorted by pull request, and errors about invalid ones.

    Args:
        source: The name of the environment that the review stacks are derived from.

    Raises:
        CliError: When the environment has no stack.
    """
    found: list[Record] = []
    broken: list[str] = []
    for place in list_places(source):
        for name, value in _list_parameters(place):
            try:
                found.append(_read(name, value, place))
            except CliError as error:
                broken.append(str(error))
    return sorted(found, key=lambda record: (record.pull_request, record.use_case)), broken


def _list_parameters(place: Place) -> Iterator[tuple[str, str]]:
    pages = place.make_client().get_paginator("get_parameters_by_path").paginate(Path=RECORDS, Recursive=True)
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
    # Records decide which stacks are destroyed: refuse one that could name anything but a review stack.
    if f"{RECORDS}/{record.stack}" != name or record.pull_request < 1:
        raise CliError(
            f"parameter {name} in {place.region}", f"is about stack {record.stack!r}", fix="correct or delete it"
        )
    return record


def derive(use_case: str, pull_request: int, source: str, expires: timedelta) -> tuple[Record, str]:
    """Derive a review stack from a stack of another environment, as small as possible and completely destroyable.

    Args:
        use_case: The use case's name.
        pull_request: The pull request's number.
        source: The name of the environment whose stack is the source.
        expires: The lifetime of the stack from now.

    Returns:
        The record and the text of its file, neither of which is written.

    Raises:
        CliError: When the source stack does not exist, or its file has no environment.
    """
    declared = stacks.load(use_case)
    values = read_configuration(f"{declared.name}-{source}")
    document = _round_trip(get_stack_path(f"{declared.name}-{source}"))
    stack, name = f"{declared.name}-{REVIEW}{pull_request}", f"{REVIEW}{pull_request}"
    _make_small(document["config"]["millrace:environment"], name)
    document.yaml_set_start_comment(
        f"Made by `millrace review create`, deleted by `millrace review destroy {declared.name} --pr {pull_request}`."
    )
    plain = _convert_to_plain(document)
    config = plain["config"]
    Environment.from_stack(stack, config["millrace:environment"], config.get("aws:region"))
    now = datetime.now(UTC).replace(microsecond=0)
    place = Place(str(config["aws:region"]), get_profile(values))
    return Record(declared.name, pull_request, source, now, now + expires, plain, place), _text(document)


def _make_small(environment: Any, name: str) -> None:
    """Change the configuration of an environment in place into that of a review stack."""
    environment["name"] = name
    environment["promotion"] = "automatic"
    environment["force_destroy"] = True
    for left_out in _LEFT_OUT:
        environment.pop(left_out, None)
    environment.pop("endpoint_count", None)
    # The traffic of a single instance cannot be shifted in steps.
    if rollout := environment.get("rollout"):
        rollout.pop("traffic", None)
        rollout.pop("step_percent", None)
        if not rollout:
            del environment["rollout"]


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    # Do not wrap long values such as image digests.
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


def _convert_to_plain(document: Any) -> dict[str, Any]:
    """Return a round-trip document as plain dicts and lists, without comments and formatting."""
    import yaml

    return dict(yaml.safe_load(_text(document)))


def _text(document: Any) -> str:
    text = io.StringIO()
    _yaml().dump(document, text)
    return text.getvalue()
