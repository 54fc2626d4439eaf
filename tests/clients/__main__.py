"""Runner of third-party clients against a local cloud: `python -m tests.clients [--only NAME …] [--write]`.

Each client has its own environment, built from its lock file and cached under the hash of the lock file.
Each step is printed on a line; the exit code is 1 if a step failed for another reason than a refusal by name.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from local import client
from tests.clients.steps import ROLE

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millrace" / "clients"
PAGE = REPOSITORY / "docs" / "local.md"
#: The results of the last run are between these lines of the page.
BEGIN, END = "<!-- clients: begin -->", "<!-- clients: end -->"
#: Maximum duration of one client, in seconds.
PATIENCE = 1200


@dataclass(frozen=True)
class Client:
    """Client with its title and the kind of program that runs it.

    Scripts have a prefix, so that their file names do not hide the package of a client.
    """

    name: str
    title: str
    kind: str
    """`python`, `node` or `go`."""


CLIENTS = (
    Client("aws_cli", "AWS CLI v1", "python"),
    Client("javascript", "AWS SDK for JavaScript v3", "node"),
    Client("awswrangler_s3", "awswrangler, S3", "python"),
    Client("sagemaker_core", "sagemaker-core", "python"),
    Client("sagemaker_v3", "SageMaker Python SDK v3", "python"),
    Client("sagemaker_v2", "SageMaker Python SDK v2", "python"),
    Client("go", "AWS SDK for Go v2", "go"),
)
#: The package whose version is reported for a client.
VERSIONS = {
    "aws_cli": "awscli", "awswrangler_s3": "awswrangler", "sagemaker_core": "sagemaker-core",
    "sagemaker_v3": "sagemaker", "sagemaker_v2": "sagemaker",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the clients and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--only", action="append", choices=[each.name for each in CLIENTS], help="this client; repeat")
    parser.add_argument("--write", action="store_true", help=f"write the result into {PAGE.relative_to(REPOSITORY)}")
    options = parser.parse_args(arguments)
    found: dict[str, list[dict[str, Any]]] = {}
    chosen = [each for each in CLIENTS if not options.only or each.name in options.only]
    with run_cloud() as environment:
        for each in chosen:
            _print_line(f"{each.title}, {read_version(each)}")
            found[each.name] = list(run_client(each, environment))
    failed = [
        f"{name}: {step['step']}" for name, steps in found.items() for step in steps if step["result"] == "failed"
    ]
    if options.write and not options.only:
        PAGE.write_text(render_page(PAGE.read_text(), found))
    _print_line("all works or is refused by name" if not failed else "failed: " + "; ".join(failed))
    return 1 if failed else 0


@contextmanager
def run_cloud() -> Iterator[dict[str, str]]:
    """Run a local cloud with the image and role of the clients, and yield the environment of its user."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        running = client.start(state, scale=60.0, images={"clients": HERE / "image"})
        try:
            kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
            environment = {**kept, **client.build_environment(running, state), "HOME": folder}
            trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
            boto3.client(
                "iam",
                endpoint_url=running.endpoint_url,
                region_name=client.REGION,
                aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            ).create_role(
                RoleName=ROLE.rpartition("/")[2],
                AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
            )
            yield environment
        finally:
            client.stop(state)


def run_client(one: Client, environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Run one client and yield each of its steps as it is reported."""
    command, more = prepare_command(one)
    log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - read after the process has ended
    with subprocess.Popen(
        command, env={**environment, **more}, cwd=HERE, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("STEP "):
                step = json.loads(line[5:])
                mark = {"works": "✓", "refused": "–", "failed": "✗"}[step["result"]]
                _print_line(f"  {mark} {step['step']}" + (f": {step['detail']}" if step["detail"] else ""))
                yield step
        code = process.wait(PATIENCE)
    if code:
        log.seek(0)
        _print_line(log.read()[-4000:])
        yield {"step": f"the script ended with {code}", "result": "failed", "detail": ""}


def prepare_command(one: Client) -> tuple[list[str], dict[str, str]]:
    """Create the environment of a client, and return its command and additional variables."""
    if one.kind == "python":
        python = make_python_environment(HERE / "requirements" / f"{one.name}.lock", one.name)
        return [str(python), str(HERE / f"try_{one.name}.py")], {"PYTHONPATH": str(HERE)}
    if one.kind == "node":
        return ["node", str(make_node_environment() / "client.mjs")], {}
    return [str(build_go_program())], {}


def make_python_environment(lock: Path, name: str) -> Path:
    """Create an environment with the packages of a lock file, and return its Python."""
    folder = _make_cache_folder(f"{name}-{_hash(lock)}")
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(lock)]
        subprocess.run(install, check=True)
        (folder / "ready").touch()
    return python


def make_node_environment() -> Path:
    """Create a folder with the JavaScript client and its packages, and return it."""
    source = HERE / "javascript"
    folder = _make_cache_folder(f"javascript-{_hash(source / 'package-lock.json')}")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copyfile(source / name, folder / name)
    if not (folder / "ready").exists():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
        (folder / "ready").touch()
    return folder


def build_go_program() -> Path:
    """Build the Go client, and return its path; the first build takes minutes."""
    source = HERE / "go"
    program = _make_cache_folder(f"go-{_hash(source / 'go.sum', source / 'main.go')}") / "client"
    if not program.exists():
        subprocess.run(["go", "build", "-o", str(program), "."], cwd=source, check=True)
    return program


def read_version(one: Client) -> str:
    """Return the version of a client in its lock file."""
    if one.kind == "python":
        text = (HERE / "requirements" / f"{one.name}.lock").read_text()
        match = re.search(rf"^{re.escape(VERSIONS[one.name])}(?:\[[^\]]*\])?==(\S+)", text, re.MULTILINE)
    elif one.kind == "node":
        text = (HERE / "javascript" / "package.json").read_text()
        match = re.search(r'"@aws-sdk/client-sagemaker": "([^"]+)"', text)
    else:
        match = re.search(r"service/sagemaker v(\S+)", (HERE / "go" / "go.mod").read_text())
    assert match is not None, one
    return match[1]


def render_page(page: str, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the page with the table of the results."""
    lines = [f"Run on {dt.datetime.now(dt.UTC).date()}.", "", "| client | works | refused by name |", "|---|---|---|"]
    for one in CLIENTS:
        steps = found[one.name]
        works, refused, failed = (
            "; ".join(each["step"] for each in steps if each["result"] == kind)
            for kind in ("works", "refused", "failed")
        )
        lines.append(
            f"| {one.title} {read_version(one)} | {works} | {refused}{f'; **failed**: {failed}' if failed else ''} |"
        )
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.partition(END)[2]}"


def _make_cache_folder(name: str) -> Path:
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _hash(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
