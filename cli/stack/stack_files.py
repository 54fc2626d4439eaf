"""Discovery of stacks, and of the stacks that a change affects, by files alone: no use case is imported."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.console.errors import CliError
from cli.stack import connection
from cli.stack.target import STACKS, read_configuration
from millrace.config_files import find_config_files, make_file_name, parse_file_name
from millrace.environment import REVIEW
from millrace.names import PLATFORM

#: Paths that are part of every stack, in addition to its own use case. Changes elsewhere (documents, tests, commands,
#: the local cloud) affect no stack.
SHARED = (
    "Pulumi.yaml",
    "__main__.py",
    "components/",
    "millrace/",
    "queries/",
    "requirements-runtime.lock",
    "requirements.lock",
    "training/",
)
#: The order of promotion of the usual environments; other names are sorted before the last of these.
_USUAL = ("dev", "test", "staging", "prod")
#: The hash that the repository's host sends as the commit before the first one.
_NOTHING = "0" * 40


@dataclass(frozen=True)
class StackFile:
    """One stack, as its file describes it.

    Attributes:
        use_case: The use case's name, or `platform` for the platform that the use cases of an environment share.
        environment: The environment's name.
        stack: `<use case>-<environment>`.
        region: The AWS region; empty if the file names none.
    """

    use_case: str
    environment: str
    stack: str
    region: str

    @property
    def document(self) -> dict[str, str]:
        """The fields as JSON data."""
        return asdict(self)

    @property
    def own(self) -> list[str]:
        """The paths in the repository that affect this stack but not every stack."""
        if self.is_platform:
            # Its dashboard shows every use case.
            return ["stacks/"]
        return [f"stacks/{self.use_case.replace('-', '_')}/", f"stacks/{make_file_name(self.stack)}"]

    def includes(self, path: str) -> bool:
        """Return True if a change of this file in the repository affects the stack.

        Args:
            path: Its path relative to the repository, with slashes.
        """
        return _is_shared(path) or _is_in(path, self.own)

    @property
    def is_platform(self) -> bool:
        """True if the stack is a platform and not a use case's stack."""
        return self.use_case == PLATFORM


def list_stack_files(environments: Sequence[str] = (), use_cases: Sequence[str] = ()) -> list[StackFile]:
    """Return the stacks in the order of promotion; within an environment the platform comes first.

    Args:
        environments: Only these, in this order; if empty, all except the local one and those of pull requests.
        use_cases: Only these; if empty, all.

    Raises:
        CliError: When one of them has no stack, or a file's environment does not match its name.
    """
    read = [_read(stack, path) for stack, path in find_config_files(STACKS).items()]
    stacks = sorted(read, key=lambda each: (not each.is_platform, each.stack))
    deployed = [each for each in stacks if not _is_ephemeral(each.environment)]
    order = list(environments) or sorted({each.environment for each in deployed}, key=_rank)
    chosen = [
        each
        for environment in order
        for each in stacks
        if each.environment == environment and (not use_cases or each.use_case in use_cases)
    ]
    for what, where, wanted, have in (
        ("environment", "", environments, {each.environment for each in stacks}),
        ("use case", f" in {', '.join(order)}", use_cases, {each.use_case for each in chosen}),
    ):
        if missing := sorted(set(wanted) - have):
            names = ", ".join(each.stack for each in stacks) or "none"
            raise CliError(
                f"{what} {missing[0]!r}",
                f"has no stack{where}",
                fix=f"choose one of: {names}; or add stacks/Pulumi.<use case>-<environment>.yaml",
            )
    return chosen


def find_affected_stacks(stacks: Iterable[StackFile], base: str) -> tuple[list[StackFile], str]:
    """Return the stacks that changes since a commit affect; if all are affected, also the reason, else an empty text.

    Args:
        stacks: The stacks to choose from.
        base: The commit; only changes since its merge base with HEAD count. If it is empty or does not exist in this
            clone (before the first commit, or after a forced push), all stacks are affected.
    """
    stacks = list(stacks)
    if not base or base == _NOTHING:
        return stacks, "no commit to compare with"
    if _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}", code=None) is None:
        return stacks, f"commit {base!r} is not in this clone"
    text = _git("diff", "--name-only", "-z", "--no-renames", f"{base}...HEAD", code=None)
    if text is None:
        return stacks, f"commit {base!r} and this one have no common history in this clone"
    paths = [path for path in text.split("\0") if path]
    if shared := [path for path in paths if _is_shared(path)]:
        return stacks, f"{shared[0]} is part of every stack"
    return [each for each in stacks if any(map(each.includes, paths))], ""


def hash_tree() -> str:
    """Return the hash of HEAD's tree, which is equal for equal files, whichever commit they are in."""
    text = _git("rev-parse", "HEAD^{tree}")
    assert text is not None
    return text.strip()


def _read(stack: str, path: Path) -> StackFile:
    values = read_configuration(stack)
    configured = values.get("millrace:environment")
    name = configured.get("name") if isinstance(configured, dict) else None
    if not isinstance(name, str) or not stack.endswith(f"-{name}"):
        raise CliError(
            f"{path}: millrace:environment.name",
            f"is {name!r}",
            expected=f"the last part of the stack's name, {stack!r}",
            fix="correct it",
        )
    return StackFile(stack.removesuffix(f"-{name}"), name, stack, str(values.get("aws:region", "")))


def _is_ephemeral(environment: str) -> bool:
    return environment == connection.LOCAL or environment.startswith(REVIEW)


def _rank(environment: str) -> tuple[float, str]:
    known = environment in _USUAL
    return (_USUAL.index(environment) if known else len(_USUAL) - 1.5, environment)


def _is_shared(path: str) -> bool:
    """Return True if a file is part of every stack, which includes files in `stacks/` that no single stack owns."""
    if not path.startswith("stacks/"):
        return _is_in(path, SHARED)
    first = path.split("/")[1]
    is_own = "/" in path.removeprefix("stacks/") or parse_file_name(first) is not None
    return not is_own


def _is_in(path: str, places: Iterable[str]) -> bool:
    return any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)


def _git(*arguments: str, code: int | None = 0) -> str | None:
    """Run git and return its output; if it fails and ``code`` is None, return None.

    Raises:
        CliError: When git is not installed, or fails and ``code`` is not None.
    """
    command = ["git", *arguments]
    # In a hook or an alias, git sets variables that would point to another repository.
    environment = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    try:
        done = subprocess.run(
            command, cwd=connection.REPOSITORY, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise CliError("`git`", "is not on PATH", fix="install it") from error
    if done.returncode == 0:
        return done.stdout
    if code is None:
        return None
    raise CliError(f"`{' '.join(command)}` in {connection.REPOSITORY}", f"failed: {done.stderr.strip()}")
