"""AWS CLI: S3, SageMaker and other services, as from a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import boto3
from steps import IMAGE, REGION, ROLE, expect, step

BUCKET = "clients-cli"
AWS = str(Path(sys.executable).parent / "aws")
folder = Path(tempfile.mkdtemp())
(folder / "a.txt").write_text("hello\n")
(folder / "large").write_bytes(os.urandom(12 * 2**20))


def aws(*arguments: str) -> str:
    done = subprocess.run([AWS, *arguments], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout


def copy_files() -> None:
    aws("s3", "mb", f"s3://{BUCKET}", "--region", REGION)
    aws("s3", "cp", str(folder / "a.txt"), f"s3://{BUCKET}/a.txt")
    aws("s3", "cp", str(folder / "large"), f"s3://{BUCKET}/large")
    aws("s3", "cp", f"s3://{BUCKET}/large", str(folder / "back"))
    expect((folder / "back").read_bytes() == (folder / "large").read_bytes(), "other bytes")
    aws("s3", "sync", str(folder), f"s3://{BUCKET}/all")
    expect("a.txt" in aws("s3", "ls", f"s3://{BUCKET}/all/"), "not listed")


def read_presigned_url() -> None:
    with urllib.request.urlopen(aws("s3", "presign", f"s3://{BUCKET}/a.txt").strip()) as answer:
        expect(answer.read() == b"hello\n", "other bytes")


def check_identity() -> None:
    found = json.loads(aws("sts", "get-caller-identity"))
    expect(found["Arn"] == "arn:aws:iam::123456789012:user/millrace", found)


def train() -> None:
    request = {
        "TrainingJobName": "cli", "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }  # fmt: skip
    aws("sagemaker", "create-training-job", "--cli-input-json", json.dumps(request))
    boto3.client("sagemaker").get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName="cli", WaiterConfig={"Delay": 1}
    )
    found = json.loads(aws("sagemaker", "describe-training-job", "--training-job-name", "CLI"))
    expect(found["TrainingJobStatus"] == "Completed", found)


def create_queue() -> None:
    # Version 1 of the AWS CLI takes no endpoint for SQS from the environment.
    here = ("--endpoint-url", os.environ["AWS_ENDPOINT_URL"])
    aws("sqs", "create-queue", "--queue-name", "clients", *here)
    expect("clients" in aws("sqs", "list-queues", *here), "not listed")


def groups() -> None:
    expect("/aws/sagemaker/TrainingJobs" in aws("logs", "describe-log-groups"), "absent")


def run_documented_commands() -> None:
    """Run commands of other services that messages and pages of this repository recommend."""
    key = json.loads(aws("kms", "create-key"))["KeyMetadata"]["KeyId"]
    aws("kms", "schedule-key-deletion", "--key-id", key)
    aws("kms", "cancel-key-deletion", "--key-id", key)
    listed = json.loads(aws("s3api", "list-object-versions", "--bucket", BUCKET, "--prefix", "a.txt"))["Versions"]
    aws("s3api", "delete-object", "--bucket", BUCKET, "--key", "a.txt", "--version-id", listed[0]["VersionId"])


step("s3 mb, cp, sync, ls", copy_files)
step("s3 presign", read_presigned_url)
step("sts get-caller-identity", check_identity)
step("sagemaker create-training-job", train)
step("sqs create-queue, list-queues", create_queue)
step(
    "logs describe-log-groups",
    lambda: expect("/aws/sagemaker/TrainingJobs" in aws("logs", "describe-log-groups"), "absent"),
)
step("kms cancel-key-deletion, s3api delete-object", run_documented_commands)
step("ec2 describe-vpcs", lambda: aws("ec2", "describe-vpcs"))
step("cloudformation list-stacks", lambda: aws("cloudformation", "list-stacks"))
