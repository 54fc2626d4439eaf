"""Running executions: a thread starts each step as soon as the steps that it depends on have succeeded.

After a step has failed, no new step starts, and the running ones are awaited. Everything that must survive a shutdown
of the local cloud is in the execution's document (`state.py`), from which a run can be resumed at any point.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING

from local.core.store import Document
from local.services.sagemaker import values
from local.services.sagemaker.pipelines import state as state
from local.services.sagemaker.pipelines.graph import Node, build_graph
from local.services.sagemaker.pipelines.job_step import JobStep, StepInterruptedError, StepStoppedError
from local.services.sagemaker.pipelines.recovery import drop_lost_steps
from local.services.sagemaker.pipelines.scope import RunScope
from local.services.sagemaker.pipelines.steps import KINDS, StepError

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)


class ExecutionRun:
    """One execution while it runs.

    Attributes:
        halt: Set when the execution must stop, or when the local cloud shuts down.
    """

    def __init__(self, cloud: Cloud, region: str, arn: str) -> None:
        self.cloud = cloud
        self.region = region
        self.arn = arn
        self.halt = threading.Event()
        document = self.read_document()
        version = cloud.store.get(
            state.VERSION, region, state.build_version_name(document["_pipeline"], document["PipelineVersionId"])
        )
        assert version is not None, arn
        self.nodes = build_graph(json.loads(version["PipelineDefinition"]))
        self.steps = {name: node.document for name, node in self.nodes.items()}
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._changed = threading.Event()
        self._jobs_stopped = False

    def read_document(self) -> Document:
        """Return the current document of the execution."""
        document = self.cloud.store.get(state.EXECUTION, self.region, self.arn)
        assert document is not None, self.arn
        return document

    def halt_and_wake(self) -> None:
        """Halt the execution and wake its thread."""
        self.halt.set()
        self._changed.set()

    def run(self, *, recovered: bool = False) -> None:
        """Run the execution until it has a final status or the local cloud shuts down.

        Args:
            recovered: Whether the last shutdown of the local cloud interrupted the execution.
        """
        if recovered:
            drop_lost_steps(self.cloud, self.region, self.arn, self.nodes)
        document = self.read_document()
        if document["PipelineExecutionStatus"] == "Stopping":
            self.halt.set()
        for name, record in document["_steps"].items():
            if record["StepStatus"] in state.UNSETTLED:
                self._begin(self.nodes[name], resumed=True)
        while not self.cloud.stopping.is_set():
            self._changed.clear()
            if self.halt.is_set() and not self._jobs_stopped:
                self._stop_jobs()
            self._begin_ready()
            with self._lock:
                over = not self._running
            if over:
                # A step that ended meanwhile may have made others ready.
                if not self._ready(self.read_document()):
                    self._finish()
                    return
            else:
                self._changed.wait()

    # -- choice of steps ---------------------------------------------------------------------------------------------

    def _begin_ready(self) -> None:
        document = self.read_document()
        limit = document.get("ParallelismConfiguration", {}).get("MaxParallelExecutionSteps", state.PARALLEL)
        for node in self._ready(document):
            with self._lock:
                free = len(self._running) < limit
            if not free:
                return
            self._begin(node)

    def _ready(self, document: Document) -> list[Node]:
        records = document["_steps"]
        ended_badly = any(record["StepStatus"] in ("Failed", "Stopped") for record in records.values())
        if ended_badly or self.halt.is_set():
            return []
        return [node for node in self.nodes.values() if node.name not in records and _may_start(node, records)]

    def _begin(self, node: Node, *, resumed: bool = False) -> None:
        with self._lock:
            self._running.add(node.name)
        if not resumed:
            about = {f"Step{key}": node.document[key] for key in ("DisplayName", "Description") if key in node.document}
            status = "Starting" if node.type in KINDS else "Executing"
            state.change_step(self.cloud, self.region, self.arn, node.name, status, _type=node.type, **about)
        self.cloud.spawn(f"step-{node.name}", self._run_step, node, resumed)

    # -- one step ----------------------------------------------------------------------------------------------------

    def _run_step(self, node: Node, resumed: bool) -> None:
        try:
            self._settle(node, resumed)
        finally:
            with self._lock:
                self._running.discard(node.name)
            self._changed.set()

    def _settle(self, node: Node, resumed: bool) -> None:
        try:
            members = self._perform(node, resumed)
        except StepInterruptedError:
            log.info("step %s of %s is interrupted", node.name, self.arn)
            return
        except StepStoppedError:
            status, members = "Stopped", {}
        except StepError as error:
            # Requests fail during a shutdown of the local cloud; the next start determines the step's result.
            if self.cloud.stopping.is_set():
                return
            status, members = "Failed", {"FailureReason": str(error)}
        except Exception:
            if self.cloud.stopping.is_set():
                log.info("step %s of %s is interrupted", node.name, self.arn, exc_info=True)
                return
            log.exception("step %s of %s", node.name, self.arn)
            reason = f"InternalServerError: a bug in the local cloud: see daemon.log for step {node.name} of {self.arn}"
            status, members = "Failed", {"FailureReason": reason}
        else:
            status = "Failed" if node.type == "Fail" else "Succeeded"
        state.change_step(self.cloud, self.region, self.arn, node.name, status, **members)

    def _perform(self, node: Node, resumed: bool) -> Document:
        """Perform the step and return further members of its record.

        Raises:
            StepError: The step failed.
            StepStoppedError: The execution is being stopped.
            StepInterruptedError: The local cloud is shutting down.
        """
        if node.type in KINDS:
            return JobStep(self, node).perform(resumed=resumed)
        scope = RunScope(self.cloud, self.region, self.read_document(), self.steps)
        try:
            if node.type == "Fail":
                message = values.as_text(values.resolve(node.document["Arguments"]["ErrorMessage"], scope))
                return {"FailureReason": message, "Metadata": {"Fail": {"ErrorMessage": message[:3072]}}}
            conditions = node.document["Arguments"]["Conditions"]
            # Evaluate every condition, so that a missing value is always reported.
            met = [values.is_condition_met(condition, scope) for condition in conditions]
        except values.ResolveError as error:
            raise StepError(f"ClientError: {error}") from error
        return {"Metadata": {"Condition": {"Outcome": str(all(met))}}}

    # -- the end -----------------------------------------------------------------------------------------------------

    def _stop_jobs(self) -> None:
        self._jobs_stopped = True
        for name, record in self.read_document()["_steps"].items():
            if record["StepStatus"] in state.UNSETTLED and record["_type"] in KINDS:
                JobStep(self, self.nodes[name]).stop()

    def _finish(self) -> None:
        def finish(document: Document) -> None:
            statuses = {record["StepStatus"] for record in document["_steps"].values()}
            if "Failed" in statuses:
                document["PipelineExecutionStatus"] = "Failed"
                document["FailureReason"] = state.FAILED
            elif document["PipelineExecutionStatus"] == "Stopping" or "Stopped" in statuses:
                document["PipelineExecutionStatus"] = "Stopped"
            else:
                document["PipelineExecutionStatus"] = "Succeeded"
            document["_ended"] = time.time()

        state.change_execution(self.cloud, self.region, self.arn, finish)


def _may_start(node: Node, records: Document) -> bool:
    if any(records.get(name, {}).get("StepStatus") != "Succeeded" for name in node.after):
        return False
    if node.branch is None:
        return True
    condition, outcome = node.branch
    return bool(records[condition]["Metadata"]["Condition"]["Outcome"] == str(outcome))


class Executions:
    """The running executions of one local cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._lock = threading.Lock()
        self._runs: dict[str, ExecutionRun] = {}
        cloud.spawn("pipelines-stopping", self._wake_all)

    def start(self, region: str, arn: str, *, recovered: bool = False) -> None:
        """Start or resume an execution in the background.

        Args:
            region: The region of the execution.
            arn: The ARN of the execution, whose document is stored.
            recovered: Whether the last shutdown of the local cloud interrupted the execution.
        """
        run = ExecutionRun(self.cloud, region, arn)
        with self._lock:
            self._runs[arn] = run
        self.cloud.spawn(f"execution-{arn.rpartition('/')[2]}", self._run, run, recovered)

    def _run(self, run: ExecutionRun, recovered: bool) -> None:
        try:
            run.run(recovered=recovered)
        finally:
            with self._lock:
                # A retry may have replaced this run by the next one.
                if self._runs.get(run.arn) is run:
                    del self._runs[run.arn]

    def stop(self, arn: str) -> None:
        """Halt a running execution, whose status is Stopping; do nothing if it does not run.

        Args:
            arn: The ARN of the execution.
        """
        with self._lock:
            run = self._runs.get(arn)
        if run is not None:
            run.halt_and_wake()

    def _wake_all(self) -> None:
        self.cloud.stopping.wait()
        with self._lock:
            for run in self._runs.values():
                run.halt_and_wake()
