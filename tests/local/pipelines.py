"""Helpers for the tests of pipelines: definitions of tiny steps, and waiting for executions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.hosted import eventually
from tests.local.jobs import ROLE, processing, training

Step = dict[str, Any]


def get(path: str) -> dict[str, str]:
    return {"Get": path}


def join(*parts: Any, on: str = "/") -> dict[str, Any]:
    return {"Std:Join": {"On": on, "Values": list(parts)}}


def json_get(file: str, path: str) -> dict[str, Any]:
    step, name = file.split(".")
    return {"Std:JsonGet": {"PropertyFile": get(f"Steps.{step}.PropertyFiles.{name}"), "Path": path}}


def process(name: str, source: str = "", *, after: tuple[str, ...] = (), **more: Any) -> Step:
    """Return a processing step; keyword arguments become members of the step or options of its request."""
    levels = ("CacheConfig", "RetryPolicies", "PropertyFiles", "DisplayName", "Description")
    step = {key: more.pop(key) for key in levels if key in more}
    step |= {"Name": name, "Type": "Processing", "Arguments": processing(source, **more)}
    return step | ({"DependsOn": list(after)} if after else {})


def train(name: str, source: str, out: Any, *, after: tuple[str, ...] = (), **more: Any) -> Step:
    step = {"Name": name, "Type": "Training", "Arguments": training(source, out, **more)}
    return step | ({"DependsOn": list(after)} if after else {})


def fork(
    name: str, *conditions: dict[str, Any], then: list[Step] | None = None, other: list[Step] | None = None
) -> Step:
    arguments = {"Conditions": list(conditions), "IfSteps": then or [], "ElseSteps": other or []}
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def compare(kind: str, left: Any, right: Any) -> dict[str, Any]:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


def fail(name: str, message: Any) -> Step:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def definition(*steps: Step, parameters: list[dict[str, Any]] | None = None, **more: Any) -> str:
    return json.dumps({"Version": "2020-12-01", "Parameters": parameters or [], "Steps": steps, **more})


def create(client: Any, name: str, *steps: Step, parameters: list[dict[str, Any]] | None = None, **more: Any) -> str:
    """Create a pipeline and return its ARN."""
    text = definition(*steps, parameters=parameters)
    return str(client.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE, **more)["PipelineArn"])


def start(client: Any, name: str, **parameters: str) -> str:
    given = [{"Name": key, "Value": value} for key, value in parameters.items()]
    return str(client.start_pipeline_execution(PipelineName=name, PipelineParameters=given)["PipelineExecutionArn"])


def wait_for_execution(client: Any, arn: str, seconds: float = 30) -> dict[str, Any]:
    """Wait until the execution has ended and return its description."""

    def done() -> dict[str, Any] | None:
        described = client.describe_pipeline_execution(PipelineExecutionArn=arn)
        return dict(described) if described["PipelineExecutionStatus"] not in ("Executing", "Stopping") else None

    return dict(eventually(done, seconds))


def run_pipeline(client: Any, name: str, **parameters: str) -> tuple[str, dict[str, Step]]:
    """Start an execution and wait for its end; return its status and its steps by name."""
    arn = start(client, name, **parameters)
    return str(wait_for_execution(client, arn)["PipelineExecutionStatus"]), list_steps(client, arn)


def list_steps(client: Any, arn: str) -> dict[str, Step]:
    """Return the steps by name, in the order in which they were started."""
    answer = client.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending")
    return {step["StepName"]: step for step in answer["PipelineExecutionSteps"]}


def statuses(steps: dict[str, Step]) -> dict[str, str]:
    return {name: step["StepStatus"] for name, step in steps.items()}


def describe_job(client: Any, step: Step) -> dict[str, Any]:
    """Return the description of the job that a step created; its ARN has the name in lower case."""
    ((kind, made),) = step["Metadata"].items()
    name = made["Arn"].rpartition("/")[2]
    if kind == "ProcessingJob":
        found = client.list_processing_jobs(NameContains=name)["ProcessingJobSummaries"]
        return dict(client.describe_processing_job(ProcessingJobName=found[0]["ProcessingJobName"]))
    found = client.list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    return dict(client.describe_training_job(TrainingJobName=found[0]["TrainingJobName"]))


def reporting_program(content: Any, name: str = "r.json") -> str:
    """Return a program that writes JSON into the output ``out``."""
    return f"""
    folder = ml / 'processing/out' / os.path.dirname({name!r})
    folder.mkdir(parents=True, exist_ok=True)
    (ml / 'processing/out' / {name!r}).write_text({json.dumps(content)!r})
    """


def waiting_program(path: Path) -> str:
    """Return a program that marks that it is running and then waits until ``path`` exists."""
    return f"""
    pathlib.Path('{path}.running').write_text('here')
    while not pathlib.Path('{path}').exists():
        time.sleep(0.02)
    """


def catch_refusal(call: Any, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]
