"""The workflow files of GitHub and GitLab: their template values, how they are rendered, and safe overwriting."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli.console.durations import DURATION, spell_duration
from cli.console.errors import CliError
from cli.console.output import say
from cli.console.templates import FOLDER, render
from cli.stack import connection, stack_files
from cli.stack.stack_files import StackFile
from millrace.names import PLATFORM

GITHUB, GITLAB = Path(".github") / "workflows", Path()
_WORKFLOWS = ("preview", "comment", "deploy", "drift", "review")
_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+")
_DIGEST = re.compile(r"[0-9a-f]{40}")
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]*")
_BACKEND = re.compile(r"[a-z0-9]+://[^\s'\"{}$]+")
#: The name of review stacks in `--role-arn NAME=ARN`.
_REVIEW = "review"
#: The first line of a written file; its digest of all that follows reveals a change by hand.
_HEAD = re.compile(r"# Written by `(?P<command>[^`]*)`; digest of what follows: (?P<digest>[0-9a-f]{16})\n")

#: Conditions on a pull request: `_TRUSTED` if it is from a branch of this repository and by an author whose runs get
#: an OIDC token, `_FOREIGN` if not.
_TRUSTED = (
    "github.event.pull_request.head.repo.full_name == github.repository "
    "&& github.event.pull_request.user.login != 'dependabot[bot]'"
)
_FOREIGN = (
    "(github.event.pull_request.head.repo.full_name != github.repository "
    "|| github.event.pull_request.user.login == 'dependabot[bot]')"
)
_MERGE_REQUEST = '$CI_PIPELINE_SOURCE == "merge_request_event"'
_SAME = "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID"


@dataclass(frozen=True)
class Wanted:
    """The options of `millrace workflows`, each by its name."""

    command: str
    environments: tuple[str, ...]
    use_cases: tuple[str, ...]
    roles: Mapping[str, str]
    preview_roles: Mapping[str, str]
    backend: str | None
    branch: str
    label: str
    review_from: str | None
    expires: str
    pins: Mapping[str, str] | None = None
    runner: str = ""
    session: int = 0
    image: str = ""
    automatic: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option, value, pattern, expected in (
            ("--branch", self.branch, _BRANCH, "the name of a branch"),
            ("--label", self.label, _LABEL, "letters, digits, spaces and . _ / -"),
            ("--expires", self.expires, DURATION, "e.g. 72h or 3d"),
            ("--backend", self.backend, _BACKEND, "an address, e.g. s3://BUCKET"),
        ):
            if value is not None and not pattern.fullmatch(value):
                raise click.UsageError(f"{option} {value!r}: expected {expected}")
        for option, given in (("--role-arn", self.roles), ("--preview-role-arn", self.preview_roles)):
            for name, arn in given.items():
                if not _ARN.fullmatch(arn):
                    raise click.UsageError(f"{option} {name}={arn}: expected arn:aws:iam::<account>:role/<name>")

    def find_stacks(self) -> list[StackFile]:
        """Return the existing stacks of accounts, in order of promotion."""
        found = stack_files.list_stack_files(self.environments, self.use_cases)
        names = list(dict.fromkeys(each.environment for each in found))
        if not found:
            raise CliError(
                "no stack", "belongs to an AWS account", fix="add stacks/Pulumi.<use case>-<environment>.yaml"
            )
        for option, given in (
            ("--role-arn", [name for name in self.roles if name != _REVIEW]),
            ("--preview-role-arn", list(self.preview_roles)),
            ("--review-from", [self.review_from] if self.review_from else []),
            ("--automatic", list(self.automatic)),
        ):
            if unknown := [name for name in given if name not in names]:
                raise click.UsageError(f"{option} {unknown[0]!r}: expected one of {', '.join(names)}")
        return found


def render_github(wanted: Wanted) -> dict[Path, str]:
    """Return the workflow files of GitHub Actions: path → content.

    Args:
        wanted: The options of `millrace workflows github`.
    """
    stacks = wanted.find_stacks()
    names = list(dict.fromkeys(each.environment for each in stacks))
    review_from = wanted.review_from or names[0]
    use_cases = "".join(f" --use-case {name}" for name in wanted.use_cases)

    def role(given: Mapping[str, str], kind: str, name: str) -> str:
        return given.get(name) or _gh(f"vars.{kind}_{_constant(name)}")

    environments = [
        {
            "name": name,
            "role": role(wanted.roles, "AWS_ROLE_ARN", name),
            "preview_role": role(wanted.preview_roles, "AWS_PREVIEW_ROLE_ARN", name),
        }
        for name in names
    ]
    values: dict[str, Any] = {
        "gh": _gh,
        "pins": _pins(wanted.pins or {}),
        "environments": environments,
        "waves": _waves(wanted, environments),
        "selection": "".join(f" --env {name}" for name in names) + use_cases,
        "review_selection": f" --env {review_from}{use_cases} --without-platform",
        "review_from": next(each for each in environments if each["name"] == review_from),
        "review_role": role(wanted.roles, "AWS_ROLE_ARN", _REVIEW),
        "review_region": next(each.region for each in stacks if each.environment == review_from),
        "backend": _backend(wanted, lambda name: _gh(f"vars.{name}"), lambda name: _gh(f"secrets.{name}")),
        "branch": wanted.branch,
        "runner": wanted.runner,
        "session": wanted.session,
        "label": wanted.label,
        "expires": wanted.expires,
        "trusted": _TRUSTED,
        "foreign": _FOREIGN,
    }
    return {
        GITHUB / f"millrace-{name}.yml": _headed(wanted, render(f"ci/github/{name}.yml.j2", **values))
        for name in _WORKFLOWS
    }


def _waves(wanted: Wanted, environments: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return what is deployed one after the other: for each environment its platform, then its use cases."""
    parts = ["platform", "use_cases"]
    if wanted.use_cases and PLATFORM not in wanted.use_cases:
        parts.remove("platform")
    return [
        {**each, "environment": each["name"], "stacks": f"{each['name']}_{part}"}
        for each in environments
        for part in parts
    ]


def render_gitlab(wanted: Wanted) -> dict[Path, str]:
    """Return the pipeline file of GitLab: path → content.

    Args:
        wanted: The options of `millrace workflows gitlab`.
    """
    stacks = wanted.find_stacks()
    names = list(dict.fromkeys(each.environment for each in stacks))
    review_from = wanted.review_from or names[0]
    roles = {
        name: {
            "deploy": wanted.roles.get(name) or f"$AWS_ROLE_ARN_{_constant(name)}",
            "preview": wanted.preview_roles.get(name) or f"$AWS_PREVIEW_ROLE_ARN_{_constant(name)}",
        }
        for name in [*names, _REVIEW]
    }

    def before(stack: StackFile) -> list[StackFile]:
        """Return the stacks to deploy first: the same use case in the previous environment, and the platform."""
        same = [each for each in stacks if each.use_case == stack.use_case]
        shared = [each for each in stacks if each.is_platform and each.environment == stack.environment]
        return [*same[: same.index(stack)][-1:], *(each for each in shared if each != stack)]

    def wave_of(stack: StackFile) -> str:
        return f"{PLATFORM} {stack.environment}" if stack.is_platform else stack.environment

    values: dict[str, Any] = {
        "stacks": stacks,
        "waves": list(dict.fromkeys(wave_of(each) for each in stacks)),
        "wave_of": wave_of,
        "reviewed": [each for each in stacks if each.environment == review_from and not each.is_platform],
        "roles": roles,
        "before": before,
        "paths": lambda stack: [_glob(path) for path in [*stack.own, *stack_files.SHARED, "stacks/*.py"]],
        "backend": [(name, value) for name, value in _backend(wanted, lambda n: f"${n}", lambda n: f"${n}")
                    if value != f"${name}"],
        "wanted": _variables(wanted, roles),
        "automatic": wanted.automatic,
        "branch": wanted.branch,
        "image": wanted.image,
        "label": wanted.label,
        "expires": wanted.expires,
        "expires_words": spell_duration(wanted.expires),
        "merge_request": _MERGE_REQUEST,
        "from_branch": f"{_MERGE_REQUEST} && {_SAME}",
        "from_fork": f"{_MERGE_REQUEST} && {_SAME.replace('==', '!=')}",
        "merged": f'$CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == "{wanted.branch}"',
        "labelled": f"$CI_MERGE_REQUEST_LABELS =~ /(^|,){re.escape(wanted.label)}(,|$)/".replace("\\ ", " "),
    }  # fmt: skip
    return {GITLAB / ".gitlab-ci.yml": _headed(wanted, render("ci/gitlab/gitlab-ci.yml.j2", **values))}


def _gh(expression: str) -> str:
    """Return an expression in the syntax of GitHub Actions."""
    return "${{ " + expression + " }}"


def _constant(name: str) -> str:
    return name.upper().replace("-", "_")


def _glob(path: str) -> str:
    return f"{path}**/*" if path.endswith("/") else path


def _backend(wanted: Wanted, variable: Any, secret: Any) -> list[tuple[str, str]]:
    """Return the variables with the location of Pulumi's state and the secret that opens it, with their values."""
    opens = "PULUMI_ACCESS_TOKEN" if (wanted.backend or "").startswith("https://") else "PULUMI_CONFIG_PASSPHRASE"
    return [("PULUMI_BACKEND_URL", wanted.backend or variable("PULUMI_BACKEND_URL")), (opens, secret(opens))]


def _variables(wanted: Wanted, roles: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    """Return the variables that a GitLab project must define, with their descriptions."""
    found = []
    for name, of in roles.items():
        what = "review stacks" if name == _REVIEW else name
        if of["deploy"].startswith("$"):
            found.append((of["deploy"][1:], f"the role that deploys {what}"))
        if of["preview"].startswith("$") and name != _REVIEW:
            found.append((of["preview"][1:], f"the role that previews {what}; read access is enough"))
    backend = dict(_backend(wanted, lambda name: f"${name}", lambda name: f"${name}"))
    if wanted.backend is None:
        found.append(("PULUMI_BACKEND_URL", "where Pulumi keeps its state, e.g. s3://<bucket>"))
    found += [(name, "masked; gives access to that state") for name in backend if name != "PULUMI_BACKEND_URL"]
    return [
        *found,
        ("MILLRACE_TOKEN", "masked; a project access token (role Reporter, scope api) that writes the notes"),
    ]


def _pins(given: Mapping[str, str]) -> dict[str, str]:
    """Return each action pinned to its commit; its version follows as a comment unless `--pin` chose the commit."""
    import tomllib

    table = tomllib.loads((FOLDER / "ci" / "pins.toml").read_text())
    known = {pin["action"] for pin in table.values()}
    for action, digest in given.items():
        if action not in known:
            raise click.UsageError(f"--pin {action!r}: no workflow uses it; expected one of {', '.join(sorted(known))}")
        if not _DIGEST.fullmatch(digest):
            raise click.UsageError(
                f"--pin {action}={digest}: expected a commit, 40 hexadecimal digits: a tag can be moved"
            )
    return {
        name: f"{pin['action']}@{given[pin['action']]}"
        if pin["action"] in given
        else f"{pin['action']}@{pin['digest']} # {pin['version']}"
        for name, pin in table.items()
    }


# -- files -------------------------------------------------------------------------------------------------------------


def _headed(wanted: Wanted, text: str) -> str:
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    return f"# Written by `{wanted.command}`; digest of what follows: {_digest(text)}\n{text}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_files(files: Mapping[Path, str], output: Path | None, *, force: bool, check: bool, dry_run: bool) -> None:
    """Write the files, or report how they differ from the existing ones.

    Args:
        files: Path → content.
        output: A folder for all files; None puts each where its host looks for it.
        force: Whether to overwrite files that were changed by hand.
        check: Whether to raise if a file differs, and write nothing.
        dry_run: Whether to print the differences, and write nothing.

    Raises:
        CliError: When a file that was changed by hand would be overwritten; with ``check``, when a file differs.
        UsageError: When more than one of ``force``, ``check`` and ``dry_run`` is set.
    """
    if sum((force, check, dry_run)) > 1:
        raise click.UsageError("--force, --check and --dry-run are mutually exclusive; give only one of them")
    places = {(output / name.name if output else connection.REPOSITORY / name): text for name, text in files.items()}
    differing = [path for path, text in places.items() if _read_existing(path) != text]
    if check:
        if differing:
            names = ", ".join(_short(path) for path in differing)
            raise CliError(
                f"{len(differing)} of {len(places)} files",
                f"are out of date: {names}",
                fix=f"write them: {_command_of(files)}",
            )
        say(f"{len(places)} files are up to date")
        return
    if dry_run:
        for path in differing:
            say(_difference(path, places[path]))
        say(f"{len(differing)} of {len(places)} files would be written")
        return
    kept = [path for path in differing if not force and not _may_be_replaced(path)]
    if kept:
        raise CliError(
            f"{', '.join(_short(path) for path in kept)}",
            "changed by hand, or not written by this command; nothing was written",
            fix="see the differences with --dry-run, overwrite with --force, or write elsewhere with --output",
        )
    for path in differing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(places[path])
    for path in places:
        say(f"{'wrote' if path in differing else 'unchanged'} {_short(path)}")


def _command_of(files: Mapping[Path, str]) -> str:
    match = _HEAD.match(next(iter(files.values())))
    assert match is not None
    return match["command"]


def _read_existing(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path}", f"cannot be read: {error}", fix="name another folder with --output") from error


def _may_be_replaced(path: Path) -> bool:
    """Return True if overwriting loses nothing: the file does not exist or is as it was written."""
    text = _read_existing(path)
    if text is None:
        return True
    match = _HEAD.match(text)
    return match is not None and _digest(text[match.end() :]) == match["digest"]


def _short(path: Path) -> str:
    return str(path.relative_to(connection.REPOSITORY)) if path.is_relative_to(connection.REPOSITORY) else str(path)


def _difference(path: Path, text: str) -> str:
    old: Sequence[str] = (_read_existing(path) or "").splitlines(keepends=True)
    lines = difflib.unified_diff(old, text.splitlines(keepends=True), _short(path), _short(path))
    return "".join(lines)
