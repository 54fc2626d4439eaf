"""The gateway: routing, validation and error formats."""

from __future__ import annotations

import hmac
import io
import json
import socket
import uuid
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore import UNSIGNED
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local import client
from local.core import protocol, validation
from local.core.clock import Clock
from local.core.context import Call, Cloud, Handler
from local.core.errors import AwsError
from local.core.images import Images
from local.core.store import Store
from local.credentials import ensure_credentials
from local.gateway import Gateway
from local.services.moto.mount import SERVICES, MotoMount

from .conftest import CloudDaemon

HTTP = urllib3.PoolManager(retries=False)

OURS = ("sagemaker", "sagemaker-runtime", "sagemaker-featurestore-runtime")


def send_signed(
    daemon: CloudDaemon,
    service: str,
    *,
    body: bytes = b"",
    path: str = "/",
    method: str = "POST",
    region: str = client.REGION,
    **headers: str,
) -> urllib3.BaseHTTPResponse:
    """Send a request as any SDK signs it, without the checks of boto3 itself."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, daemon.endpoint_url + path, named, body)
    own = ensure_credentials(daemon.state)
    SigV4Auth(Credentials(own.access_key_id, own.secret_access_key), service, region).add_auth(request)
    return HTTP.request(method, daemon.endpoint_url + path, body=body, headers=dict(request.headers))


def call_sagemaker(daemon: CloudDaemon, operation: str, params: Any) -> tuple[int, dict[str, Any]]:
    body = params if isinstance(params, bytes) else json.dumps(params).encode()
    answer = send_signed(
        daemon,
        "sagemaker",
        body=body,
        X_Amz_Target=f"SageMaker.{operation}",
        Content_Type="application/x-amz-json-1.1",
    )
    return answer.status, json.loads(answer.data)


def new_bucket(daemon: CloudDaemon) -> tuple[Any, str]:
    s3, name = daemon.client("s3"), f"bucket-{uuid.uuid4()}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": client.REGION})
    return s3, name


# -- signatures and services -----------------------------------------------------------------------------------------


def test_the_health_check_reveals_only_a_proof_for_a_nonce(cloud_daemon: CloudDaemon) -> None:
    answer = HTTP.request("GET", f"{cloud_daemon.endpoint_url}/_local/health")
    assert (answer.status, json.loads(answer.data)) == (200, {"proof": None})
    # Computed by hand: only the holder of the secret can do this.
    secret = ensure_credentials(cloud_daemon.state).secret_access_key
    said = f"health abc {cloud_daemon.running.pid}"
    answer = HTTP.request("GET", f"{cloud_daemon.endpoint_url}/_local/health?nonce=abc")
    assert json.loads(answer.data) == {"proof": hmac.new(secret.encode(), said.encode(), "sha256").hexdigest()}


def test_an_unsigned_request_is_refused(cloud_daemon: CloudDaemon) -> None:
    s3 = cloud_daemon.session.client(
        "s3", endpoint_url=cloud_daemon.endpoint_url, config=Config(signature_version=UNSIGNED)
    )
    with pytest.raises(ClientError) as refused:
        s3.list_buckets()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    target = {"X-Amz-Target": "SageMaker.ListModels"}
    answer = HTTP.request("POST", cloud_daemon.endpoint_url, headers=target)
    assert answer.status == 403
    assert json.loads(answer.data)["__type"] == "MissingAuthenticationTokenException"
    assert "not signed" in json.loads(answer.data)["message"]


def test_an_authorization_header_of_another_kind_is_refused(cloud_daemon: CloudDaemon) -> None:
    headers = {"Authorization": "Bearer secret", "X-Amz-Target": "SageMaker.ListModels"}
    answer = HTTP.request("POST", cloud_daemon.endpoint_url, headers=headers)
    assert json.loads(answer.data)["__type"] == "IncompleteSignatureException"


def test_an_unavailable_service_is_refused_by_name(cloud_daemon: CloudDaemon) -> None:
    with pytest.raises(ClientError, match=r"'dynamodb' is not available in the local cloud; available: .*sagemaker"):
        cloud_daemon.client("dynamodb").list_tables()


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("sagemaker", "create_monitoring_schedule", {"MonitoringScheduleName": "x", "MonitoringScheduleConfig": {}}),
        ("sagemaker-metrics", "batch_put_metrics", {"TrialComponentName": "x", "MetricData": []}),
        ("kms", "derive_shared_secret", {"KeyId": "x", "KeyAgreementAlgorithm": "ECDH", "PublicKey": b"x"}),
    ],
)
def test_an_unavailable_operation_is_refused_by_name(
    cloud_daemon: CloudDaemon, service: str, operation: str, params: dict[str, Any]
) -> None:
    with pytest.raises(ClientError, match="is not available in the local cloud") as refused:
        getattr(cloud_daemon.client(service, parameter_validation=False), operation)(**params)
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"
    assert refused.value.response["ResponseMetadata"]["RequestId"]


def test_every_response_has_its_own_request_id(cloud_daemon: CloudDaemon) -> None:
    sts = cloud_daemon.client("sts")
    ids = {sts.get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"] for _ in range(3)}
    assert len(ids) == 3


def test_the_region_comes_from_the_credential_scope(cloud_daemon: CloudDaemon) -> None:
    topic = cloud_daemon.client("sns", "us-west-2").create_topic(Name=f"t-{uuid.uuid4()}")["TopicArn"]
    assert topic.startswith("arn:aws:sns:us-west-2:123456789012:")
    assert topic not in [t["TopicArn"] for t in cloud_daemon.client("sns", "eu-west-1").list_topics()["Topics"]]


# -- validation ------------------------------------------------------------------------------------------------------


def test_a_pattern_mismatch_is_refused_with_the_message_of_aws(cloud_daemon: CloudDaemon) -> None:
    status, answer = call_sagemaker(cloud_daemon, "DescribeModel", {"ModelName": "a_b"})
    assert (status, answer["__type"]) == (400, "ValidationException")
    assert answer["message"] == (
        "1 validation error detected: Value 'a_b' at 'modelName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9]([\\-a-zA-Z0-9]*[a-zA-Z0-9])?"
    )


def test_all_violated_constraints_are_reported_together(cloud_daemon: CloudDaemon) -> None:
    status, answer = call_sagemaker(
        cloud_daemon,
        "CreateModel",
        {"ModelName": "m" * 64, "Containers": [{"Mode": "Both"}], "EnableNetworkIsolation": True},
    )
    assert status == 400
    assert answer["message"].startswith("2 validation errors detected: ")
    assert (
        "at 'modelName' failed to satisfy constraint: Member must have length less than or equal to 63"
        in (answer["message"])
    )
    assert (
        "Value 'Both' at 'containers.1.member.mode' failed to satisfy constraint: "
        "Member must satisfy enum value set: [SingleModel, MultiModel]"
    ) in answer["message"]


@pytest.mark.parametrize(
    ("operation", "params", "message"),
    [
        ("DescribeModel", {}, "Value null at 'modelName' failed to satisfy constraint: Member must not be null"),
        (
            "ListModels",
            {"MaxResults": 101},
            "Value '101' at 'maxResults' failed to satisfy constraint: "
            "Member must have value less than or equal to 100",
        ),
        (
            "ListModels",
            {"MaxResults": 0},
            "Value '0' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
    ],
)
def test_missing_members_and_values_out_of_range_are_refused(
    cloud_daemon: CloudDaemon, operation: str, params: dict[str, Any], message: str
) -> None:
    assert call_sagemaker(cloud_daemon, operation, params)[1]["message"] == f"1 validation error detected: {message}"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (b"{", "The request's body is not JSON"),
        (b"[]", "The request's body is LIST, expected a JSON object"),
        (b"[" * 100_000, "nested deeper than 200 levels"),
        (b'{"PrimaryContainer":' * 300 + b"{}" + b"}" * 300, "nested deeper than 200 levels"),
        (b'{"ModelName": "\\ud800"}', "STRING_VALUE can not be converted to string at 'ModelName'"),
        ({"ModelName": 1}, "NUMBER_VALUE can not be converted to string at 'ModelName': 1"),
        ({"ModelName": "m", "Colour": "red"}, "Unknown member 'Colour' at the top level"),
        ({"ModelName": "m", "PrimaryContainer": {"Img": ""}}, "Unknown member 'Img' in 'PrimaryContainer'"),
        ({"ModelName": "m", "EnableNetworkIsolation": "yes"}, "STRING_VALUE can not be converted to boolean"),
        ({"ModelName": "m", "Tags": [{"Key": 1, "Value": ""}]}, "NUMBER_VALUE can not be converted to string at"),
    ],
)
def test_malformed_request_bodies_are_refused(cloud_daemon: CloudDaemon, params: Any, message: str) -> None:
    status, answer = call_sagemaker(cloud_daemon, "CreateModel", params)
    assert (status, answer["__type"]) == (400, "SerializationException")
    assert message in answer["message"]


@pytest.mark.parametrize(
    ("service", "operation", "params", "code", "message"),
    [
        (
            "events",
            "put_rule",
            {"Name": "a b", "ScheduleExpression": "rate(1 day)"},
            "ValidationException",
            "at 'name'",
        ),
        ("scheduler", "delete_schedule", {"Name": "a b"}, "ValidationException", "at 'name'"),
        ("logs", "create_log_group", {"logGroupName": "a b"}, "InvalidParameterException", "at 'logGroupName'"),
        ("iam", "get_role", {"RoleName": "a b"}, "ValidationError", "at 'roleName'"),
        ("iam", "list_roles", {"MaxItems": 1001}, "ValidationError", "less than or equal to 1000"),
        (
            "cloudwatch",
            "put_metric_alarm",
            {"AlarmName": "a", "EvaluationPeriods": 1, "ComparisonOperator": "Above"},
            "ValidationError",
            "Member must satisfy enum value set",
        ),
    ],
)
def test_requests_to_other_services_are_validated_too(
    cloud_daemon: CloudDaemon, service: str, operation: str, params: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(ClientError, match=message) as refused:
        getattr(cloud_daemon.client(service, parameter_validation=False), operation)(**params)
    assert refused.value.response["Error"]["Code"] == code


@pytest.mark.parametrize("weight", ["NaN", "Infinity", '"NaN"', "1e999"])
def test_a_number_that_is_not_finite_is_refused(cloud_daemon: CloudDaemon, weight: str) -> None:
    variant = (
        '{"VariantName": "main", "ModelName": "none", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large", '
        f'"InitialVariantWeight": {weight}}}'
    )
    body = f'{{"EndpointConfigName": "weights", "ProductionVariants": [{variant}]}}'.encode()
    status, answer = call_sagemaker(cloud_daemon, "CreateEndpointConfig", body)
    assert (status, answer["__type"]) == (400, "ValidationException")
    assert "at 'productionVariants.1.member.initialVariantWeight'" in answer["message"]
    assert "Member must be a finite number" in answer["message"]


@pytest.mark.parametrize("number", [10**400, 2**63, -(2**63) - 1])
def test_an_integer_of_more_than_64_bits_is_refused(cloud_daemon: CloudDaemon, number: int) -> None:
    status, answer = call_sagemaker(cloud_daemon, "ListModels", {"MaxResults": number})
    assert (status, answer["__type"]) == (400, "SerializationException")
    assert "NUMBER_VALUE can not be converted to integer at 'MaxResults'" in answer["message"]


@pytest.mark.parametrize("body", [b"Action=ListRoles&PathPrefix=\xff\xfe", b"\xff"])
def test_a_query_that_is_not_utf_8_is_refused(cloud_daemon: CloudDaemon, body: bytes) -> None:
    answer = send_signed(cloud_daemon, "iam", body=body, Content_Type="application/x-www-form-urlencoded")
    assert answer.status == 400
    assert b"<Code>MalformedInput</Code>" in answer.data
    assert b"not UTF-8" in answer.data


def test_deep_nesting_is_refused_by_motos_services_too(cloud_daemon: CloudDaemon) -> None:
    answer = send_signed(
        cloud_daemon,
        "logs",
        body=b'{"logGroupName":' * 50_000,
        X_Amz_Target="Logs_20140328.CreateLogGroup",
        Content_Type="application/x-amz-json-1.1",
    )
    assert answer.status == 400
    assert json.loads(answer.data)["__type"] == "SerializationException"


def test_an_unknown_member_is_refused_by_motos_services_too(cloud_daemon: CloudDaemon) -> None:
    answer = send_signed(
        cloud_daemon,
        "logs",
        body=b'{"logGroupName": "a", "colour": "red"}',
        X_Amz_Target="Logs_20140328.CreateLogGroup",
        Content_Type="application/x-amz-json-1.1",
    )
    assert answer.status == 400
    assert "Unknown member 'colour'" in json.loads(answer.data)["message"]


def test_every_pattern_except_known_exceptions_is_enforced() -> None:
    models = {*OURS, *(service.model for service in SERVICES.values())}
    unenforced = {
        (model, name)
        for model in models
        for name, shape in protocol.load_service_model(model)._service_description["shapes"].items()
        if "pattern" in shape and validation.compile_pattern(shape["pattern"]) is None
    }
    # Java's (?i) in the middle of a pattern.
    assert unenforced == {("budgets", "BudgetName")}


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        (r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$", "Straße 7", True),
        (r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$", "a;b", False),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*", "a \U0001f600", True),
        (r"[a-z]+", "abc\n", False),
        (r"\w+", "straße", False),
        (r"\A\S[\p{Print}]*\z", "an id", True),
        (r"\p{ASCII}*", "é", False),
    ],
)
def test_java_patterns_match_as_in_java(pattern: str, value: str, fits: bool) -> None:
    assert validation.matches_pattern(pattern, value) is fits


# -- S3 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["plain", "a b/c+d%é", "slash//es/", "50%25", "?#&=", "ümlaut/日本"])
def test_s3_keys_with_special_characters_are_kept(cloud_daemon: CloudDaemon, key: str) -> None:
    s3, bucket = new_bucket(cloud_daemon)
    s3.put_object(Bucket=bucket, Key=key, Body=b"here", Metadata={"my_key": "1", "your-key": "2"})
    found = s3.get_object(Bucket=bucket, Key=key)
    assert found["Body"].read() == b"here"
    assert found["Metadata"] == {"my_key": "1", "your-key": "2"}
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.delete_object(Bucket=bucket, Key=key)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_s3_copy_range_and_head(cloud_daemon: CloudDaemon) -> None:
    s3, bucket = new_bucket(cloud_daemon)
    s3.put_object(Bucket=bucket, Key="from", Body=b"0123456789")
    s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from"})
    assert s3.get_object(Bucket=bucket, Key="to", Range="bytes=2-4")["Body"].read() == b"234"
    assert s3.head_object(Bucket=bucket, Key="to")["ContentLength"] == 10
    with pytest.raises(ClientError) as missing:
        s3.head_object(Bucket=bucket, Key="nowhere")
    assert missing.value.response["Error"]["Code"] == "404"
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="nowhere")


def test_s3_multipart(cloud_daemon: CloudDaemon) -> None:
    s3, bucket = new_bucket(cloud_daemon)
    body = bytes(range(256)) * 4 * 1024 * 12  # 12 MiB: two parts for boto3's transfer manager
    s3.upload_fileobj(io.BytesIO(body), bucket, "big")
    copy = io.BytesIO()
    s3.download_fileobj(bucket, "big", copy)
    assert copy.getvalue() == body
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-2"')


def test_s3_checksum_of_a_streamed_body(cloud_daemon: CloudDaemon) -> None:
    s3, bucket = new_bucket(cloud_daemon)
    put = s3.put_object(Bucket=bucket, Key="k", Body=io.BytesIO(b"stream" * 1000), ChecksumAlgorithm="SHA256")
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumSHA256"] == put["ChecksumSHA256"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"stream" * 1000


def test_s3_empty_object(cloud_daemon: CloudDaemon) -> None:
    _, bucket = new_bucket(cloud_daemon)
    s3 = cloud_daemon.client("s3", read_timeout=10)
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert s3.head_object(Bucket=bucket, Key="empty")["ContentLength"] == 0


def test_s3_presigned(cloud_daemon: CloudDaemon) -> None:
    s3, bucket = new_bucket(cloud_daemon)
    s3 = cloud_daemon.client("s3", signature_version="s3v4")
    put = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"})
    assert HTTP.request("PUT", put, body=b"by URL").status == 200
    get = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    assert HTTP.request("GET", get).data == b"by URL"


def test_a_long_poll_does_not_block_the_cloud(cloud_daemon: CloudDaemon) -> None:
    from concurrent.futures import ThreadPoolExecutor

    sqs = cloud_daemon.client("sqs")
    queue = sqs.create_queue(QueueName=f"q-{uuid.uuid4()}")["QueueUrl"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=20)
        sqs.send_message(QueueUrl=queue, MessageBody="wake up")
        assert [message["Body"] for message in waiting.result(timeout=10)["Messages"]] == ["wake up"]


def test_many_long_polls_do_not_block_other_requests(cloud_daemon: CloudDaemon) -> None:
    from concurrent.futures import ThreadPoolExecutor

    sqs = cloud_daemon.client("sqs", max_pool_connections=120, read_timeout=60)
    queue = sqs.create_queue(QueueName=f"q-{uuid.uuid4()}")["QueueUrl"]
    with ThreadPoolExecutor(110) as pool:
        waiting = [pool.submit(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=8) for _ in range(110)]
        cloud_daemon.client("s3").list_buckets()
        # This request did not have to wait until the long polls ended.
        assert not all(each.done() for each in waiting)
        assert not [each for each in waiting if each.result(timeout=60).get("Messages")]


def test_a_body_compressed_by_boto3_is_read(cloud_daemon: CloudDaemon) -> None:
    cloudwatch, namespace = cloud_daemon.client("cloudwatch"), f"n-{uuid.uuid4()}"
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": "M", "Value": 1.0}] * 1000)
    assert {metric["MetricName"] for metric in cloudwatch.list_metrics(Namespace=namespace)["Metrics"]} == {"M"}


def test_many_open_connections_do_not_block_other_requests(cloud_daemon: CloudDaemon) -> None:
    address = ("127.0.0.1", cloud_daemon.running.port)
    held = [socket.create_connection(address, timeout=10) for _ in range(300)]
    try:
        assert cloud_daemon.client("sts").get_caller_identity()["Account"] == "123456789012"
    finally:
        for connection in held:
            connection.close()


# -- handlers --------------------------------------------------------------------------------------------------------


def call_gateway(tmp_path: Path, handler: Handler, operation: str = "ListModels") -> tuple[int, dict[str, str], Any]:
    """Return the response of an in-process gateway whose operation is handled by ``handler``."""
    store = Store(tmp_path / "store.sqlite")
    cloud = Cloud(tmp_path, "http://127.0.0.1:1", store, Clock(), Images({}))
    tables = {**{service: {} for service in OURS}, "sagemaker": {operation: handler}}
    gateway = Gateway(cloud, MotoMount(cloud.stopping, cloud.keys, cloud.events), tables)
    seen: list[Any] = []
    request = AWSRequest("POST", "http://127.0.0.1:1/", {"X-Amz-Target": f"SageMaker.{operation}"}, b"")
    own = cloud.keys.user
    SigV4Auth(Credentials(own.access_key_id, own.secret_access_key), "sagemaker", "eu-west-1").add_auth(request)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "HTTP_HOST": "127.0.0.1:1",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()},
        "wsgi.input": io.BytesIO(),
    }

    def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
        seen.extend((status, headers))

    body = b"".join(gateway(environ, start_response))
    store.close()
    return int(seen[0].split()[0]), dict(seen[1]), json.loads(body)


def test_an_error_of_a_handler_is_returned_with_all_its_fields(tmp_path: Path) -> None:
    def refuse(_call: Call, _params: dict[str, Any]) -> dict[str, Any]:
        raise AwsError("ModelError", "The model failed.", 424, OriginalStatusCode=500, LogStreamArn="arn:x")

    status, headers, body = call_gateway(tmp_path, refuse)
    assert status == 424
    assert headers["x-amzn-ErrorType"] == "ModelError"
    assert body == {
        "__type": "ModelError",
        "message": "The model failed.",
        "OriginalStatusCode": 500,
        "LogStreamArn": "arn:x",
    }


def test_an_unexpected_handler_error_is_a_logged_internal_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_call: Call, _params: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("oops")

    status, headers, body = call_gateway(tmp_path, fail)
    assert (status, body["__type"]) == (500, "InternalFailure")
    assert headers["x-amzn-RequestId"] in body["message"]
    assert headers["x-amzn-RequestId"] in caplog.text
    assert "KeyError: 'oops'" in caplog.text


def test_an_unknown_output_member_is_an_internal_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    status, _, _ = call_gateway(tmp_path, lambda _call, _params: {"Models": [], "Colour": "red"})
    assert status == 500
    assert "ListModels has no output member 'Colour'; it has Models, NextToken" in caplog.text


def test_times_and_null_members_are_serialised_as_by_aws(tmp_path: Path) -> None:
    summary = {"ModelName": "m", "ModelArn": "a", "CreationTime": 1700000000.1234}
    _, headers, body = call_gateway(tmp_path, lambda _call, _params: {"Models": [summary], "NextToken": None})
    assert body == {"Models": [{**summary, "CreationTime": 1700000000.123}]}
    assert headers["Content-Type"] == "application/x-amz-json-1.1"
