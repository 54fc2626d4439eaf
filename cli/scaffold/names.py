"""Validation of a use case's name: as Python, as a stack, as AWS resources, and against existing names."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from collections.abc import Iterable

import click

from cli.console.errors import CliError
from millrace.config_files import make_file_name
from millrace.names import PLATFORM, Names

#: The environments for which a new use case gets a stack.
ENVIRONMENTS = ("local", "dev", "staging", "prod")
#: The pattern and the maximum length of a name, as in `millrace/declaration.py`.
_PATTERN, _LONGEST = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*"), 28
#: Maximum length of an S3 bucket's name, the strictest limit of all names that contain a stack's name.
_BUCKET = 63
_ACCOUNT = "123456789012"


def check_name(name: str, use_cases: Iterable[str], stacks: Iterable[str]) -> None:
    """Refuse a name that is invalid or conflicts with an existing one.

    Args:
        name: The name of the new use case.
        use_cases: The existing use cases.
        stacks: The existing stacks, `<use case>-<environment>`.

    Raises:
        click.BadParameter: When the name is invalid in every repository; the message suggests a valid one.
        CliError: When the name conflicts with an existing use case or stack of this repository.
    """
    use_cases, stacks = sorted(use_cases), sorted(stacks)
    wrong = _check_spelling(name) or _check_python_name(name)
    taken = None if wrong else _find_conflict(name, use_cases, stacks)
    problem = wrong or taken or _check_ending(name)
    if not problem:
        return
    better = suggest_name(name, use_cases, stacks)
    said = f"{name!r} {problem}" + (f"; did you mean {better!r}?" if better else "")
    if taken:
        raise CliError(f"NAME {said}")
    raise click.BadParameter(said, param_hint="NAME")


def suggest_name(name: str, use_cases: list[str], stacks: list[str]) -> str | None:
    """Return a valid name that is similar to this one; None if none is found."""
    slug = _slug(name)
    stem = next((slug.removesuffix(f"-{each}") for each in ENVIRONMENTS if slug.endswith(f"-{each}")), slug)
    for candidate in (slug, stem, f"{stem[:22]}-model", f"{stem[:26]}-2", f"my-{stem[:25]}"):
        if candidate != name and not (
            _check_spelling(candidate)
            or _check_python_name(candidate)
            or _find_conflict(candidate, use_cases, stacks)
            or _check_ending(candidate)
        ):
            return candidate
    return None


def _slug(name: str) -> str:
    """Return the name in lower case with hyphens, cut at a hyphen if it is too long."""
    # Split camel case into words.
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    leading = re.match(r"[0-9-]+", slug)
    if leading:
        slug = f"{slug[leading.end() :]}-{leading.group().strip('-')}".strip("-")
    if len(slug) > _LONGEST:
        cut = slug[: _LONGEST + 1]
        slug = (cut.rpartition("-")[0] if "-" in cut else cut[:_LONGEST]).strip("-")
    return slug


def _check_spelling(name: str) -> str | None:
    if not name:
        return "is empty; expected lower-case words with hyphens, e.g. 'churn' or 'churn-eu'"
    if len(name) > _LONGEST:
        longest = max((Names(name, each, _ACCOUNT, "").lake for each in ENVIRONMENTS), key=len)
        over = f": the bucket {longest!r} would have {len(longest)}, and S3 takes {_BUCKET}"
        return f"has {len(name)} characters; expected at most {_LONGEST}" + (over if len(longest) > _BUCKET else "")
    if not _PATTERN.fullmatch(name):
        return "is not a valid name; expected lower-case words with hyphens, e.g. 'churn' or 'churn-eu'"
    return None


def _check_python_name(name: str) -> str | None:
    package = name.replace("-", "_")
    if keyword.iskeyword(package):
        return f"is a Python keyword; stacks/{package} could not be imported"
    if name == PLATFORM:
        return "is the name of the resources that the use cases of an environment share"
    if name.startswith(f"{PLATFORM}-"):
        return "begins like the stacks of the resources that the use cases of an environment share"
    if package in sys.stdlib_module_names:
        return f"is also a module of Python; stacks/{package} would be confused with it"
    found = importlib.util.find_spec(package)
    # A folder without code, such as docs, is also found, but does not hide the use case.
    if found is not None and found.origin is not None:
        return f"is also the name of an installed package; stacks/{package} would be confused with it"
    return None


def _find_conflict(name: str, use_cases: Iterable[str], stacks: Iterable[str]) -> str | None:
    """Return how the name conflicts with an existing use case or stack; None if it does not."""
    if name in use_cases:
        return f"is taken: stacks/{name.replace('-', '_')} exists; nothing is overwritten"
    mine = [f"{name}-{environment}" for environment in ENVIRONMENTS]
    for stack in stacks:
        if stack in mine:
            return f"would have the stack {stack}, which exists: stacks/{make_file_name(stack)}; nothing is overwritten"
        if name == stack or name.startswith(f"{stack}-"):
            return f"begins with the name of the stack {stack}: their alarms and pipelines could clash"
    for other in use_cases:
        for stack in mine:
            if other == stack or other.startswith(f"{stack}-"):
                return f"would have the stack {stack}, and the name of the use case {other!r} begins with it"
    return None


def _check_ending(name: str) -> str | None:
    ending = next((each for each in ENVIRONMENTS if name.endswith(f"-{each}")), None)
    if ending:
        stem = name.removesuffix(f"-{ending}")
        return f"ends like a stack of the environment {ending!r}; a use case {stem!r} could not exist next to it"
    return None
