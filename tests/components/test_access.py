"""Access: who may assume each role, and that no role may do more than it needs."""

from __future__ import annotations

from typing import Any

import pytest

from components.access import Access, AccessArgs
from tests.components import mocked
from tests.components.flights_stack import flights

ACCOUNT, REGION = mocked.ACCOUNT, "eu-west-1"
BUCKET, KEY = "arn:aws:s3:::lake", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k"
USES = ("job", "endpoint", "pipeline", "trigger")


def access(**changes: Any) -> dict[str, mocked.Registered]:
    """Return the resources of an Access component called `a`."""
    args = {
        "account": ACCOUNT,
        "region": REGION,
        "bucket_arn": BUCKET,
        "key_arn": KEY,
        "pipelines": ["x-training", "x-monitor"],
        "endpoint": "x",
        "model_package_group": "x-models",
        "feature_groups": ["x-weather"],
        "metric_namespace": "Millrace/x",
        "dead_letter_queue": "x-dead-letters",
        **changes,
    }
    return mocked.run(lambda: Access("a", AccessArgs(**args)))


def statements(found: dict[str, mocked.Registered], use: str, name: str = "a") -> list[dict[str, Any]]:
    """Return the statements of the policy of a role."""
    document = mocked.document(found, f"{name}-{use}-policy", "policy")
    assert document["Version"] == "2012-10-17"
    return list(document["Statement"])


def allowed(found: dict[str, mocked.Registered], use: str) -> dict[str, set[str]]:
    """Return the allowed resources by action."""
    by_action: dict[str, set[str]] = {}
    for statement in statements(found, use):
        assert statement["Effect"] == "Allow"
        for action in statement["Action"]:
            by_action.setdefault(action, set()).update(statement["Resource"])
    return by_action


def sagemaker(resource: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{resource}"


def test_children_and_outputs() -> None:
    found = access()
    assert mocked.tree(found) == {
        ("a", "Access", None),
        *((f"a-{use}-role", "Role", "Access:a") for use in USES),
        *((f"a-{use}-policy", "RolePolicy", "Access:a") for use in USES),
    }
    assert found["Access:a"].outputs == {f"{use}RoleArn": f"arn:of:Role:a-{use}-role" for use in USES}
    for use in USES:
        assert found[f"a-{use}-policy"].inputs["role"] == f"id-of-a-{use}-role"


@pytest.mark.parametrize("use", USES)
def test_trust_is_limited_to_the_account_and_the_expected_sources(use: str) -> None:
    (statement,) = mocked.document(access(), f"a-{use}-role", "assumeRolePolicy")["Statement"]
    assert statement["Action"] == "sts:AssumeRole"
    if use == "trigger":
        services: Any = ["events.amazonaws.com", "scheduler.amazonaws.com"]
        sources: Any = [
            f"arn:aws:events:{REGION}:{ACCOUNT}:rule/x-training-*",
            f"arn:aws:events:{REGION}:{ACCOUNT}:rule/x-monitor-*",
            f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/default",
        ]
    elif use == "pipeline":
        services, sources = (
            "sagemaker.amazonaws.com",
            [sagemaker("pipeline/x-training/*"), sagemaker("pipeline/x-monitor/*")],
        )
    else:
        services, sources = "sagemaker.amazonaws.com", sagemaker("*")
    assert statement["Principal"] == {"Service": services}
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": sources},
    }


def test_the_rules_and_schedules_of_the_stack_may_assume_the_trigger_role() -> None:
    found = flights("local")
    (statement,) = mocked.document(found, "flights-local-trigger-role", "assumeRolePolicy")["Statement"]
    sources = statement["Condition"]["ArnLike"]["aws:SourceArn"]
    assuming = [target for target in mocked.find_by_kind(found, "EventTarget") if "roleArn" in target.inputs]
    assert assuming
    for target in assuming:
        arn = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{target.inputs['rule']}"
        assert any(arn.startswith(source.removesuffix("*")) for source in sources), arn
    for schedule in mocked.find_by_kind(found, "Schedule"):
        assert "groupName" not in schedule.inputs


#: The actions that AWS cannot restrict to a resource, and the condition that limits each of them.
WIDE = {
    "ecr:GetAuthorizationToken": None,
    "cloudwatch:PutMetricData": {"StringLike": {"cloudwatch:namespace": ["Millrace/x", "/aws/sagemaker/*"]}},
    "cloudwatch:GetMetricStatistics": None,
}


@pytest.mark.parametrize("use", USES)
def test_only_listed_actions_have_a_wildcard_resource(use: str) -> None:
    for statement in statements(access(), use):
        if "*" in statement["Resource"]:
            (action,) = statement["Action"]
            assert statement.get("Condition") == WIDE[action]
        assert all("*" not in action or action == "kms:GenerateDataKey*" for action in statement["Action"])


@pytest.mark.parametrize("use", USES)
def test_every_resource_but_images_and_the_lake_names_the_account(use: str) -> None:
    for statement in statements(access(), use):
        for resource in statement["Resource"]:
            own = f":{ACCOUNT}:" in resource or resource.startswith((BUCKET, "arn:of:Role:"))
            assert own or resource in ("*", "arn:aws:ecr:*:*:repository/*"), resource
            assert not resource.endswith(f"{ACCOUNT}:*"), resource


def test_a_pipeline_may_pass_only_the_job_role_and_only_to_sagemaker() -> None:
    found = access()
    passing = [
        (use, statement)
        for use in USES
        for statement in statements(found, use)
        if "iam:PassRole" in statement["Action"]
    ]
    assert passing == [
        (
            "pipeline",
            {
                "Effect": "Allow",
                "Action": ["iam:PassRole"],
                "Resource": ["arn:of:Role:a-job-role"],
                "Condition": {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            },
        )
    ]


def test_a_trigger_may_only_start_its_pipelines_and_send_dead_letters() -> None:
    assert allowed(access(), "trigger") == {
        "sagemaker:StartPipelineExecution": {sagemaker("pipeline/x-training"), sagemaker("pipeline/x-monitor")},
        "sqs:SendMessage": {f"arn:aws:sqs:{REGION}:{ACCOUNT}:x-dead-letters"},
    }
    assert "sqs:SendMessage" not in allowed(access(dead_letter_queue=""), "trigger")


def test_a_pipeline_may_start_pipeline_jobs_and_register_in_its_group() -> None:
    may = allowed(access(), "pipeline")
    jobs = {sagemaker("training-job/pipelines-*"), sagemaker("processing-job/pipelines-*")}
    for kind in ("Training", "Processing"):
        for verb in ("Create", "Describe", "Stop"):
            assert may[f"sagemaker:{verb}{kind}Job"] == jobs
    group = {sagemaker("model-package-group/x-models"), sagemaker("model-package/x-models/*")}
    assert may["sagemaker:CreateModelPackage"] == may["sagemaker:DescribeModelPackage"] == group
    assert "s3:PutObject" not in may


@pytest.mark.parametrize("use", ["job", "pipeline"])
def test_key_grants_are_limited_to_aws_resources(use: str) -> None:
    (granting,) = [each for each in statements(access(), use) if "kms:CreateGrant" in each["Action"]]
    assert granting == {
        "Effect": "Allow",
        "Action": ["kms:CreateGrant"],
        "Resource": [KEY],
        "Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}},
    }


def test_a_job_reads_and_writes_the_lake_with_its_key() -> None:
    may = allowed(access(), "job")
    assert may["s3:GetObject"] == may["s3:PutObject"] == {f"{BUCKET}/*"}
    assert may["s3:ListBucket"] == {BUCKET}
    assert may["kms:Decrypt"] == may["kms:GenerateDataKey*"] == {KEY}
    assert "s3:DeleteObject" not in may


def test_a_job_writes_the_offline_store_and_reads_and_writes_its_groups() -> None:
    may = allowed(access(), "job")
    group = {sagemaker("feature-group/x-weather")}
    assert may["sagemaker:PutRecord"] == may["sagemaker:GetRecord"] == may["sagemaker:DescribeFeatureGroup"] == group
    assert may["s3:GetBucketAcl"] == {BUCKET}
    assert may["s3:PutObjectAcl"] == {f"{BUCKET}/*"}
    without = allowed(access(feature_groups=[]), "job")
    assert not {"sagemaker:PutRecord", "s3:GetBucketAcl", "s3:PutObjectAcl"} & without.keys()


def test_a_job_may_describe_but_not_change_pipelines_and_endpoints() -> None:
    may = allowed(access(), "job")
    assert may["sagemaker:ListPipelineExecutions"] == {
        sagemaker("pipeline/x-training"),
        sagemaker("pipeline/x-monitor"),
    }
    assert may["sagemaker:DescribeEndpoint"] >= {sagemaker("endpoint/x")}
    changing = ("Create", "Update", "Delete", "Stop", "Start")
    assert [action for action in may if action.startswith("sagemaker:") and action[10:].startswith(changing)] == []


def test_an_endpoint_may_read_alarms_and_features_but_no_registry() -> None:
    may = allowed(access(), "endpoint")
    assert may["cloudwatch:DescribeAlarms"] == {f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:x-*"}
    assert may["sagemaker:BatchGetRecord"] == {sagemaker("feature-group/x-weather")}
    assert {action for action in may if action.startswith("sagemaker:")} == {
        "sagemaker:GetRecord",
        "sagemaker:BatchGetRecord",
    }


def test_the_partition_is_used_in_every_arn() -> None:
    found = access(partition="aws-cn", bucket_arn="arn:aws-cn:s3:::lake", key_arn="arn:aws-cn:kms:r:1:key/k")
    of_roles = [found[f"a-{use}-{part}"].inputs for use in USES for part in ("role", "policy")]
    wrong = [text for text in mocked.texts(of_roles) if "arn:aws:" in text]
    assert wrong == []


def test_resources_depend_on_the_policy_of_their_role() -> None:
    found = flights("dev")
    for name, use in (
        ("model", "endpoint"),
        ("weather-group", "job"),
        ("training-pipeline", "pipeline"),
        ("monitor-schedule", "trigger"),
        ("retraining-on-alarm-target", "trigger"),
    ):
        waits = set(found[f"flights-dev-{name}"].dependencies)
        assert {f"flights-dev-{use}-role", f"flights-dev-{use}-policy"} <= waits, name


def test_the_role_of_the_endpoint_is_deleted_after_the_endpoint() -> None:
    # Dependents are deleted first: endpoint → configuration → model → role and policy.
    found = flights("dev")
    assert "flights-dev-config" in found["flights-dev-endpoint"].dependencies
    assert "flights-dev-model" in found["flights-dev-config"].dependencies
    assert "flights-dev-endpoint-policy" in found["flights-dev-model"].dependencies


def test_the_roles_of_a_stack_name_the_resources_of_the_stack() -> None:
    found = flights("dev")

    def named(kind: str, field: str) -> set[str]:
        return {each.inputs[field] for each in mocked.find_by_kind(found, kind)}

    def may(use: str, action: str) -> set[str]:
        return {
            resource
            for statement in statements(found, use, "flights-dev")
            for resource in statement["Resource"]
            if action in statement["Action"] and statement["Effect"] == "Allow"
        }

    groups = {sagemaker(f"feature-group/{name}") for name in named("FeatureGroup", "featureGroupName")}
    assert len(groups) == 3
    assert may("job", "sagemaker:PutRecord") == may("endpoint", "sagemaker:BatchGetRecord") == groups
    pipelines = {sagemaker(f"pipeline/{name}") for name in named("Pipeline", "pipelineName")}
    assert may("trigger", "sagemaker:StartPipelineExecution") == pipelines
    assert may("job", "sagemaker:ListPipelineExecutions") == pipelines
    (queue,), (package_group,), (endpoint,) = (
        named("Queue", "name"),
        named("ModelPackageGroup", "modelPackageGroupName"),
        named("Endpoint", "name"),
    )
    assert may("trigger", "sqs:SendMessage") == {f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"}
    assert sagemaker(f"model-package-group/{package_group}") in may("pipeline", "sagemaker:CreateModelPackage")
    assert sagemaker(f"endpoint/{endpoint}") in may("job", "sagemaker:DescribeEndpoint")
    watched = [alarm["alarmName"] for alarm in _rollback_alarms(found)]
    (prefix,) = may("endpoint", "cloudwatch:DescribeAlarms")
    assert watched == ["flights-dev-errors", "flights-dev-latency"]
    for alarm in watched:
        assert f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{alarm}".startswith(prefix.removesuffix("*"))
    lake = "arn:of:Bucket:flights-dev-lake-bucket"
    assert may("job", "s3:PutObject") == may("endpoint", "s3:PutObject") == {f"{lake}/*"}
    assert may("job", "kms:Decrypt") == {"arn:of:Key:flights-dev-lake-key"}


def _rollback_alarms(found: dict[str, mocked.Registered]) -> list[dict[str, str]]:
    deployment = found["flights-dev-endpoint"].inputs["deploymentConfig"]
    alarms: list[dict[str, str]] = deployment["autoRollbackConfiguration"]["alarms"]
    return alarms
