"""Buildspecs: parsing of version 0.2, refusing by name what this cloud does not do."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from local.errors import LocalError

#: The phases of a buildspec in the order in which they run, by their names in it.
PHASES: Final = {"install": "INSTALL", "pre_build": "PRE_BUILD", "build": "BUILD", "post_build": "POST_BUILD"}
#: What a phase that fails does by default: only a failed build is still followed by post_build.
_ON_FAILURE: Final = {"install": "ABORT", "pre_build": "ABORT", "build": "CONTINUE", "post_build": "ABORT"}
_SHELLS: Final = ("sh", "bash", "/bin/sh", "/bin/bash")
_ROOT = ("version", "env", "phases")
_ENV = ("shell", "variables", "parameter-store", "exported-variables")
_PHASE = ("commands", "finally", "on-failure")
_INSTALL = (*_PHASE, "runtime-versions")
#: The versions of languages that this machine's builds have.
_RUNTIMES: Final = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}


class BuildspecError(LocalError):
    """A buildspec that cannot be run; the text says where and why, as the build's phase shows it."""


@dataclass(frozen=True)
class Phase:
    """The commands of one phase.

    Attributes:
        commands: Run in order until one fails.
        last: Run after them in any case.
        on_failure: `ABORT` ends the build, `CONTINUE` goes on with the next phase; it fails in either case.
    """

    commands: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    on_failure: str = "ABORT"


@dataclass(frozen=True)
class Buildspec:
    """A buildspec.

    Attributes:
        phases: The phases by the name in :data:`PHASES`, all of them.
        shell: The shell of all commands.
        variables: Environment variables.
        parameters: Environment variable → name of the SSM parameter that holds its value.
        exported: The variables that the build's description shows.
        runtimes: The languages of which it chooses a version.
    """

    phases: Mapping[str, Phase]
    shell: str = "/bin/sh"
    variables: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    exported: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()


def parse_buildspec(text: str) -> Buildspec:
    """Parse a buildspec.

    Args:
        text: YAML, of which JSON is a part.

    Raises:
        BuildspecError: It is not valid, or asks for what is not available here.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BuildspecError(f"the buildspec is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise BuildspecError("the buildspec is not a mapping")
    if document.get("version") not in (0.2, "0.2"):
        raise BuildspecError(f"version is {document.get('version')!r}; available: 0.2")
    _refuse_others(document, _ROOT, "the buildspec")
    given = _read_mapping(document.get("phases"), "phases")
    _refuse_others(given, PHASES, "phases")
    if not given:
        raise BuildspecError("phases: expected at least one phase with commands")
    phases = {name: _read_phase(name, given[name]) if name in given else Phase() for name in PHASES}
    env = _read_mapping(document.get("env"), "env")
    _refuse_others(env, _ENV, "env")
    shell = env.get("shell", "/bin/sh")
    if shell not in _SHELLS:
        raise BuildspecError(f"env: shell is {shell!r}; available: {', '.join(_SHELLS)}")
    return Buildspec(
        phases,
        shell if shell.startswith("/") else f"/bin/{shell}",
        _read_variables(env.get("variables"), "variables"),
        _read_variables(env.get("parameter-store"), "parameter-store"),
        _read_texts(env.get("exported-variables"), "env: exported-variables"),
        tuple(
            _read_mapping(_read_mapping(given.get("install"), "install").get("runtime-versions"), "runtime-versions")
        ),
    )


def _read_phase(name: str, given: Any) -> Phase:
    where = f"phase {name}"
    phase = _read_mapping(given, where)
    _refuse_others(phase, _INSTALL if name == "install" else _PHASE, where)
    for language, version in _read_mapping(phase.get("runtime-versions"), f"{where}: runtime-versions").items():
        if str(version) != _RUNTIMES.get(language):
            known = ", ".join(f"{each} {has}" for each, has in _RUNTIMES.items())
            raise BuildspecError(f"{where}: runtime-versions: {language} {version} is not here; available: {known}")
    if not phase.get("commands"):
        raise BuildspecError(f"{where} has no commands")
    on_failure = phase.get("on-failure", _ON_FAILURE[name])
    if on_failure not in ("ABORT", "CONTINUE"):
        raise BuildspecError(f"{where}: on-failure is {on_failure!r}; available: ABORT, CONTINUE")
    commands = _read_texts(phase["commands"], f"{where}: commands")
    return Phase(commands, _read_texts(phase.get("finally"), f"{where}: finally"), on_failure)


def _read_mapping(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise BuildspecError(f"{where} is not a mapping of names")
    return value


def _read_variables(value: Any, where: str) -> dict[str, str]:
    """Return variables; a number or a flag counts as the text that it is in JSON, as CodeBuild has it."""
    found = {}
    for name, each in _read_mapping(value, f"env: {where}").items():
        if isinstance(each, bool):
            each = str(each).lower()
        if not isinstance(each, str | int | float):
            raise BuildspecError(f"env: {where}: {name} is {each!r}; expected a text")
        found[name] = str(each)
    return found


def _read_texts(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BuildspecError(f"{where} is not a list")
    for number, each in enumerate(value):
        if not isinstance(each, str):
            raise BuildspecError(f"expected {where}[{number}] to be of string type: found {each!r}")
    return tuple(value)


def _refuse_others(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    if others := sorted(set(given) - set(known)):
        raise BuildspecError(
            f"{where}: {', '.join(others)} is not available in the local cloud; available: {', '.join(known)}"
        )
