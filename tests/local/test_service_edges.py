"""Edge cases of the other services: regions, accounts, alarms, keys and S3."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.signers import RequestSigner

from .conftest import CloudDaemon

# -- regions, logs, alarms ---------------------------------------------------------------------------------------------


def test_an_unknown_region_is_refused(cloud_daemon: CloudDaemon) -> None:
    for service, operation, code in (
        ("sagemaker", "list_models", "InvalidSignatureException"),
        ("s3", "list_buckets", "AuthorizationHeaderMalformed"),
        ("sns", "list_topics", "SignatureDoesNotMatch"),
        ("logs", "describe_log_groups", "InvalidSignatureException"),
    ):
        with pytest.raises(ClientError, match="'mars-north-1' is not one of partition aws") as refused:
            getattr(cloud_daemon.client(service, "mars-north-1"), operation)()
        assert refused.value.response["Error"]["Code"] == code
    s3 = cloud_daemon.client("s3", "us-east-1")
    with pytest.raises(ClientError, match="InvalidLocationConstraint"):
        s3.create_bucket(Bucket="on-mars", CreateBucketConfiguration={"LocationConstraint": "mars-north-1"})


def test_the_signed_region_wins_over_other_regions_in_the_request(cloud_daemon: CloudDaemon) -> None:
    arns = set()
    for extra in ({}, {"user_agent_extra": "region/us-west-2"}):
        sns = cloud_daemon.client("sns", "eu-west-1", **extra)
        arns.add(sns.create_topic(Name="signed-region")["TopicArn"])
    session = cloud_daemon.session
    signer = RequestSigner(
        sns.meta.service_model.service_id, "eu-west-1", "sns", "v4", session.get_credentials(), session.events
    )
    query = "Action=CreateTopic&Name=signed-region&Version=2010-03-31&x=a.us-west-2.amazonaws.com"
    url = signer.generate_presigned_url(
        {"method": "GET", "url": f"{cloud_daemon.endpoint_url}/?{query}", "headers": {}, "body": b"", "context": {}},
        operation_name="CreateTopic",
    )
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    arns.add(text.partition("<TopicArn>")[2].partition("</TopicArn>")[0])
    assert arns == {"arn:aws:sns:eu-west-1:123456789012:signed-region"}


def test_a_header_cannot_select_another_account(cloud_daemon: CloudDaemon) -> None:
    sts = cloud_daemon.client("sts")
    sts.meta.events.register(
        "before-sign.sts", lambda request, **_: request.headers.add_header("x-moto-account-id", "9")
    )
    assert sts.get_caller_identity()["Account"] == "123456789012"


def test_requests_for_session_and_federation_tokens_are_refused(cloud_daemon: CloudDaemon) -> None:
    sts = cloud_daemon.client("sts")
    for ask in (sts.get_session_token, lambda: sts.get_federation_token(Name="me")):
        with pytest.raises(ClientError, match="is not available in the local cloud"):
            ask()


ALARM = {"AlarmName": "look-back", "ComparisonOperator": "GreaterThanThreshold", "Threshold": 1.0}
ONE = {"MetricName": "M", "Namespace": "N", "Statistic": "Sum"}
MANY = [{"Id": "m", "MetricStat": {"Metric": {"MetricName": "M", "Namespace": "N"}, "Period": 3600, "Stat": "Sum"}}]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({**ONE, "Period": 3600, "EvaluationPeriods": 168}, None),
        ({**ONE, "Period": 3600, "EvaluationPeriods": 169}, "more than 7 day"),
        ({**ONE, "Period": 86400, "EvaluationPeriods": 8}, "more than 7 day"),
        ({**ONE, "Period": 300, "EvaluationPeriods": 288}, None),
        ({**ONE, "Period": 300, "EvaluationPeriods": 289}, "more than 1 day"),
        ({"Metrics": MANY, "EvaluationPeriods": 168}, None),
        ({"Metrics": MANY, "EvaluationPeriods": 169}, "more than 7 day"),
        (
            {"Metrics": MANY, "EvaluationPeriods": 1, "MetricName": "M"},
            "MetricName cannot be given together with Metrics",
        ),
        ({"Metrics": MANY, "EvaluationPeriods": 1, "Period": 60}, "Period cannot be given together with Metrics"),
    ],
)
def test_the_evaluation_range_of_an_alarm_is_limited(
    cloud_daemon: CloudDaemon, request_: dict[str, Any], message: str | None
) -> None:
    cloudwatch = cloud_daemon.client("cloudwatch")
    if message is None:
        cloudwatch.put_metric_alarm(**ALARM, **request_)
        cloudwatch.delete_alarms(AlarmNames=["look-back"])
        return
    with pytest.raises(ClientError, match="ValidationError") as refused:
        cloudwatch.put_metric_alarm(**ALARM, **request_)
    assert message in str(refused.value)
    assert cloudwatch.describe_alarms(AlarmNames=["look-back"])["MetricAlarms"] == []


CHILD = {"AlarmName": "child", **{k: v for k, v in ALARM.items() if k != "AlarmName"}, **ONE, "Period": 60}
CHILD |= {"EvaluationPeriods": 1}


def test_children_and_names_of_composite_alarms_are_protected(cloud_daemon: CloudDaemon) -> None:
    cloudwatch = cloud_daemon.client("cloudwatch")
    cloudwatch.put_metric_alarm(**CHILD)
    for name in ("parent", "other"):
        cloudwatch.put_composite_alarm(AlarmName=name, AlarmRule="ALARM(child) AND NOT OK(child)")

    def names() -> list[str]:
        found = cloudwatch.describe_alarms(
            AlarmNames=["child", "parent", "other"], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        )
        return sorted(each["AlarmName"] for kind in ("MetricAlarms", "CompositeAlarms") for each in found[kind])

    for refused, call in (
        ("Cannot delete child as there are composite alarm", lambda: cloudwatch.delete_alarms(AlarmNames=["child"])),
        ("Only one composite alarm", lambda: cloudwatch.delete_alarms(AlarmNames=["parent", "other"])),
        ("composite alarm of this name", lambda: cloudwatch.put_metric_alarm(**{**CHILD, "AlarmName": "parent"})),
        ("metric alarm of this name", lambda: cloudwatch.put_composite_alarm(AlarmName="child", AlarmRule="TRUE")),
    ):
        with pytest.raises(ClientError, match=refused):
            call()
        assert names() == ["child", "other", "parent"]
    cloudwatch.delete_alarms(AlarmNames=["other"])
    cloudwatch.delete_alarms(AlarmNames=["parent"])
    cloudwatch.delete_alarms(AlarmNames=["child"])
    assert names() == []


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"Input": "{", "Id": "1"}, "JSON syntax error in input for target 1"),
        ({"Input": "{}", "InputPath": "$.x"}, "Only one of Input, InputPath, or InputTransformer"),
        ({"Input": "{}"}, None),
    ],
)
def test_a_rule_target_needs_a_single_valid_input(
    cloud_daemon: CloudDaemon, target: dict[str, Any], said: str | None
) -> None:
    events = cloud_daemon.client("events")
    events.put_rule(Name="one-input", EventPattern='{"source": ["me"]}')
    target = {"Id": "1", "Arn": "arn:aws:sqs:eu-west-1:123456789012:orders", **target}
    answer = events.put_targets(Rule="one-input", Targets=[target])
    assert [said in each["ErrorMessage"] for each in answer["FailedEntries"]] == ([True] if said else [])
    targets = events.list_targets_by_rule(Rule="one-input")["Targets"]
    assert targets == ([] if said else [target])
    events.remove_targets(Rule="one-input", Ids=["1"])


# -- identity and keys -------------------------------------------------------------------------------------------------


def test_iam_names_that_differ_only_in_case_conflict(cloud_daemon: CloudDaemon) -> None:
    iam = cloud_daemon.client("iam")
    trust = '{"Version": "2012-10-17", "Statement": []}'
    iam.create_role(RoleName="CaseRole", AssumeRolePolicyDocument=trust)
    iam.create_user(UserName="CaseUser")
    iam.create_group(GroupName="CaseGroup")
    for call in (
        lambda: iam.create_role(RoleName="caserole", AssumeRolePolicyDocument=trust),
        lambda: iam.create_user(UserName="CASEUSER"),
        lambda: iam.create_group(GroupName="casegroup"),
    ):
        with pytest.raises(ClientError, match="EntityAlreadyExists"):
            call()
    with pytest.raises(ClientError, match="MalformedPolicyDocument"):
        iam.create_role(RoleName="trusts-nobody", AssumeRolePolicyDocument="{}")


def test_a_key_that_is_disabled_or_pending_deletion_cannot_be_used(cloud_daemon: CloudDaemon) -> None:
    kms = cloud_daemon.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    calls = (
        lambda: kms.encrypt(KeyId=key, Plaintext=b"x"),
        lambda: kms.generate_data_key(KeyId=key, KeySpec="AES_256"),
        lambda: kms.decrypt(CiphertextBlob=blob),
        lambda: kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key),
    )
    for change, said in (
        (kms.disable_key, "DisabledException"), (kms.schedule_key_deletion, "KMSInvalidStateException"),
    ):  # fmt: skip
        change(KeyId=key)
        for call in calls:
            with pytest.raises(ClientError, match=said):
                call()
    kms.cancel_key_deletion(KeyId=key)
    kms.enable_key(KeyId=key)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


# -- S3 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy", ["zz", "{}", '{"Statement": 1}', '{"Statement": [{"Effect": "Allow", "Action": 1}]}']
)
def test_an_invalid_bucket_policy_is_refused(cloud_daemon: CloudDaemon, policy: str) -> None:
    s3 = cloud_daemon.client("s3", "us-east-1")
    s3.create_bucket(Bucket="no-policy")
    with pytest.raises(ClientError, match="MalformedPolicy"):
        s3.put_bucket_policy(Bucket="no-policy", Policy=policy)
    s3.put_object(Bucket="no-policy", Key="k", Body=b"still here")
    assert s3.get_object(Bucket="no-policy", Key="k")["Body"].read() == b"still here"


def test_an_object_keeps_its_body_whatever_its_content_type(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3", "us-east-1")
    s3.create_bucket(Bucket="body-types")
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
        s3.put_object(Bucket="body-types", Key="k", Body=b"a=1&b=2", ContentType=kind)
        got = s3.get_object(Bucket="body-types", Key="k")
        assert (got["Body"].read(), got["ContentType"]) == (b"a=1&b=2", kind)


def test_unsupported_s3_operations_are_refused_without_side_effects(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.client("s3", "us-east-1")
    s3.create_bucket(Bucket="lacks")
    for call in (
        lambda: s3.delete_bucket_metrics_configuration(Bucket="lacks", Id="x"),
        lambda: s3.delete_bucket_inventory_configuration(Bucket="lacks", Id="x"),
        lambda: s3.put_bucket_request_payment(Bucket="never-made", RequestPaymentConfiguration={"Payer": "Requester"}),
    ):
        with pytest.raises(ClientError, match="is not available in the local cloud"):
            call()
    names = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    assert "lacks" in names
    assert "never-made" not in names
