"""Builders of previews in the format of the recorded ones, and of their documents and comments."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.diff import document, markdown, preview
from cli.main import run
from cli.prices import Prices

PREVIEWS = Path(__file__).parent / "previews"
#: The account of the stack.
ACCOUNT = "123456789012"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

#: Resource types by the short names that the tests use.
TYPES = {
    "Alarm": "aws:cloudwatch/metricAlarm:MetricAlarm",
    "Bucket": "aws:s3/bucket:Bucket",
    "BucketPolicy": "aws:s3/bucketPolicy:BucketPolicy",
    "Config": "aws:sagemaker/endpointConfiguration:EndpointConfiguration",
    "Encryption": "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "Endpoint": "aws:sagemaker/endpoint:Endpoint",
    "FeatureGroup": "aws:sagemaker/featureGroup:FeatureGroup",
    "Key": "aws:kms/key:Key",
    "Lifecycle": "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "LogGroup": "aws:cloudwatch/logGroup:LogGroup",
    "Model": "aws:sagemaker/model:Model",
    "ModelGroup": "aws:sagemaker/modelPackageGroup:ModelPackageGroup",
    "Pipeline": "aws:sagemaker/pipeline:Pipeline",
    "PublicAccess": "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "Queue": "aws:sqs/queue:Queue",
    "Role": "aws:iam/role:Role",
    "RolePolicy": "aws:iam/rolePolicy:RolePolicy",
    "Rule": "aws:cloudwatch/eventRule:EventRule",
    "Schedule": "aws:scheduler/schedule:Schedule",
    "Parameter": "aws:ssm/parameter:Parameter",
    "Target": "aws:cloudwatch/eventTarget:EventTarget",
    "Topic": "aws:sns/topic:Topic",
    "Versioning": "aws:s3/bucketVersioning:BucketVersioning",
}


def make_urn(kind: str, name: str) -> str:
    return f"urn:pulumi:flights-local::millrace::millrace:index:MlopsStack${TYPES.get(kind, kind)}::{name}"


def make_step(
    op: str,
    kind: str,
    name: str,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    *,
    because: list[str] | None = None,
    changed: list[str] | None = None,
    **states: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a step; ``before`` and ``after`` add to its states, e.g. ``before={"protect": True}``."""
    made: dict[str, Any] = {"op": op, "urn": make_urn(kind, name)}
    for key, inputs, more in (("oldState", old, "before"), ("newState", new, "after")):
        if inputs is not None:
            made[key] = {"urn": made["urn"], "custom": True, "inputs": dict(inputs), **states.get(more, {})}
    if because:
        made |= {"replaceReasons": because, "diffReasons": because}
    elif changed:
        made["diffReasons"] = changed
    return made


def make_preview(*steps: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a preview with these steps and one unchanged resource."""
    arn = f"arn:aws:sns:eu-west-1:{ACCOUNT}:stays"
    lies = {"id": arn, "outputs": {"arn": arn}}
    stays = make_step("same", "Topic", "stays", {"name": "stays"}, {"name": "stays"}, before=lies, after=lies)
    return {"config": {"aws:region": "eu-west-1"}, "steps": [stays, *steps], "changeSummary": {"same": 1}, **more}


def diff_steps(*steps: Mapping[str, Any], notes: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """Return the diff document of these steps."""
    return diff_preview(make_preview(*steps, **more), notes)


def diff_recorded(name: str) -> dict[str, Any]:
    """Return the diff document of a recorded preview."""
    found: dict[str, Any] = json.loads((PREVIEWS / f"{name}.json").read_text())
    return diff_preview(found)


def diff_preview(given: Mapping[str, Any], notes: tuple[str, ...] = ()) -> dict[str, Any]:
    read = preview.parse_preview(given, "preview")
    return document.make_document(
        read, document.Context("flights", "local", "A test.", "eu-west-1", Prices.load(), notes=list(notes))
    )


def comment_on(*steps: Mapping[str, Any], limit: int = markdown.LIMIT) -> str:
    return markdown.render_comment(diff_steps(*steps), limit)


def find_risks(*steps: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the kind and name of each risk, in order."""
    return [(each["kind"], each["name"]) for each in diff_steps(*steps)["risks"]]


def run_diff(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code, output and errors."""
    code = run(["diff", "flights", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def write_preview(path: Path, given: Any) -> str:
    """Write a preview to a file and return its path."""
    path.write_text(given if isinstance(given, str) else json.dumps(given))
    return os.fspath(path)
