"""Steps that create a job, a model or a model package: naming, creation, waiting, and retries by policies."""

from __future__ import annotations

import random
import string
import threading
import time
import uuid
from typing import Any, NoReturn, Protocol

from botocore.exceptions import ClientError

from local.core.context import Cloud
from local.core.store import Document
from local.errors import LocalError
from local.services.sagemaker.jobs.documents import ENDED, RESTARTED
from local.services.sagemaker.jobs.runs import Jobs
from local.services.sagemaker.pipelines import state as state
from local.services.sagemaker.pipelines.graph import Node
from local.services.sagemaker.pipelines.policies import (
    build_cache_key,
    classify_job_failure,
    compute_retry_delay,
    parse_duration,
)
from local.services.sagemaker.pipelines.recovery import count_outputs
from local.services.sagemaker.pipelines.scope import RunScope
from local.services.sagemaker.pipelines.steps import (
    KINDS,
    StepError,
    build_request,
    call_operation,
    describe_resource,
    resource_exists,
)

#: Seconds between two polls of a model package that is not ready yet.
_LOOK = 0.2

_RANDOM = random.SystemRandom()


class Run(Protocol):
    """The execution that a step belongs to."""

    cloud: Cloud
    region: str
    arn: str
    halt: threading.Event
    steps: dict[str, dict[str, Any]]

    def read_document(self) -> Document:
        """Return the execution's document."""


class StepStoppedError(LocalError):
    """The end of a step because its execution is being stopped."""


class StepInterruptedError(LocalError):
    """An interruption by the local cloud's shutdown; the next start resumes the step."""


class _Restarted(LocalError):
    """The loss of a job by a restart of the local cloud."""


class JobStep:
    """One step of a run; its state is only in its record."""

    def __init__(self, run: Run, node: Node) -> None:
        self._run = run
        self._cloud = run.cloud
        self._node = node
        self._kind = KINDS[node.type]
        self._client = run.cloud.client("sagemaker", run.region)

    def perform(self, *, resumed: bool) -> Document:
        """Create the resource and await it, with further attempts as the retry policies allow.

        Args:
            resumed: Whether a shutdown of the local cloud interrupted the step.

        Raises:
            StepError: The step failed.
            StepStoppedError: The execution is being stopped.
            StepInterruptedError: The local cloud is shutting down.
        """
        record = self._record()
        if "_base" not in record:
            record = self._put(_base=self._base(), _failures=0, _retries={}, _token=str(uuid.uuid4()))
        while True:
            try:
                return self._attempt(record, resumed=resumed)
            except _Restarted:
                if self._run.halt.is_set():
                    self._halted()
            except StepError as error:
                if self._run.halt.is_set() or not self._may_retry(record, error):
                    raise
            resumed = False
            record = self._put(_failures=record["_failures"] + 1, _made=None, _token=str(uuid.uuid4()))

    def stop(self) -> None:
        """Stop the job if it runs; the step ends with it."""
        record = self._record()
        if self._kind.job is None or record.get("_made") is None:
            return
        if record["StepStatus"] == "Executing":
            self._put_if_executing("Stopping")
        stop = getattr(self._client, f"stop_{self._kind.job[1].lower()}_job")
        try:
            stop(**{self._kind.asked: record["_made"]})
        except ClientError as error:
            # It has ended already, or another client is stopping it.
            if error.response["Error"]["Code"] != "ValidationException":
                raise

    # -- one attempt -------------------------------------------------------------------------------------------------

    def _attempt(self, record: Document, *, resumed: bool) -> Document:
        name = record["_base"] + (f"-{record['_failures']}" if record["_failures"] else "")
        made = record.get("_made")
        if made is None and resumed and self._kind.named and resource_exists(self._client, self._kind, name):
            made = name
            self._made(made, describe_resource(self._client, self._kind, name)[self._kind.arn])
        before = made is not None
        if made is None:
            if self._run.halt.is_set():
                self._halted()
            request = self._request(name)
            if hit := self._cached(request):
                return hit
            if self._kind.named:
                request[self._kind.named] = name
            else:
                request["ClientToken"] = record["_token"]
            arn = call_operation(self._client, self._kind.operation, request)[self._kind.arn]
            made = name if self._kind.named else arn
            self._made(made, arn)
        if self._run.halt.is_set() and not self._cloud.stopping.is_set():
            self.stop()
        self._await(made, before=resumed and before)
        return {}

    def _request(self, name: str) -> Document:
        document = self._run.read_document()
        scope = RunScope(self._cloud, self._run.region, document, self._run.steps, name if self._kind.job else None)
        return build_request(self._kind, self._node.document["Arguments"], scope)

    def _made(self, made: str, arn: str) -> None:
        attempts = {"AttemptCount": self._record()["_failures"] + 1} if self._kind.job else {}
        metadata = {self._kind.metadata: {"Arn": arn}}
        self._put("Executing", _made=made, Metadata=metadata, **attempts)

    def _await(self, made: str, *, before: bool) -> None:
        """Wait until the resource is complete.

        Args:
            made: The name or ARN of the resource.
            before: Whether it was created before the local cloud shut down. If such a job completed, its outputs were
                not counted, and some may have been lost in the shutdown.

        Raises:
            StepError: The job or the model package failed.
            StepStoppedError: The execution is being stopped.
            StepInterruptedError: The local cloud is shutting down.
            _Restarted: The job must be repeated after a restart of the local cloud.
        """
        if self._kind.job is None:
            self._await_package(made)
            return
        store_kind, label = self._kind.job
        self._cloud.get_part(Jobs).wait(store_kind, self._run.region, made)
        if self._cloud.stopping.is_set():
            raise StepInterruptedError
        described = describe_resource(self._client, self._kind, made)
        status, reason = described[f"{label}JobStatus"], described.get("FailureReason", "")
        if reason == RESTARTED or (before and status == "Completed"):
            raise _Restarted
        if status == "Completed":
            self._put(_objects=count_outputs(self._cloud, self._run.region, described))
            return
        if status == "Stopped" and self._run.halt.is_set():
            raise StepStoppedError
        if status not in ENDED:
            raise StepError(f"InternalServerError: {made} no longer runs but is {status}: see daemon.log")
        if status == "Stopped":
            reason = f"ClientError: the {label.lower()} job {made} was stopped before it completed"
            if (secondary := described.get("SecondaryStatus", "Stopped")) != "Stopped":
                reason += f": {secondary}"
        if message := described.get("ExitMessage"):
            reason += f". Exit message: {message}"
        raise StepError(reason, classify_job_failure(reason))

    def _await_package(self, made: str) -> None:
        while self._node.type == "RegisterModel":
            described = describe_resource(self._client, self._kind, made)
            status = described.get("ModelPackageStatus", "Completed")
            if status == "Failed":
                raise StepError(f"ClientError: model package {made} has failed: {described}")
            if status == "Completed":
                return
            if self._cloud.stopping.wait(_LOOK):
                raise StepInterruptedError

    # -- retries and cache -------------------------------------------------------------------------------------------

    def _may_retry(self, record: Document, error: StepError) -> bool:
        """Return True if a retry policy allows another attempt, after the wait that it requires."""
        exception = error.exception
        if exception is None:
            return False
        retries = record["_retries"].get(exception, 0)
        elapsed = (time.time() - record["StartTime"]) * self._cloud.clock.scale
        wait = compute_retry_delay(self._node.document.get("RetryPolicies", ()), exception, retries, elapsed)
        if wait is None:
            return False
        self._put(_retries={**record["_retries"], exception: retries + 1})
        if self._cloud.clock.wait(wait, self._run.halt):
            self._halted()
        return True

    def _halted(self) -> NoReturn:
        raise StepInterruptedError if self._cloud.stopping.is_set() else StepStoppedError

    def _cached(self, request: Document) -> Document | None:
        """Return the members of a cache hit, or store the cache key for later executions and return None."""
        if self._kind.job is None:
            return None
        key = build_cache_key(self._node.type, request)
        config = self._node.document.get("CacheConfig", {})
        source = self._source(key, config) if config.get("Enabled") else None
        if source is None:
            self._put(_cache_key=key)
            return None
        arn, record = source
        hit = {"SourcePipelineExecutionArn": arn}
        return {"Metadata": record["Metadata"], "_made": record["_made"], "CacheHitResult": hit}

    def _source(self, key: str, config: Document) -> tuple[str, Document] | None:
        """Return the newest execution in which this step succeeded with the key, or None.

        The execution is returned by its ARN, with the step's record in it.
        """
        oldest = time.time() - parse_duration(config["ExpireAfter"]) if "ExpireAfter" in config else 0.0
        pipeline = self._run.read_document()["_pipeline"]
        found: list[tuple[float, str, Document]] = []
        for document in state.list_executions(self._cloud, self._run.region, pipeline):
            record = document["_steps"].get(self._node.name, {})
            if (
                record.get("_cache_key") == key
                and record["_type"] == self._node.type
                and record["StepStatus"] == "Succeeded"
                and record["EndTime"] >= oldest
            ):
                found.append((record["EndTime"], document["PipelineExecutionArn"], record))
        for _, arn, record in sorted(found, key=lambda item: item[0], reverse=True):
            # A job that was deleted has no outputs to refer to.
            if resource_exists(self._client, self._kind, record["_made"]):
                return arn, record
        return None

    # -- the record --------------------------------------------------------------------------------------------------

    def _record(self) -> Document:
        return dict(self._run.read_document()["_steps"][self._node.name])

    def _put(self, status: str | None = None, **members: Any) -> Document:
        """Change the step's record and return it; without ``status`` the step keeps its own."""
        return state.change_step(self._cloud, self._run.region, self._run.arn, self._node.name, status, **members)

    def _put_if_executing(self, status: str) -> None:
        def changing(document: Document) -> None:
            record = document["_steps"][self._node.name]
            if record["StepStatus"] == "Executing":
                record["StepStatus"] = status

        state.change_execution(self._cloud, self._run.region, self._run.arn, changing)

    def _base(self) -> str:
        """Return the job's name without the number of failures; job names must not contain underscores."""
        execution = self._run.arn.rpartition("/")[2]
        tail = "".join(_RANDOM.choices(string.ascii_letters + string.digits, k=10))
        return f"pipelines-{execution}-{self._node.name[:20].replace('_', '-')}-{tail}"
