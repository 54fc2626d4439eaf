"""Running builds: the source, the variables and the buildspec's commands, each build in a thread and a folder.

The folder of a build that succeeded is removed; the newest folders of other builds are kept for inspection.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import sys
import threading
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local.core.errors import AwsError
from local.errors import LocalError
from local.services.codebuild import agent, documents
from local.services.codebuild.buildspec import PHASES, Buildspec, BuildspecError, parse_buildspec
from local.services.codebuild.documents import BUILD, FAILED, FAULT, STOPPED, SUCCEEDED, TIMED_OUT
from local.services.containers.container import Container, ContainerError
from local.services.containers.folders import prune_folders

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

#: Builds of images of this repository run with the programs of this machine.
CURATED = "aws/codebuild/"
#: The folders of builds that did not succeed, which are kept.
_KEPT = 20
#: Seconds between looks at a running build's progress.
_LOOK = 0.2
#: Seconds between SIGTERM and SIGKILL.
_GRACE = 30.0


class BuildError(LocalError):
    """A build that fails before its commands run.

    Args:
        code: The status code of the phase's context.
        message: Its message.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BuildRun:
    """One run of one build, in its own thread."""

    def __init__(self, cloud: Cloud, region: str, name: str) -> None:
        document = cloud.store.get(BUILD, region, name)
        assert document is not None
        self.cloud, self.region, self.name, self.document = cloud, region, name, document
        self.folder = cloud.state / "builds" / region / name.replace(":", "-")
        self._changed = threading.Event()
        self._stop_requested = False
        self._read = 0

    def request_stop(self) -> None:
        """Request the build to end early."""
        self._stop_requested = True
        self._changed.set()

    def wake(self) -> None:
        """Wake the build's thread, which then checks whether the cloud is shutting down."""
        self._changed.set()

    def run(self) -> None:
        """Run the build until it is complete, or the cloud shuts down."""
        try:
            status, context = self._attempt()
        except (BuildError, BuildspecError, ContainerError) as error:
            code = error.code if isinstance(error, BuildError) else "CLIENT_ERROR"
            status, context = FAILED, ("YAML_FILE_ERROR" if isinstance(error, BuildspecError) else code, str(error))
        except Exception:
            log.exception("build %s", self.name)
            message = f"a bug in the local cloud: see daemon.log for build {self.name}"
            status, context = FAULT, ("INTERNAL_SERVICE_ERROR", message)
        if self.cloud.stopping.is_set():
            # It is settled when the cloud starts again.
            return
        documents.end_phase(self.cloud, self.region, self.name, status, context)
        for phase in ("UPLOAD_ARTIFACTS", "FINALIZING") if status in (SUCCEEDED, FAILED) else ("FINALIZING",):
            documents.enter_phase(self.cloud, self.region, self.name, phase)
            documents.end_phase(self.cloud, self.region, self.name, SUCCEEDED)
        documents.complete_build(self.cloud, self.region, self.name, status)
        if status == SUCCEEDED:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _attempt(self) -> tuple[str, tuple[str, str] | None]:
        shutil.rmtree(self.folder, ignore_errors=True)
        source, scratch = self.folder / "src", self.folder / "tmp"
        source.mkdir(parents=True)
        scratch.mkdir()
        self._enter("PROVISIONING")
        path = self._find_search_path()
        self._enter("DOWNLOAD_SOURCE")
        self._fetch_source(source)
        spec = parse_buildspec(self._find_buildspec(source))
        if spec.runtimes and not str(self.document["environment"]["image"]).startswith(CURATED):
            raise BuildspecError("runtime-versions: runtime version selection is not supported for custom images")
        variables = {**spec.variables, **self._resolve_variables(spec)}
        plan = {
            "shell": spec.shell,
            "source": str(source),
            "scratch": str(scratch),
            "progress": str(self.folder / "progress"),
            "phases": [
                {
                    "name": shown,
                    "commands": spec.phases[name].commands,
                    "last": spec.phases[name].last,
                    "on_failure": spec.phases[name].on_failure,
                }
                for name, shown in PHASES.items()
            ],
            "exported": spec.exported,
        }
        (self.folder / "plan.json").write_text(json.dumps(plan))
        if self._stop_requested:
            return STOPPED, None
        logs = self.document["logs"]
        container = Container.launch(
            self.cloud,
            command=[sys.executable, "-I", str(Path(agent.__file__)), str(self.folder / "plan.json")],
            folder=source,
            base=self._list_base_variables(path, source),
            environment=variables,
            region=self.region,
            log_group=logs["groupName"],
            log_stream=logs["streamName"],
        )
        try:
            return self._watch(container)
        finally:
            if container.poll() is None:
                container.kill()

    # -- before --------------------------------------------------------------------------------------------------------

    def _enter(self, phase: str) -> None:
        documents.enter_phase(self.cloud, self.region, self.name, phase)

    def _find_search_path(self) -> str:
        """Return the PATH of the build's image, whose own programs come first."""
        image = str(self.document["environment"]["image"])
        own = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        if not image.startswith(CURATED):
            try:
                own.insert(0, str(self.cloud.images.resolve(image) / "bin"))
            except AwsError as error:
                raise BuildError("BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE", error.message) from error
        return os.pathsep.join(own)

    def _list_base_variables(self, path: str, source: Path) -> dict[str, str]:
        build, version = self.document, self.document.get("resolvedSourceVersion", "")
        return {
            "PATH": path,
            # Of this machine's user: tools and what they have downloaded before are found there.
            "HOME": str(Path.home()),
            "LANG": "C.UTF-8",
            # A build sees this cloud alone, which stands for every account.
            "MILLRACE_STATE": str(self.cloud.state),
            "MILLRACE_STAND_IN": "1",
            "PYTHONUNBUFFERED": "1",
            "CODEBUILD_BUILD_ARN": build["arn"],
            "CODEBUILD_BUILD_ID": build["id"],
            "CODEBUILD_BUILD_IMAGE": build["environment"]["image"],
            "CODEBUILD_BUILD_NUMBER": str(build["buildNumber"]),
            "CODEBUILD_INITIATOR": build["initiator"],
            "CODEBUILD_KMS_KEY_ID": build["encryptionKey"],
            "CODEBUILD_LOG_PATH": build["logs"]["streamName"],
            "CODEBUILD_PROJECT_ARN": build["arn"].rpartition(":build/")[0] + f":project/{build['projectName']}",
            "CODEBUILD_SOURCE_REPO_URL": build["source"].get("location", ""),
            "CODEBUILD_SOURCE_VERSION": build.get("sourceVersion", ""),
            "CODEBUILD_RESOLVED_SOURCE_VERSION": version,
            "CODEBUILD_SRC_DIR": str(source),
            "CODEBUILD_START_TIME": str(int(build["startTime"] * 1000)),
        }

    def _fetch_source(self, source: Path) -> None:
        """Unpack the archive of the source, with the executable bits of its files."""
        given = self.document["source"]
        if given["type"] == "NO_SOURCE":
            return
        bucket, _, key = given["location"].removeprefix("arn:aws:s3:::").partition("/")
        version = {"VersionId": self.document["sourceVersion"]} if self.document.get("sourceVersion") else {}
        s3 = self.cloud.client("s3", self.region)
        try:
            answer = s3.get_object(Bucket=bucket, Key=key, **version)
            body = answer["Body"].read()
        except ClientError as error:
            raise BuildError("CLIENT_ERROR", f"error while downloading s3://{bucket}/{key}: {error}") from error
        self._note_version(answer.get("VersionId"))
        try:
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                for member in archive.infolist():
                    written = Path(archive.extract(member, source))
                    if mode := (member.external_attr >> 16) & 0o777:
                        written.chmod(mode | 0o600 | (0o100 if written.is_dir() else 0))
        except zipfile.BadZipFile as error:
            raise BuildError("CLIENT_ERROR", f"s3://{bucket}/{key} is not a ZIP archive: {error}") from error

    def _note_version(self, version: str | None) -> None:
        def noted(document: dict[str, Any]) -> None:
            if version and version != "null":
                document["resolvedSourceVersion"] = version

        self.document = documents.update_build(self.cloud, self.region, self.name, noted) or self.document

    def _find_buildspec(self, source: Path) -> str:
        """Return the text of the buildspec: inline, or a file of the source, `buildspec.yml` by default."""
        given = str(self.document["source"].get("buildspec") or "buildspec.yml")
        if given.startswith("arn:"):
            raise BuildspecError(f"a buildspec in S3, {given}, is not available in the local cloud")
        if "\n" in given or ":" in given or given.lstrip().startswith("{"):
            return given
        file = (source / given).resolve()
        if not file.is_relative_to(source.resolve()) or not file.is_file():
            raise BuildspecError(f"stat {given}: no such file or directory in the source")
        return file.read_text(errors="replace")

    def _resolve_variables(self, spec: Buildspec) -> dict[str, str]:
        """Return the values of parameters, and of the project's and the start's own variables, which go first."""
        found = {name: self._read_parameter(parameter) for name, parameter in spec.parameters.items()}
        for variable in self.document["environment"].get("environmentVariables", []):
            plain = variable.get("type", "PLAINTEXT") == "PLAINTEXT"
            found[variable["name"]] = variable["value"] if plain else self._read_parameter(variable["value"])
        return found

    def _read_parameter(self, name: str) -> str:
        try:
            ssm = self.cloud.client("ssm", self.region)
            return str(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
        except ClientError as error:
            raise BuildError("CLIENT_ERROR", f"the parameter {name} cannot be read: {error}") from error

    # -- while it runs -------------------------------------------------------------------------------------------------

    def _watch(self, container: Container) -> tuple[str, tuple[str, str] | None]:
        """Follow the commands to their end; return the build's status, and the context of its last phase."""
        self.cloud.spawn(f"wake-{self.name}", self._wake_at_end, container)
        deadline = time.monotonic() + self.document["timeoutInMinutes"] * 60
        stopped = None
        while container.poll() is None:
            self._changed.wait(_LOOK)
            self._changed.clear()
            self._follow_progress()
            if self.cloud.stopping.is_set():
                container.kill()
                return FAULT, None
            if stopped is None:
                stopped = STOPPED if self._stop_requested else TIMED_OUT if time.monotonic() > deadline else None
                if stopped is not None:
                    self.cloud.spawn(f"stop-{self.name}", self._stop, container)
        self._follow_progress()
        if stopped == TIMED_OUT:
            text = f"Build has timed out after {self.document['timeoutInMinutes']} minutes"
            return TIMED_OUT, ("BUILD_TIMED_OUT", text)
        if stopped == STOPPED:
            return STOPPED, None
        code = container.poll() or 0
        if code < 0 or code > 1:
            return FAILED, ("COMMAND_EXECUTION_ERROR", f"the build's container ended with code {code}")
        return (FAILED if code else SUCCEEDED), None

    def _wake_at_end(self, container: Container) -> None:
        container.wait()
        self._changed.set()

    @staticmethod
    def _stop(container: Container) -> None:
        container.stop(grace=_GRACE)

    def _follow_progress(self) -> None:
        """Write what the agent has appended to its file of progress to the build's document."""
        file = self.folder / "progress"
        if not file.exists():
            return
        with file.open("rb") as lines:
            lines.seek(self._read)
            new = lines.read()
        complete = new[: new.rfind(b"\n") + 1]
        self._read += len(complete)
        for line in complete.splitlines():
            self._apply(json.loads(line))

    def _apply(self, note: Mapping[str, Any]) -> None:
        if "exported" in note:
            shown = [{"name": name, "value": value} for name, value in note["exported"].items()]
            documents.update_build(
                self.cloud,
                self.region,
                self.name,
                lambda document: document.update(exportedEnvironmentVariables=shown),
            )
        elif "started" in note:
            documents.enter_phase(self.cloud, self.region, self.name, note["phase"], note["started"])
        else:
            context = None
            if not note["succeeded"]:
                reason = f"Error while executing command: {note['command']}. Reason: exit status {note['code']}"
                context = ("COMMAND_EXECUTION_ERROR", reason)
            status = SUCCEEDED if note["succeeded"] else FAILED
            documents.end_phase(self.cloud, self.region, self.name, status, context, note["ended"])


class Builds:
    """The builds that run in this daemon."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, str], BuildRun] = {}
        cloud.spawn("builds-stopping", self._wake_all)

    def start(self, run: BuildRun) -> None:
        """Start a run in the background.

        Args:
            run: The run of a build whose document is stored.
        """
        with self._lock:
            self._runs[run.region, run.name] = run
        self._cloud.spawn(f"build-{run.name}", self._run, run)

    def stop(self, region: str, name: str) -> None:
        """Request a running build to end; do nothing if it does not run.

        Args:
            region: The build's region.
            name: The build's id.
        """
        with self._lock:
            run = self._runs.get((region, name))
        if run is not None:
            run.request_stop()

    def _run(self, run: BuildRun) -> None:
        try:
            run.run()
        finally:
            with self._lock:
                del self._runs[run.region, run.name]
            self._prune()

    def _wake_all(self) -> None:
        self._cloud.stopping.wait()
        with self._lock:
            for run in self._runs.values():
                run.wake()

    def _prune(self) -> None:
        """Remove the folders of builds that no longer run, except the newest ones."""
        with self._lock:
            running = {run.folder for run in self._runs.values()}
        prune_folders((self._cloud.state / "builds").glob("*/*"), running, _KEPT)
