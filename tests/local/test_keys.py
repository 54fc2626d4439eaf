"""Access keys: the identity of the caller, key rotation, and permissions of the state folder."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import urllib3
from botocore.exceptions import ClientError

from local import client
from local.credentials import ensure_credentials, rotate_credentials

from .conftest import CloudDaemon


def get_caller_arn(daemon: CloudDaemon, **keys: str) -> str:
    sts = boto3.session.Session(**keys).client("sts", region_name=client.REGION, endpoint_url=daemon.endpoint_url)
    return str(sts.get_caller_identity()["Arn"])


def test_keys_of_users_and_sessions_identify_their_caller(cloud_daemon: CloudDaemon) -> None:
    assert get_caller_arn(cloud_daemon, **ensure_credentials(cloud_daemon.state).to_boto3_arguments()) == (
        "arn:aws:iam::123456789012:user/millrace"
    )
    iam, sts = cloud_daemon.client("iam"), cloud_daemon.client("sts")
    iam.create_user(UserName="anna")
    made = iam.create_access_key(UserName="anna")["AccessKey"]
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    assert get_caller_arn(cloud_daemon, **keys) == "arn:aws:iam::123456789012:user/anna"
    iam.update_access_key(UserName="anna", AccessKeyId=made["AccessKeyId"], Status="Inactive")
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        get_caller_arn(cloud_daemon, **keys)
    trust = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=document)
    session = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/reader", RoleSessionName="mine")["Credentials"]
    keys = {"aws_access_key_id": session["AccessKeyId"], "aws_secret_access_key": session["SecretAccessKey"]}
    assert get_caller_arn(cloud_daemon, **keys, aws_session_token=session["SessionToken"]).endswith(
        "assumed-role/reader/mine"
    )
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        get_caller_arn(cloud_daemon, **keys)


@pytest.mark.parametrize(
    ("arn", "said"),
    [
        ("arn:aws:iam::123456789012:role/does-not-exist", "AccessDenied"),
        ("arn:aws:iam::999999999999:role/reader", "AccessDenied"),
        ("not-an-arn-really-long-enough", "ValidationError"),
    ],
)
def test_assuming_a_missing_or_invalid_role_is_refused(cloud_daemon: CloudDaemon, arn: str, said: str) -> None:
    with pytest.raises(ClientError) as refused:
        cloud_daemon.client("sts").assume_role(RoleArn=arn, RoleSessionName="mine")
    assert refused.value.response["Error"]["Code"] == said


def test_a_presigned_url_identifies_its_signer(cloud_daemon: CloudDaemon) -> None:
    url = cloud_daemon.client("sts").generate_presigned_url("get_caller_identity", HttpMethod="GET")
    answer = urllib3.request("GET", url)
    assert answer.status == 200, answer.data
    assert "<Arn>arn:aws:iam::123456789012:user/millrace</Arn>" in answer.data.decode()
    assert f"<UserId>{ensure_credentials(cloud_daemon.state).access_key_id}</UserId>" in answer.data.decode()


def test_key_rotation_invalidates_the_old_key_at_once(fresh_daemon: CloudDaemon) -> None:
    old = ensure_credentials(fresh_daemon.state)
    assert get_caller_arn(fresh_daemon, **old.to_boto3_arguments())
    new = rotate_credentials(fresh_daemon.state)
    assert new.access_key_id != old.access_key_id
    assert new.secret_access_key != old.secret_access_key
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        get_caller_arn(fresh_daemon, **old.to_boto3_arguments())
    assert get_caller_arn(fresh_daemon, **new.to_boto3_arguments())
    assert client.find_daemon(fresh_daemon.state) == fresh_daemon.running


def test_every_state_folder_has_its_own_key(cloud_daemon: CloudDaemon, fresh_daemon: CloudDaemon) -> None:
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        get_caller_arn(cloud_daemon, **ensure_credentials(fresh_daemon.state).to_boto3_arguments())


def _walk_folder(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.rglob("*")


def test_only_the_owner_can_read_the_state_folder(fresh_daemon: CloudDaemon) -> None:
    fresh_daemon.client("s3").create_bucket(
        Bucket="private", CreateBucketConfiguration={"LocationConstraint": client.REGION}
    )
    fresh_daemon.stop()
    opened = [str(path) for path in _walk_folder(fresh_daemon.state) if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    assert opened == []


def test_start_removes_access_of_other_users_to_the_state_folder(fresh_daemon: CloudDaemon) -> None:
    fresh_daemon.stop()
    fresh_daemon.state.chmod(0o755)
    fresh_daemon.start()
    assert stat.S_IMODE(fresh_daemon.state.stat().st_mode) == 0o700


def test_the_fixed_key_of_earlier_versions_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "aws"
    folder.mkdir()
    (folder / "credentials").write_text("[default]\naws_access_key_id = local\naws_secret_access_key = local\n")
    made = ensure_credentials(tmp_path)
    assert made.access_key_id != "local"
    assert ensure_credentials(tmp_path) == made
    assert stat.S_IMODE((folder / "credentials").stat().st_mode) == 0o600
