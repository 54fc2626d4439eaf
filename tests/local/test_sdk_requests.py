"""Requests and responses as AWS's SDKs send and expect them; each case once broke one of the SDKs."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import client as daemon_client
from local.core.protocol import load_service_model
from local.services.containers.container import replace_mount_path

from .conftest import CloudDaemon
from .hosted import IMAGE, eventually
from .jobs import ROLE, make_bucket, processing, training
from .pipelines import definition, process, train


@pytest.fixture(scope="module")
def sagemaker(cloud_daemon: CloudDaemon) -> Any:
    make_bucket(cloud_daemon, "sdk", **{"in/a": "1", "checkpoints/old": "from before"})
    return cloud_daemon.client("sagemaker")


def wait_for_job(sagemaker: Any, name: str) -> dict[str, Any]:
    def job() -> dict[str, Any]:
        return dict(sagemaker.describe_training_job(TrainingJobName=name))

    eventually(lambda: job()["TrainingJobStatus"] not in ("InProgress", "Stopping"), 60)
    return job()


# -- members that only observe -----------------------------------------------------------------------------------------

OBSERVES: dict[str, dict[str, Any]] = {
    "SDK v2 by default": {
        "DebugHookConfig": {"S3OutputPath": "s3://sdk/debug", "CollectionConfigurations": []},
        "ProfilerConfig": {"S3OutputPath": "s3://sdk/profile", "DisableProfiler": False},
        "ProfilerRuleConfigurations": [],
        "DebugRuleConfigurations": [],
    },
    "SDK v2 with both switched off": {"ProfilerConfig": {"DisableProfiler": True}},
    "options": {
        "ExperimentConfig": {"ExperimentName": "e"},
        "RetryStrategy": {"MaximumRetryAttempts": 2},
        "RemoteDebugConfig": {"EnableRemoteDebug": False},
        "InfraCheckConfig": {"EnableInfraCheck": True},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxPendingTimeInSeconds": 7200},
    },
}


@pytest.mark.parametrize("what", OBSERVES)
def test_observability_members_are_accepted_and_echoed(sagemaker: Any, what: str) -> None:
    name = f"observes-{hashlib.sha256(what.encode()).hexdigest()[:8]}"
    sagemaker.create_training_job(TrainingJobName=name, **training("print()", "s3://sdk/out", **OBSERVES[what]))
    job = wait_for_job(sagemaker, name)
    assert job["TrainingJobStatus"] == "Completed"
    known = load_service_model("sagemaker").operation_model("DescribeTrainingJob").output_shape.members
    for member, value in OBSERVES[what].items():
        if member in known:
            assert job[member] == value, member
    text = definition(
        {"Name": "T", "Type": "Training", "Arguments": training("print()", "s3://sdk/out", **OBSERVES[what])}
    )
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE, ClientRequestToken="o" * 32)
    assert sagemaker.describe_pipeline(PipelineName=name)["PipelineDefinition"] == text


CHANGES: dict[str, dict[str, Any]] = {
    "DebugRuleConfigurations of CreateTrainingJob": {
        "DebugRuleConfigurations": [{"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}]
    },
    "InstanceGroups of ResourceConfig": {
        "ResourceConfig": {
            "VolumeSizeInGB": 1, "InstanceCount": 1, "InstanceType": "ml.m5.large",
            "InstanceGroups": [{"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "g"}],
        }
    },
    "TrainingRepositoryAccessMode of TrainingImageConfig: Vpc": {
        "algorithm": {"TrainingImageConfig": {"TrainingRepositoryAccessMode": "Vpc"}}
    },
    "ShuffleConfig of channel c": {
        "InputDataConfig": [
            {
                "ChannelName": "c", "ShuffleConfig": {"Seed": 1},
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://sdk/in"}},
            }
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_unsupported_members_are_refused_by_name_in_jobs_and_pipelines(sagemaker: Any, what: str) -> None:
    request = training("print()", "s3://sdk/out", **CHANGES[what])
    with pytest.raises(ClientError) as refused:
        sagemaker.create_training_job(TrainingJobName="changes", **request)
    assert what in str(refused.value)
    text = definition({"Name": "T", "Type": "Training", "Arguments": request})
    with pytest.raises(ClientError) as refused:
        sagemaker.create_pipeline(
            PipelineName="changes", PipelineDefinition=text, RoleArn=ROLE, ClientRequestToken="c" * 32
        )
    assert f"step 'T': {what}" in str(refused.value)
    assert sagemaker.list_pipelines(PipelineNamePrefix="changes")["PipelineSummaries"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it.update(AppSpecification=None), "Member 'AppSpecification' of "),
        (lambda it: it.update(ProcessingResources=None), "Member 'ProcessingResources' of "),
        (
            lambda it: it["ProcessingResources"]["ClusterConfig"].update(InstanceCount=None),
            "InstanceCount is required for",
        ),
        (lambda it: it["ProcessingResources"]["ClusterConfig"].update(InstanceCount=10**30), "no integer of 32 bits"),
        (lambda it: it["ProcessingOutputConfig"]["Outputs"][0].update(OutputName=None), "Member 'OutputName' of"),
        (lambda it: it["ProcessingOutputConfig"].update(Outputs=5), "is of another type than list"),
        (lambda it: it["ProcessingOutputConfig"].update(Outputs=True), "is of another type than list"),
        (lambda it: it["ProcessingOutputConfig"].update(Outputs=None), "Member 'Outputs' of"),
    ],
)
def test_a_pipeline_with_null_or_invalid_members_is_refused(
    sagemaker: Any, change: Callable[[Any], None], said: str
) -> None:
    files = [{"PropertyFileName": "m", "OutputName": "o", "FilePath": "m.json"}]
    step = process("P", outputs={"o": "s3://sdk/o"}, PropertyFiles=files)
    change(step["Arguments"])
    with pytest.raises(ClientError, match="ValidationException") as refused:
        sagemaker.create_pipeline(
            PipelineName="absurd", PipelineDefinition=definition(step), RoleArn=ROLE, ClientRequestToken="a" * 32
        )
    assert said in str(refused.value)


def test_a_modified_next_token_is_refused(sagemaker: Any) -> None:
    for name in ("paged-a", "paged-b"):
        sagemaker.create_model_package_group(ModelPackageGroupName=name)
    token = sagemaker.list_model_package_groups(MaxResults=1)["NextToken"]
    query, place = json.loads(base64.urlsafe_b64decode(token))
    for last in ([None], [], [None, None], [place[1], place[0]], "x", {"a": 1}, [*place, 1]):
        changed = base64.urlsafe_b64encode(json.dumps([query, last]).encode()).decode()
        with pytest.raises(ClientError, match=r"ValidationException.*Invalid NextToken"):
            sagemaker.list_model_package_groups(MaxResults=1, NextToken=changed)
    assert sagemaker.list_model_package_groups(MaxResults=1, NextToken=token)["ModelPackageGroupSummaryList"]


def test_a_pipeline_with_an_unsupported_processing_step_is_refused(sagemaker: Any) -> None:
    step = process("P")
    step["Arguments"]["ProcessingInputs"] = [{"InputName": "x", "DatasetDefinition": {"LocalPath": "/opt/ml/x"}}]
    with pytest.raises(ClientError, match="step 'P': DatasetDefinition of input x is not available"):
        sagemaker.create_pipeline(
            PipelineName="no", PipelineDefinition=definition(step), RoleArn=ROLE, ClientRequestToken="n" * 32
        )


def test_pipeline_definitions_of_sdk_v3_are_accepted(sagemaker: Any) -> None:
    text = definition(
        process("P", CacheConfig={"Enabled": True, "ExpireAfter": "30d"}), train("T", "", "s3://sdk/m"),
        MlflowConfig=None,
    )  # fmt: skip
    assert '"MlflowConfig": null' in text
    sagemaker.create_pipeline(PipelineName="v3", PipelineDefinition=text, RoleArn=ROLE, ClientRequestToken="3" * 32)


# -- responses that SDKs read ------------------------------------------------------------------------------------------


def test_model_artifacts_are_absent_until_complete(sagemaker: Any) -> None:
    sagemaker.create_training_job(TrainingJobName="artifacts", **training("time.sleep(1)", "s3://sdk/out"))
    assert "ModelArtifacts" not in sagemaker.describe_training_job(TrainingJobName="artifacts")
    assert "ModelArtifacts" not in wait_for_job(sagemaker, "artifacts"), "it has left no model"
    source = "(ml / 'model/m').write_text('m')"
    sagemaker.create_training_job(TrainingJobName="artifacts-2", **training(source, "s3://sdk/out"))
    found = wait_for_job(sagemaker, "artifacts-2")["ModelArtifacts"]
    assert found == {"S3ModelArtifacts": "s3://sdk/out/artifacts-2/output/model.tar.gz"}


def test_the_output_kms_key_id_is_empty_if_none_was_given(sagemaker: Any) -> None:
    sagemaker.create_training_job(TrainingJobName="keyless", **training("print()", "s3://sdk/out"))
    assert wait_for_job(sagemaker, "keyless")["OutputDataConfig"] == {"S3OutputPath": "s3://sdk/out", "KmsKeyId": ""}


def test_runtime_clients_raise_their_own_validation_error(cloud_daemon: CloudDaemon) -> None:
    runtime = cloud_daemon.client("sagemaker-runtime", parameter_validation=False)
    with pytest.raises(runtime.exceptions.ValidationError):
        runtime.invoke_endpoint(EndpointName="a_b", Body=b"")
    store = cloud_daemon.client("sagemaker-featurestore-runtime", parameter_validation=False)
    with pytest.raises(store.exceptions.ValidationError):
        store.get_record(FeatureGroupName="a b", RecordIdentifierValueAsString="1")


def test_simulate_principal_policy_answers_allowed(cloud_daemon: CloudDaemon) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "local.md").read_text()
    assert "stored, not evaluated; `SimulatePrincipalPolicy` answers *allowed*" in page
    iam = cloud_daemon.client("iam")
    pages = iam.get_paginator("simulate_principal_policy").paginate(
        PolicySourceArn=ROLE, ActionNames=["sagemaker:CreateTrainingJob", "s3:GetObject"], ResourceArns=["*"]
    )
    results = [result for page in pages for result in page["EvaluationResults"]]
    assert [(result["EvalActionName"], result["EvalDecision"]) for result in results] == [
        ("sagemaker:CreateTrainingJob", "allowed"), ("s3:GetObject", "allowed"),
    ]  # fmt: skip
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.simulate_principal_policy(
            PolicySourceArn="arn:aws:iam::123456789012:role/nobody", ActionNames=["s3:GetObject"]
        )


def test_aws_managed_policies_exist_and_survive_a_restart(fresh_daemon: CloudDaemon) -> None:
    iam, arn = fresh_daemon.client("iam"), "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
    iam.attach_role_policy(RoleName="jobs", PolicyArn=arn)
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    assert (
        len([each for page in iam.get_paginator("list_policies").paginate(Scope="AWS") for each in page["Policies"]])
        > 1000
    )
    fresh_daemon.stop()
    fresh_daemon.start()
    iam = fresh_daemon.client("iam")
    attached = iam.list_attached_role_policies(RoleName="jobs")["AttachedPolicies"]
    assert [each["PolicyArn"] for each in attached] == [arn]
    assert iam.get_policy(PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")["Policy"]["PolicyName"]


# -- roles -------------------------------------------------------------------------------------------------------------

ROLES = {
    "arn:aws:iam::123456789012:role/nobody": "Please ensure that the role exists and allows",
    "arn:aws:iam::123456789012:role/path/jobs": "Could not assume role arn:aws:iam::123456789012:role/path/jobs.",
    "arn:aws:iam::999999999999:role/jobs": "Cross-account pass role is not allowed",
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_cannot_be_passed_is_refused_at_once(sagemaker: Any, role: str) -> None:
    text = definition(process("P"))
    pipeline = {"PipelineName": "roles", "PipelineDefinition": text, "ClientRequestToken": "r" * 32}
    for create, request in (
        (sagemaker.create_training_job, {"TrainingJobName": "roles", **training("", "s3://sdk/out"), "RoleArn": role}),
        (sagemaker.create_processing_job, {"ProcessingJobName": "roles", **processing(""), "RoleArn": role}),
        (
            sagemaker.create_model,
            {"ModelName": "roles", "PrimaryContainer": {"Image": IMAGE}, "ExecutionRoleArn": role},
        ),
        (sagemaker.create_pipeline, {**pipeline, "RoleArn": role}),
    ):
        with pytest.raises(ClientError) as refused:
            create(**request)
        assert refused.value.response["Error"]["Code"] == "ValidationException"
        assert ROLES[role] in refused.value.response["Error"]["Message"]


# -- folders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/opt/ml", "/job"),
        ("/opt/ml/model", "/job/model"),
        ("chmod +x /opt/ml/input/run.sh && /opt/ml/input/run.sh", "chmod +x /job/input/run.sh && /job/input/run.sh"),
        ("--path=/opt/ml/model", "--path=/job/model"),
        ("file:///opt/ml/x", "file:///job/x"),
        ("a:/opt/ml/x", "a:/job/x"),
        ("/opt/mlx", "/opt/mlx"),
        ("s3://bucket/opt/ml/x", "s3://bucket/opt/ml/x"),
        ("/mnt/opt/ml/x", "/mnt/opt/ml/x"),
        ("$HOME/opt/ml", "$HOME/opt/ml"),
    ],
)
def test_mount_paths_are_replaced_within_arguments(given: str, expected: str) -> None:
    assert replace_mount_path(given, Path("/job")) == expected


def test_mount_paths_work_in_a_shell_command_and_its_script(sagemaker: Any, cloud_daemon: CloudDaemon) -> None:
    request = training("", "s3://sdk/out", channels={"sm_drivers": "s3://sdk/drivers/"})
    script = "#!/bin/bash\nset -e\ncp /opt/ml/input/data/sm_drivers/note /opt/ml/model/note\n"
    s3 = cloud_daemon.client("s3")
    s3.put_object(Bucket="sdk", Key="drivers/run.sh", Body=script.encode())
    s3.put_object(Bucket="sdk", Key="drivers/note", Body=b"from /opt/ml")
    request["AlgorithmSpecification"] |= {
        "ContainerEntrypoint": ["/bin/bash"],
        "ContainerArguments": [
            "-c", "chmod +x /opt/ml/input/data/sm_drivers/run.sh && /opt/ml/input/data/sm_drivers/run.sh",
        ],
    }  # fmt: skip
    sagemaker.create_training_job(TrainingJobName="shell", **request)
    job = wait_for_job(sagemaker, "shell")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert job["ModelArtifacts"]["S3ModelArtifacts"].endswith("shell/output/model.tar.gz")


def test_checkpoints_and_tensorboard_output_are_synced_with_s3(sagemaker: Any, cloud_daemon: CloudDaemon) -> None:
    source = """
    kept = ml / 'checkpoints'
    print('found', sorted(path.name for path in kept.iterdir()), flush=True)
    (kept / 'deep').mkdir()
    (kept / 'deep/new').write_text('from now')
    (ml / 'output/tensorboard').mkdir()
    (ml / 'output/tensorboard/events').write_text('curve')
    time.sleep(60)
    """
    more = {
        "CheckpointConfig": {"S3Uri": "s3://sdk/checkpoints"},
        "TensorBoardOutputConfig": {"S3OutputPath": "s3://sdk/tensorboard"},
    }
    sagemaker.create_training_job(TrainingJobName="checkpoints", **training(source, "s3://sdk/out", **more))
    s3 = cloud_daemon.client("s3")

    def keys(prefix: str) -> list[str]:
        return [found["Key"] for found in s3.list_objects_v2(Bucket="sdk", Prefix=prefix).get("Contents", [])]

    eventually(lambda: keys("checkpoints/") == ["checkpoints/deep/new", "checkpoints/old"], 30)
    assert sagemaker.describe_training_job(TrainingJobName="checkpoints")["TrainingJobStatus"] == "InProgress"
    eventually(lambda: keys("tensorboard/") == ["tensorboard/events"], 30)
    sagemaker.stop_training_job(TrainingJobName="checkpoints")
    job = wait_for_job(sagemaker, "checkpoints")
    assert (job["TrainingJobStatus"], job["CheckpointConfig"]) == ("Stopped", more["CheckpointConfig"])
    logs = cloud_daemon.client("logs")
    place = "/aws/sagemaker/TrainingJobs"
    events = logs.filter_log_events(logGroupName=place, logStreamNamePrefix="checkpoints/")["events"]
    assert [event["message"] for event in events] == ["found ['old']"]


def test_a_job_has_its_own_folder_for_installed_packages(sagemaker: Any, cloud_daemon: CloudDaemon) -> None:
    source = """
    import subprocess
    package = ml / 'input/own'
    package.mkdir(parents=True)
    (package / 'pyproject.toml').write_text('[project]\\nname = "of-a-job"\\nversion = "1"\\n')
    print('target', os.environ['PIP_TARGET'] == str(ml / 'packages'), str(ml / 'packages') in sys.path)
    """.replace("\\\\", "\\")
    request = training(source, "s3://sdk/out")
    request["AlgorithmSpecification"]["ContainerEntrypoint"].remove("-S")
    sagemaker.create_training_job(TrainingJobName="installs", **request)
    wait_for_job(sagemaker, "installs")
    events = cloud_daemon.client("logs").filter_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="installs/"
    )["events"]
    assert [event["message"] for event in events] == ["target True True"]


# -- programs that find AWS by the environment -------------------------------------------------------------------------


def test_no_variable_of_the_user_overrides_those_of_the_cloud(fresh_daemon: CloudDaemon) -> None:
    given = daemon_client.build_environment(fresh_daemon.running, fresh_daemon.state)
    assert not set(given) & set(daemon_client.OVERRULED)
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(given)
    code = "import boto3; s = boto3.Session(); print(s.profile_name, s.get_credentials().method)"
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["default", "env"]


def test_the_sagemaker_sdk_gets_a_local_configuration(fresh_daemon: CloudDaemon) -> None:
    import yaml

    given = daemon_client.build_environment(fresh_daemon.running, fresh_daemon.state)
    document = yaml.safe_load(Path(given["SAGEMAKER_USER_CONFIG_OVERRIDE"]).read_text())
    modules = document["SageMaker"]["PythonSDK"]["Modules"]
    # As in the SDK's own schema: TelemetryOptOut is next to Session, not inside it.
    assert modules == {"Session": {"DefaultS3Bucket": "sagemaker-eu-west-1-123456789012"}, "TelemetryOptOut": True}
