"""Signature checks: requests are signed by botocore's own signers, then changed in one place."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import urllib.parse
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import urllib3
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local import client
from local.credentials import ensure_credentials

from .conftest import CloudDaemon

HTTP = urllib3.PoolManager(retries=False)
BUCKET = "signed-things"


def credentials(daemon: CloudDaemon) -> Credentials:
    own = ensure_credentials(daemon.state)
    return Credentials(own.access_key_id, own.secret_access_key)


@pytest.fixture(scope="module")
def bucket(cloud_daemon: CloudDaemon) -> str:
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": client.REGION})
    s3.put_object(Bucket=BUCKET, Key="a b/ü+c.txt", Body=b"kept")
    return BUCKET


class _S3Signer(auth.S3SigV4Auth):  # type: ignore[misc]
    """botocore's S3 signer, which keeps a given X-Amz-Content-SHA256 header."""

    def payload(self, request: Any) -> str:
        return self.given or str(super().payload(request))

    def add_auth(self, request: Any) -> None:
        self.given = request.headers.get("X-Amz-Content-SHA256")
        super().add_auth(request)


class Sent:
    """A request as botocore signs it, to be sent as it is or changed."""

    def __init__(
        self, daemon: CloudDaemon, method: str, path: str, body: bytes = b"", service: str = "s3", **headers: str
    ) -> None:
        self.url = daemon.endpoint_url + path
        self.method, self.body = method, body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest(method, self.url, named, body)
        signer = _S3Signer if service == "s3" else auth.SigV4Auth
        signer(credentials(daemon), service, client.REGION).add_auth(request)
        self.headers = dict(request.headers)

    def send(self) -> urllib3.BaseHTTPResponse:
        return HTTP.request(self.method, self.url, body=self.body, headers=self.headers)


def get_error_code(answer: urllib3.BaseHTTPResponse) -> str:
    text = answer.data.decode()
    return text.partition("<Code>")[2].partition("</Code>")[0] or str(json.loads(text)["__type"])


# -- the header --------------------------------------------------------------------------------------------------------


CHANGES: dict[str, Callable[[Sent], None]] = {
    "another path": lambda sent: setattr(sent, "url", sent.url.replace("one.txt", "two.txt")),
    "another query": lambda sent: setattr(sent, "url", sent.url + "?acl"),
    "another method": lambda sent: setattr(sent, "method", "DELETE"),
    "another signed header": lambda sent: sent.headers.update({"x-amz-meta-owner": "them"}),
    "one more header": lambda sent: sent.headers.update({"x-amz-acl": "public-read"}),
    "another date": lambda sent: sent.headers.update(
        {"X-Amz-Date": (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y%m%dT%H%M%SZ")}
    ),
    "another signature": lambda sent: sent.headers.update(
        {
            "Authorization": sent.headers["Authorization"][:-1]
            + ("0" if sent.headers["Authorization"][-1] != "0" else "1")
        }
    ),
    "a scope of another region": lambda sent: sent.headers.update(
        {"Authorization": sent.headers["Authorization"].replace(client.REGION, "us-east-2")}
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_request_changed_after_signing_is_refused(cloud_daemon: CloudDaemon, bucket: str, change: str) -> None:
    sent = Sent(cloud_daemon, "PUT", f"/{bucket}/one.txt", b"mine", **{"x_amz_meta_owner": "me"})
    CHANGES[change](sent)
    answer = sent.send()
    assert (answer.status, get_error_code(answer)) == (403, "SignatureDoesNotMatch")
    assert "one.txt" not in str(cloud_daemon.client("s3").list_objects_v2(Bucket=bucket))


def test_a_body_changed_after_signing_is_refused(cloud_daemon: CloudDaemon, bucket: str) -> None:
    sent = Sent(cloud_daemon, "PUT", f"/{bucket}/body.txt", b"mine")
    sent.body = b"them"
    answer = sent.send()
    assert (answer.status, get_error_code(answer)) == (400, "XAmzContentSHA256Mismatch")
    sent = Sent(cloud_daemon, "POST", "/", b"{}", "sagemaker", X_Amz_Target="SageMaker.ListModels")
    sent.body = b'{"MaxResults": 1}'
    answer = sent.send()
    assert (answer.status, get_error_code(answer)) == (403, "InvalidSignatureException")


def test_a_body_that_does_not_match_its_claimed_hash_is_refused(cloud_daemon: CloudDaemon) -> None:
    claimed = hashlib.sha256(b"{}").hexdigest()
    sent = Sent(
        cloud_daemon, "POST", "/", b"{}", "sagemaker", X_Amz_Target="SageMaker.ListModels", X_Amz_Content_SHA256=claimed
    )
    assert sent.send().status == 200
    sent.body = b'{"MaxResults": 1}'
    answer = sent.send()
    assert (answer.status, get_error_code(answer)) == (403, "InvalidSignatureException")


@pytest.mark.parametrize(("minutes", "status"), [(-14, 200), (-16, 403), (14, 200), (16, 403)])
def test_signature_dates_are_checked_against_the_wall_clock(
    cloud_daemon: CloudDaemon, bucket: str, monkeypatch: pytest.MonkeyPatch, minutes: int, status: int
) -> None:
    # The daemon's own clock runs sixty times as fast.
    then = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(auth, "get_current_datetime", lambda remove_tzinfo=True: then.replace(tzinfo=None))
    answer = Sent(cloud_daemon, "GET", f"/{bucket}").send()
    assert answer.status == status
    if status == 403:
        assert get_error_code(answer) == "RequestTimeTooSkewed"


@pytest.mark.parametrize(
    ("service", "operation", "unknown", "wrong"),
    [
        ("s3", "list_buckets", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
        ("iam", "list_roles", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        ("sagemaker", "list_models", "UnrecognizedClientException", "InvalidSignatureException"),
        ("ssm", "describe_parameters", "UnrecognizedClientException", "InvalidSignatureException"),
        ("ec2", "describe_vpcs", "UnrecognizedClientException", "InvalidSignatureException"),
        ("cloudformation", "list_stacks", "InvalidClientTokenId", "SignatureDoesNotMatch"),
    ],
)
def test_unknown_keys_and_wrong_secrets_get_the_error_of_the_service(
    cloud_daemon: CloudDaemon, service: str, operation: str, unknown: str, wrong: str
) -> None:
    own = ensure_credentials(cloud_daemon.state)
    for key, secret, expected in (("local", "local", unknown), (own.access_key_id, "local", wrong)):
        stranger = boto3.session.Session(aws_access_key_id=key, aws_secret_access_key=secret)
        with pytest.raises(ClientError) as refused:
            getattr(
                stranger.client(
                    service,
                    region_name=client.REGION,
                    endpoint_url=cloud_daemon.endpoint_url,
                    config=Config(retries={"total_max_attempts": 1}),
                ),
                operation,
            )()
        answer = refused.value.response
        assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (expected, 403)


def test_an_unavailable_service_answers_in_its_own_protocol(cloud_daemon: CloudDaemon) -> None:
    for service, operation in (
        ("ec2", "describe_vpcs"),
        ("cloudformation", "list_stacks"),
        ("rds", "describe_events"),
        ("route53", "list_hosted_zones"),
        ("cloudfront", "list_distributions"),
        ("glue", "get_databases"),
        ("lambda", "list_functions"),
    ):
        with pytest.raises(ClientError, match=f"'{service}' is not available in the local cloud") as refused:
            getattr(cloud_daemon.client(service), operation)()
        assert refused.value.response["Error"]["Code"] == "UnknownServiceException"


# -- the query and forms -----------------------------------------------------------------------------------------------


def presign_url(daemon: CloudDaemon, version: str | None, seconds: int = 60, key: str = "a b/ü+c.txt") -> str:
    config = {} if version is None else {"signature_version": version}
    return str(
        daemon.client("s3", **config).generate_presigned_url(
            "get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=seconds
        )
    )


@pytest.mark.parametrize("version", [None, "s3", "s3v4"])
def test_a_presigned_url_works_until_it_expires(cloud_daemon: CloudDaemon, bucket: str, version: str | None) -> None:
    assert bucket
    assert HTTP.request("GET", presign_url(cloud_daemon, version)).data == b"kept"
    url = presign_url(cloud_daemon, version, seconds=1)
    deadline = time.monotonic() + 10
    while (answer := HTTP.request("GET", url)).status == 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (answer.status, get_error_code(answer)) == (403, "AccessDenied")
    assert "expired" in answer.data.decode()


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_url_for_another_object_is_refused(cloud_daemon: CloudDaemon, bucket: str, version: str) -> None:
    cloud_daemon.client("s3").put_object(Bucket=bucket, Key="other.txt", Body=b"secret")
    url = presign_url(cloud_daemon, version)
    for changed in (url.replace("a%20b/%C3%BC%2Bc.txt", "other.txt"), url + "&acl"):
        answer = HTTP.request("GET", changed)
        assert (answer.status, get_error_code(answer)) == (403, "SignatureDoesNotMatch"), changed
    assert get_error_code(HTTP.request("DELETE", url)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_upload_needs_the_signed_headers(cloud_daemon: CloudDaemon, bucket: str, version: str) -> None:
    s3 = cloud_daemon.client("s3", signature_version=version)
    params = {"Bucket": bucket, "Key": f"up-{version}", "ContentType": "text/plain", "Metadata": {"owner": "me"}}
    url = s3.generate_presigned_url("put_object", Params=params)
    mine = {"Content-Type": "text/plain", "x-amz-meta-owner": "me"}
    theirs = {"Content-Type": "text/plain", "x-amz-meta-owner": "them"}
    answer = HTTP.request("PUT", url, body=b"x", headers=theirs)
    assert (answer.status, get_error_code(answer)) == (403, "SignatureDoesNotMatch")
    assert HTTP.request("PUT", url, body=b"x", headers=mine).status == 200
    assert cloud_daemon.client("s3").head_object(Bucket=bucket, Key=f"up-{version}")["Metadata"] == {"owner": "me"}


def test_a_presigned_url_valid_for_more_than_a_week_is_refused(cloud_daemon: CloudDaemon, bucket: str) -> None:
    url = presign_url(cloud_daemon, "s3v4").replace("X-Amz-Expires=60", "X-Amz-Expires=604801")
    answer = HTTP.request("GET", url)
    assert (answer.status, get_error_code(answer)) == (400, "AuthorizationHeaderMalformed")
    assert bucket in url


def form(daemon: CloudDaemon, version: str, seconds: int = 60, **more: Any) -> tuple[str, dict[str, str]]:
    post = daemon.client("s3", signature_version=version).generate_presigned_post(
        BUCKET, "form/${filename}", Conditions=[["starts-with", "$key", "form/"], *more.pop("conditions", [])],
        ExpiresIn=seconds, **more,
    )  # fmt: skip
    return post["url"], post["fields"]


def post(url: str, fields: dict[str, str], body: bytes = b"uploaded") -> urllib3.BaseHTTPResponse:
    return HTTP.request("POST", url, fields={**fields, "file": ("x.txt", body, "text/plain")}, redirect=False)


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_form_allowed_by_its_policy_uploads_the_object(cloud_daemon: CloudDaemon, bucket: str, version: str) -> None:
    url, fields = form(cloud_daemon, version)
    assert post(url, fields, version.encode()).status == 204
    got = cloud_daemon.client("s3").get_object(Bucket=bucket, Key="form/x.txt")
    assert got["Body"].read() == version.encode()


@pytest.mark.parametrize("version", ["s3", "s3v4"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": "code/bundle.pyz"}, 'Policy Condition failed: ["starts-with", "$key", "form/"]'),
        ({"x-amz-meta-a": "b"}, "Extra input fields: x-amz-meta-a"),
        (
            {"policy": base64.b64encode(b'{"expiration": "2100-01-01T00:00:00Z", "conditions": []}').decode()},
            "signature",
        ),
    ],
)
def test_a_form_not_allowed_by_its_policy_changes_nothing(
    cloud_daemon: CloudDaemon, bucket: str, version: str, change: dict[str, str], message: str
) -> None:
    url, fields = form(cloud_daemon, version)
    before = cloud_daemon.client("s3").list_objects_v2(Bucket=bucket).get("Contents")
    answer = post(url, {**fields, **change})
    assert answer.status == 403
    assert message in answer.data.decode()
    assert cloud_daemon.client("s3").list_objects_v2(Bucket=bucket).get("Contents") == before


def test_a_form_is_limited_in_size_and_time(cloud_daemon: CloudDaemon, bucket: str) -> None:
    url, fields = form(cloud_daemon, "s3v4", conditions=[["content-length-range", 1, 8]])
    assert get_error_code(post(url, fields, b"")) == "EntityTooSmall"
    assert get_error_code(post(url, fields, b"123456789")) == "EntityTooLarge"
    assert post(url, fields, b"12345678").status == 204
    url, fields = form(cloud_daemon, "s3v4", seconds=-1)
    answer = post(url, fields)
    assert (answer.status, get_error_code(answer)) == (403, "AccessDenied")
    assert "Policy expired" in answer.data.decode()
    assert bucket in url


def test_a_form_answers_with_the_requested_status_or_redirect(cloud_daemon: CloudDaemon, bucket: str) -> None:
    more = {"success_action_status": "201", "Content-Type": "text/csv", "x-amz-meta-of": "me"}
    url, fields = form(cloud_daemon, "s3v4", Fields=more, conditions=[{name: value} for name, value in more.items()])
    answer = post(url, fields)
    assert answer.status == 201
    assert "<Key>form/x.txt</Key>" in answer.data.decode()
    head = cloud_daemon.client("s3").head_object(Bucket=bucket, Key="form/x.txt")
    assert (head["ContentType"], head["Metadata"]) == ("text/csv", {"of": "me"})
    to = {"success_action_redirect": "http://example.org/done?a=1"}
    url, fields = form(cloud_daemon, "s3v4", Fields=to, conditions=[{name: value} for name, value in to.items()])
    answer = post(url, fields)
    place = urllib.parse.urlsplit(answer.headers["Location"])
    assert (answer.status, place.netloc) == (303, "example.org")
    assert urllib.parse.parse_qs(place.query)["key"] == ["form/x.txt"]


@pytest.mark.parametrize(
    "redirect", ["http://[x", "http://example.org/a\r\nSet-Cookie: b", "http://example.org/\N{SNOWMAN}"]
)
def test_a_form_with_an_unusable_redirect_answers_as_without_it(
    cloud_daemon: CloudDaemon, bucket: str, redirect: str
) -> None:
    to = {"success_action_redirect": redirect}
    url, fields = form(cloud_daemon, "s3v4", Fields=to, conditions=[["starts-with", "$success_action_redirect", ""]])
    answer = post(url, fields)
    assert answer.status == 204, answer.data
    assert answer.headers["Location"].endswith("/form/x.txt")
    assert cloud_daemon.client("s3").head_object(Bucket=bucket, Key="form/x.txt")["ContentLength"] == len(b"uploaded")


def test_form_fields_act_like_the_headers_of_an_upload(cloud_daemon: CloudDaemon, bucket: str) -> None:
    digest = base64.b64encode(hashlib.sha256(b"uploaded").digest()).decode()
    more = {
        "tagging": "<Tagging><TagSet><Tag><Key>a b</Key><Value>c+d</Value></Tag></TagSet></Tagging>",
        "x-amz-server-side-encryption": "AES256",
        "x-amz-website-redirect-location": "/elsewhere",
        "x-amz-checksum-sha256": digest,
    }
    conditions = [{name: value} for name, value in more.items()]
    url, fields = form(cloud_daemon, "s3v4", Fields=more, conditions=conditions)
    answer = post(url, fields)
    assert answer.status == 204, answer.data
    s3 = cloud_daemon.client("s3")
    head = s3.head_object(Bucket=bucket, Key="form/x.txt", ChecksumMode="ENABLED")
    assert (head["ServerSideEncryption"], head["WebsiteRedirectLocation"]) == ("AES256", "/elsewhere")
    assert head["ChecksumSHA256"] == digest
    tags = s3.get_object_tagging(Bucket=bucket, Key="form/x.txt")["TagSet"]
    assert tags == [{"Key": "a b", "Value": "c+d"}]
    answer = post(url, fields, b"otherwise")
    assert (answer.status, get_error_code(answer)) == (400, "BadDigest")
    url, fields = form(cloud_daemon, "s3v4", Fields={"x-amz-new": "1"}, conditions=[{"x-amz-new": "1"}])
    answer = post(url, fields)
    assert (answer.status, "'x-amz-new' is not available" in answer.data.decode()) == (501, True)


def test_a_form_cannot_create_a_bucket(cloud_daemon: CloudDaemon) -> None:
    made = cloud_daemon.client("s3", signature_version="s3v4").generate_presigned_post(
        "made-by-form", "${filename}", Conditions=[["starts-with", "$key", ""]]
    )
    body = b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"
    for name, said in (("", "InvalidArgument"), ("a\nb", "NotImplemented")):
        fields = {**made["fields"], "key": name, "file": ("x", body, "text/xml")}
        answer = HTTP.request("POST", made["url"], fields=fields, redirect=False)
        assert get_error_code(answer) == said
    assert "made-by-form" not in [each["Name"] for each in cloud_daemon.client("s3").list_buckets()["Buckets"]]


def test_huge_numbers_and_malformed_forms_are_refused(cloud_daemon: CloudDaemon, bucket: str) -> None:
    nines, key = "9" * 5000, credentials(cloud_daemon).access_key
    for query in (
        f"AWSAccessKeyId={key}&Signature=x&Expires={nines}",
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={key}/20300101/eu-west-1/s3/aws4_request&X-Amz-Signature=x"
        f"&X-Amz-SignedHeaders=host&X-Amz-Date=20300101T000000Z&X-Amz-Expires={nines}",
    ):
        answer = HTTP.request("GET", f"{cloud_daemon.endpoint_url}/{bucket}?{query}")
        assert answer.status in (400, 403), answer.data
    url, fields = form(cloud_daemon, "s3v4", conditions=[["content-length-range", 0, int(nines[:4000])]])
    assert get_error_code(post(url, fields)) == "InvalidPolicyDocument"
    answer = HTTP.request(
        "POST", f"{cloud_daemon.endpoint_url}/any", headers={"Content-Type": "multipart/form-data; boundary=B"},
        body=b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n",
    )  # fmt: skip
    assert get_error_code(answer) == "MalformedPOSTRequest"


def test_a_version_2_presigned_url_allows_no_other_operation(cloud_daemon: CloudDaemon, bucket: str) -> None:
    url = cloud_daemon.client("s3", signature_version="s3").generate_presigned_url(
        "put_object", Params={"Bucket": bucket, "Key": "v2"}
    )
    assert HTTP.request("PUT", url, body=b"1").status == 200
    for part in ("retention", "legal-hold", "annotation", "acl", "tagging", "%72etention"):
        answer = HTTP.request("PUT", f"{url}&{part}", body=b"<Retention/>")
        assert answer.status in (400, 403), part
    assert cloud_daemon.client("s3").get_object(Bucket=bucket, Key="v2")["Body"].read() == b"1"


# -- bodies in chunks, checksums ---------------------------------------------------------------------------------------


def chunked(daemon: CloudDaemon, key: str, chunks: list[bytes], trailer: bool = False) -> Sent:
    """Return a request whose chunks are signed in sequence as AWS describes it, with botocore's canonical request."""
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" + ("-TRAILER" if trailer else "")
    sent = Sent(
        daemon, "PUT", f"/{BUCKET}/{key}", b"",
        X_Amz_Content_SHA256=kind, Content_Encoding="aws-chunked",
        X_Amz_Decoded_Content_Length=str(sum(map(len, chunks))),
        **({"X_Amz_Trailer": "x-amz-checksum-crc32"} if trailer else {}),
    )  # fmt: skip
    own, moment = credentials(daemon), sent.headers["X-Amz-Date"]
    signer = auth.SigV4Auth(own, "s3", client.REGION)
    request = AWSRequest()
    request.context["timestamp"] = moment
    scope = signer.credential_scope(request)
    previous = sent.headers["Authorization"].rpartition("=")[2]
    empty, parts = hashlib.sha256().hexdigest(), []
    for chunk in (*chunks, b""):
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{moment}\n{scope}\n{previous}\n{empty}\n{hashlib.sha256(chunk).hexdigest()}"
        previous = signer.signature(text, request)
        parts.append(f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + (chunk + b"\r\n" if chunk else b""))
    if trailer:
        line = "x-amz-checksum-crc32:" + base64.b64encode(zlib.crc32(b"".join(chunks)).to_bytes(4, "big")).decode()
        digest = hashlib.sha256(f"{line}\n".encode()).hexdigest()
        signature = signer.signature(f"AWS4-HMAC-SHA256-TRAILER\n{moment}\n{scope}\n{previous}\n{digest}", request)
        parts.append(f"{line}\r\nx-amz-trailer-signature:{signature}\r\n".encode())
    sent.body = b"".join(parts) + b"\r\n"
    return sent


@pytest.mark.parametrize("trailer", [False, True])
def test_a_body_in_signed_chunks_arrives_whole(cloud_daemon: CloudDaemon, bucket: str, trailer: bool) -> None:
    assert chunked(cloud_daemon, "chunks", [b"a" * 70_000, b"b" * 10], trailer).send().status == 200
    got = cloud_daemon.client("s3").get_object(Bucket=bucket, Key="chunks")
    assert got["Body"].read() == b"a" * 70_000 + b"b" * 10
    assert "aws-chunked" not in got.get("ContentEncoding", "")


@pytest.mark.parametrize("trailer", [False, True])
def test_a_changed_chunk_is_refused(cloud_daemon: CloudDaemon, bucket: str, trailer: bool) -> None:
    sent = chunked(cloud_daemon, "changed", [b"a" * 100, b"b" * 10], trailer)
    for before, after in ((b"bbbbb", b"bbbbc"), (b"x-amz-checksum-crc32:", b"x-amz-checksum-crc32:A")):
        if before not in sent.body:
            continue
        changed = chunked(cloud_daemon, "changed", [b"a" * 100, b"b" * 10], trailer)
        changed.body = changed.body.replace(before, after)
        answer = changed.send()
        assert (answer.status, get_error_code(answer)) == (403, "SignatureDoesNotMatch")
    assert "changed" not in str(cloud_daemon.client("s3").list_objects_v2(Bucket=bucket))


def test_an_unsigned_stream_is_checked_against_its_trailer(cloud_daemon: CloudDaemon, bucket: str) -> None:
    for checksum, status in ((zlib.crc32(b"hello"), 200), (1, 400)):
        sent = Sent(
            cloud_daemon, "PUT", f"/{bucket}/trailed", b"", X_Amz_Content_SHA256="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            Content_Encoding="aws-chunked", X_Amz_Decoded_Content_Length="5", X_Amz_Trailer="x-amz-checksum-crc32",
        )  # fmt: skip
        value = base64.b64encode(checksum.to_bytes(4, "big")).decode()
        sent.body = f"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:{value}\r\n\r\n".encode()
        answer = sent.send()
        assert answer.status == status
        if status == 400:
            assert get_error_code(answer) == "BadDigest"
    head = cloud_daemon.client("s3").head_object(Bucket=bucket, Key="trailed", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big")).decode()


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_a_wrong_checksum_is_refused(cloud_daemon: CloudDaemon, bucket: str, algorithm: str) -> None:
    s3 = cloud_daemon.client("s3")
    right = s3.put_object(Bucket=bucket, Key=algorithm, Body=b"right", ChecksumAlgorithm=algorithm)
    assert right[f"Checksum{algorithm}"]
    wrong = {f"Checksum{algorithm}": right[f"Checksum{algorithm}"]}
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=bucket, Key=algorithm, Body=b"wrong", **wrong)
    assert refused.value.response["Error"]["Code"] == "BadDigest"
    assert s3.get_object(Bucket=bucket, Key=algorithm)["Body"].read() == b"right"


def test_a_wrong_md5_is_refused(cloud_daemon: CloudDaemon, bucket: str) -> None:
    s3 = cloud_daemon.client("s3")
    for given, expected in (
        (base64.b64encode(hashlib.md5(b"x").digest()).decode(), "BadDigest"),
        ("?", "InvalidDigest"),
    ):
        with pytest.raises(ClientError) as refused:
            s3.put_object(Bucket=bucket, Key="md5", Body=b"y", ContentMD5=given)
        assert refused.value.response["Error"]["Code"] == expected
