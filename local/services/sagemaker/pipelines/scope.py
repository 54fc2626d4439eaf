"""The source of the values of a pipeline definition's functions during an execution."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.core.store import Document
from local.services.sagemaker.jobs.transfer import TransferError, parse_s3_url
from local.services.sagemaker.pipelines.steps import KINDS, StepError, describe_resource
from local.services.sagemaker.values import ResolveError

if TYPE_CHECKING:
    from local.core.context import Cloud


class RunScope:
    """The values of one execution, as one step sees them.

    Args:
        document: The current document of the execution.
        steps: The steps of its definition by name.
        job: The name of the job that the step is about to create.
    """

    def __init__(
        self, cloud: Cloud, region: str, document: Document, steps: dict[str, Document], job: str | None = None
    ) -> None:
        self._cloud = cloud
        self._region = region
        self._document = document
        self._steps = steps
        self._job = job

    def get_parameter(self, name: str) -> Any:
        """Return the typed value of a pipeline parameter.

        Args:
            name: The name of a parameter of the definition.
        """
        return self._document["_parameters"][name]

    def get_execution_property(self, name: str) -> Any:
        """Return a property of the execution.

        Args:
            name: The part after ``Execution.``, one of ``EXECUTION`` in `definition.py`.

        Raises:
            ResolveError: It is ``TrainingJobName`` or ``ProcessingJobName``, and the step creates no job.
        """
        document = self._document
        arn = document["PipelineExecutionArn"]
        facts = {
            "StartDateTime": format_iso_time(document["CreationTime"]),
            "CurrentDateTime": format_iso_time(self._cloud.clock.now()),
            "PipelineName": document["_name"],
            "PipelineArn": document["PipelineArn"],
            "PipelineExecutionId": arn.rpartition("/")[2],
            "PipelineExecutionArn": arn,
            "TrainingJobName": self._job,
            "ProcessingJobName": self._job,
        }
        if facts[name] is None:
            raise ResolveError(f"Execution.{name}: this step makes no job")
        return facts[name]

    def describe_step(self, name: str) -> Any:
        """Return the description of the resource that the step created.

        Args:
            name: The name of a step.

        Raises:
            ResolveError: The step has created nothing yet, or its resource cannot be described.
        """
        record = self._document["_steps"].get(name, {})
        if "_made" not in record:
            raise ResolveError(f"Steps.{name}: the step has made nothing yet")
        client = self._cloud.client("sagemaker", self._region)
        try:
            return describe_resource(client, KINDS[record["_type"]], record["_made"])
        except StepError as error:
            raise ResolveError(f"Steps.{name}: {error}") from error

    def read_property_file(self, step: str, name: str) -> tuple[str, Any]:
        """Return the URL and the parsed JSON of a property file of a processing step.

        Args:
            step: The name of the step.
            name: The name under which the step declares the file.

        Raises:
            ResolveError: The step's job lacks the output that contains the file, or the file is missing or not JSON.
        """
        declared = {file["PropertyFileName"]: file for file in self._steps[step]["PropertyFiles"]}
        file = declared[name]
        outputs = self.describe_step(step).get("ProcessingOutputConfig", {}).get("Outputs", [])
        places = [entry["S3Output"]["S3Uri"] for entry in outputs if entry["OutputName"] == file["OutputName"]]
        if not places:
            raise ResolveError(f"property file {name} of step {step}: its job has no output '{file['OutputName']}'")
        url = f"{places[0].rstrip('/')}/{file['FilePath'].lstrip('/')}"
        return url, self.read_json_object(url)

    def read_json_object(self, url: str) -> Any:
        """Return the parsed JSON of an S3 object.

        Args:
            url: Its URL, ``s3://bucket/key``.

        Raises:
            ResolveError: The object cannot be read, or is not JSON.
        """
        try:
            bucket, key = parse_s3_url(url)
            body = self._cloud.client("s3", self._region).get_object(Bucket=bucket, Key=key)["Body"].read()
            return json.loads(body)
        except (ClientError, BotoCoreError, TransferError) as error:
            raise ResolveError(f"{url} cannot be read: {error}") from error
        except ValueError as error:
            raise ResolveError(f"{url} is not JSON: {error}") from error


def format_iso_time(seconds: float) -> str:
    """Return epoch seconds as ``Execution.StartDateTime`` shows them."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
