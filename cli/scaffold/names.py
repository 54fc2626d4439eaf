"""Whether a use case may have a name: as Python, as a stack, as AWS resources, beside those that there are."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from collections.abc import Iterable

import click

from cli.console.errors import CliError
from millrace.names import PLATFORM, Names

#: The environments that a new use case gets a stack of.
ENVIRONMENTS = ("local", "dev", "staging", "prod")
#: What `millrace/declaration.py` says of a name.
_PATTERN, _LONGEST = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*"), 28
#: What S3 allows a bucket's name, the shortest limit of all names that are made of a stack's.
_BUCKET = 63
_ACCOUNT = "123456789012"


def check(name: str, use_cases: Iterable[str], stacks: Iterable[str]) -> None:
    """Refuse a name that could not be used, or only in the way of another one.

    Args:
        use_cases: The use cases that there are.
        stacks: The stacks that there are, `<use case>-<environment>`.

    Raises:
        click.BadParameter: When no repository could have a use case of that name; with one that would do.
        CliError: When only this one cannot, because of what is there.
    """
    use_cases, stacks = sorted(use_cases), sorted(stacks)
    wrong = _spelling(name) or _python(name)
    taken = None if wrong else _taken(name, use_cases, stacks)
    problem = wrong or taken or _ending(name)
    if not problem:
        return
    better = suggestion(name, use_cases, stacks)
    said = f"{name!r} {problem}" + (f"; did you mean {better!r}?" if better else "")
    if taken:
        raise CliError(f"NAME {said}")
    raise click.BadParameter(said, param_hint="NAME")


def suggestion(name: str, use_cases: list[str], stacks: list[str]) -> str | None:
    """A name near this one that would do."""
    slug = _slug(name)
    stem = next((slug.removesuffix(f"-{each}") for each in ENVIRONMENTS if slug.endswith(f"-{each}")), slug)
    for candidate in (slug, stem, f"{stem[:22]}-model", f"{stem[:26]}-2", f"my-{stem[:25]}"):
        if candidate != name and not (
            _spelling(candidate) or _python(candidate) or _taken(candidate, use_cases, stacks) or _ending(candidate)
        ):
            return candidate
    return None


def _slug(name: str) -> str:
    """The name in lower case with hyphens, cut at a hyphen where it is too long."""
    # A hump of camel case is a word of its own.
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name)
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    leading = re.match(r"[0-9-]+", slug)
    if leading:
        slug = f"{slug[leading.end() :]}-{leading.group().strip('-')}".strip("-")
    if len(slug) > _LONGEST:
        cut = slug[: _LONGEST + 1]
        slug = (cut.rpartition("-")[0] if "-" in cut else cut[:_LONGEST]).strip("-")
    return slug


def _spelling(name: str) -> str | None:
    if not name:
        return "is empty; expected lower-case words with hyphens, e.g. 'churn' or 'churn-eu'"
    if len(name) > _LONGEST:
        longest = max((Names(name, each, _ACCOUNT, "").lake for each in ENVIRONMENTS), key=len)
        over = f": the bucket {longest!r} would have {len(longest)}, and S3 takes {_BUCKET}"
        return f"has {len(name)} characters; expected at most {_LONGEST}" + (over if len(longest) > _BUCKET else "")
    if not _PATTERN.fullmatch(name):
        return "is not spelt as a name; expected lower-case words with hyphens, e.g. 'churn' or 'churn-eu'"
    return None


def _python(name: str) -> str | None:
    package = name.replace("-", "_")
    if keyword.iskeyword(package):
        return f"is a Python keyword; stacks/{package} could not be imported"
    if name == PLATFORM:
        return "is the name of what the use cases of an environment share"
    if name.startswith(f"{PLATFORM}-"):
        return "begins like the stacks of what the use cases of an environment share"
    if package in sys.stdlib_module_names:
        return f"is also a module of Python's; stacks/{package} would be taken for it"
    found = importlib.util.find_spec(package)
    # A folder without code, such as docs, is found as well and hides nothing.
    if found is not None and found.origin is not None:
        return f"is also the name of an installed package; stacks/{package} would be taken for it"
    return None


def _taken(name: str, use_cases: Iterable[str], stacks: Iterable[str]) -> str | None:
    """What another use case's names and this one's would share."""
    if name in use_cases:
        return f"is taken: stacks/{name.replace('-', '_')} is there; nothing is overwritten"
    mine = [f"{name}-{environment}" for environment in ENVIRONMENTS]
    for stack in stacks:
        if stack in mine:
            return f"would have the stack {stack}, which is there: stacks/Pulumi.{stack}.yaml; nothing is overwritten"
        if name == stack or name.startswith(f"{stack}-"):
            return f"begins as the stack {stack} is called: its alarms and pipelines could not be told apart"
    for other in use_cases:
        for stack in mine:
            if other == stack or other.startswith(f"{stack}-"):
                return f"would have the stack {stack}, and the use case {other!r} begins so"
    return None


def _ending(name: str) -> str | None:
    ending = next((each for each in ENVIRONMENTS if name.endswith(f"-{each}")), None)
    if ending:
        stem = name.removesuffix(f"-{ending}")
        return f"ends like a stack of the environment {ending!r}; a use case {stem!r} could never be beside it"
    return None
