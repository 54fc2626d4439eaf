"""Helpers for the tests of jobs and pipelines: requests for tiny jobs, and waiting for their end."""

from __future__ import annotations

import textwrap
from typing import Any

from tests.local.conftest import CloudDaemon
from tests.local.hosted import IMAGE, REGION, eventually

ROLE = "arn:aws:iam::123456789012:role/jobs"
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
#: Every program starts by finding the folder that emulates /opt/ml.
PRELUDE = "import json, os, sys, time, pathlib, signal\nml = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'])\n"


def make_bucket(daemon: CloudDaemon, name: str, **objects: str) -> Any:
    """Create a bucket with objects and return an S3 client."""
    s3 = daemon.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    for key, body in objects.items():
        s3.put_object(Bucket=name, Key=key, Body=body.encode())
    return s3


def training(source: str, out: str, *, channels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """Return a CreateTrainingJob request without its name; ``source`` may be longer than an entrypoint's item."""
    request = {
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            **entrypoint(source),
            **more.pop("algorithm", {}),
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": out, **more.pop("output", {})},
        "ResourceConfig": {**CLUSTER, **more.pop("cluster", {})},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **more,
    }
    if channels:
        request["InputDataConfig"] = [
            {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": url}}}
            for name, url in channels.items()
        ]
    return request


def entrypoint(source: str) -> dict[str, list[str]]:
    """Return entrypoint and arguments; items are short single lines, so the program is split into hex digits."""
    text = (PRELUDE + textwrap.dedent(source)).encode().hex()
    return {
        "ContainerEntrypoint": ["python3", "-S", "-c", "import sys; exec(bytes.fromhex(''.join(sys.argv[1:])))"],
        "ContainerArguments": [text[start : start + 250] for start in range(0, len(text), 250)],
    }


def processing(
    source: str, *, inputs: dict[str, str] | None = None, outputs: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """Return a CreateProcessingJob request without its name; each input and output is in a folder of its own name."""
    request: dict[str, Any] = {
        "AppSpecification": {"ImageUri": IMAGE, **entrypoint(source)},
        "ProcessingResources": {"ClusterConfig": {**CLUSTER, **more.pop("cluster", {})}},
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **more,
    }
    if inputs:
        request["ProcessingInputs"] = [
            {
                "InputName": name,
                "S3Input": {
                    "S3Uri": url,
                    "LocalPath": f"/opt/ml/processing/{name}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for name, url in inputs.items()
        ]
    if outputs:
        request["ProcessingOutputConfig"] = {
            "Outputs": [
                {
                    "OutputName": name,
                    "S3Output": {
                        "S3Uri": url,
                        "LocalPath": f"/opt/ml/processing/{name}",
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for name, url in outputs.items()
            ]
        }
    return request


def wait_for_job(client: Any, name: str, label: str = "Training") -> dict[str, Any]:
    """Wait until the job has ended and return its description."""

    def done() -> dict[str, Any] | None:
        describe = client.describe_training_job if label == "Training" else client.describe_processing_job
        described = describe(**{f"{label}JobName": name})
        return dict(described) if described[f"{label}JobStatus"] in ("Completed", "Failed", "Stopped") else None

    return dict(eventually(done, 30))
