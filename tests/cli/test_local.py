"""Tests of `millrace local`, from the first start to the reset."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError

from local import client
from local.credentials import read_credentials
from tests.local.hosted import eventually

from .conftest import REPOSITORY, Millrace

READS_THE_ENVIRONMENT = """
import json, os, boto3
print(json.dumps({
    "buckets": [b["Name"] for b in boto3.client("s3").list_buckets()["Buckets"]],
    "account": boto3.client("sts").get_caller_identity()["Account"],
    "path": os.environ["PATH"], "backend": os.environ["PULUMI_BACKEND_URL"],
}))
"""


def test_start_status_stop_reset(millrace: Millrace) -> None:
    before = millrace.json("local", "status")
    assert before["running"] is False
    started = millrace.json("local", "start")
    assert started["running"] is True
    assert started["scale"] == 60
    assert Path(started["images"]["millrace"]).name == "image"
    # The second start finds the running daemon.
    assert millrace.json("local", "start")["pid"] == started["pid"]
    found = millrace.json("local", "status")
    assert set(found) == set(before)
    assert {key: found[key] for key in ("pid", "port")} == {key: started[key] for key in ("pid", "port")}
    assert psutil.pid_exists(started["pid"])

    assert "runs with scale 60.0, not with 1.0" in millrace.error("local", "start", "--scale", "1")
    assert started["endpoint_url"] in millrace("local", "status").stdout
    assert "up after" in millrace("local", "logs").stdout

    assert "its state is kept" in millrace("local", "stop").stdout
    assert client.find_daemon(millrace.state) is None
    assert "is not running" in millrace("local", "stop").stdout
    assert "nothing was deleted" in millrace("local", "reset", stdin="n\n", code=1).stderr
    assert millrace.state.exists()
    asked = millrace("local", "reset", stdin="y\n").stdout
    assert str(millrace.state) in asked
    assert "Pulumi's state" in asked
    assert not millrace.state.exists()


def test_reset_needs_confirmation_and_deletes_only_a_state_folder(millrace: Millrace) -> None:
    millrace.state.mkdir()
    (millrace.state / "thesis.txt").write_text("years of work")
    assert "is not the folder of a local cloud" in millrace.error("local", "reset", "--yes")
    assert (millrace.state / "thesis.txt").exists()
    (millrace.state / "daemon.lock").write_text("")
    assert "pass --yes" in millrace.error("local", "reset")
    assert (millrace.state / "thesis.txt").exists()
    # The folder of a checkout where only bundles were built.
    fresh = Millrace(millrace.state.parent / "fresh")
    (fresh.state / "bundles").mkdir(parents=True)
    fresh("local", "reset", "--yes")
    assert not fresh.state.exists()


def test_a_cloud_is_not_started_in_a_folder_of_other_files(millrace: Millrace, tmp_path: Path) -> None:
    """Its reset would delete them."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    for command in (("local", "start"), ("local", "env")):
        said = millrace.error(*command, "--state", str(folder))
        assert f"{folder} is not empty, and is not the folder of a local cloud" in said
        assert "name an empty or a new folder with --state" in said
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_what_follows_names_the_folder_where_it_is_not_the_default(millrace: Millrace, tmp_path: Path) -> None:
    said = millrace("local", "status", "--state", str(tmp_path / "other")).stdout
    assert f"start it with `millrace local start --state {tmp_path / 'other'}`" in said


def test_a_full_disk_is_an_error_without_a_trace(millrace: Millrace) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "local", "status"], env=millrace.environment, cwd=REPOSITORY,
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "cannot be written: No space left on device; make room" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_invalid_endpoint_of_aws_is_named(millrace: Millrace) -> None:
    said = millrace.error("status", "flights", "--env", "dev", AWS_ENDPOINT_URL="garbage")
    assert "is invalid: Invalid endpoint: garbage" in said
    assert "unset AWS_ENDPOINT_URL" in said


def test_the_age_of_a_plan_needs_a_plan(millrace: Millrace) -> None:
    said = millrace.error("deploy", "flights", "--max-age", "1d", code=2)
    assert "--max-age bounds the age of a saved plan: name it with --plan" in said


def test_a_hanging_daemon_is_reported_with_commands_to_stop_it(millrace: Millrace) -> None:
    pid = millrace.json("local", "start")["pid"]
    psutil.Process(pid).suspend()
    try:
        words = f"process {pid} holds {millrace.state} but does not answer; `millrace local stop`, then `kill -9 {pid}`"
        assert words in millrace("local", "status").stdout
        found = millrace.json("local", "status")
        assert (found["running"], found["pid"]) == (False, pid)
        assert words in millrace.error("status", "flights", "--env", "local")
        assert words in millrace.error("local", "start")
    finally:
        psutil.Process(pid).resume()
    assert eventually(lambda: client.find_daemon(millrace.state))


@pytest.mark.parametrize("facts", ["{broken", "{}", "[]", '{"endpoint_url": 5, "pid": 1}', "\udcff"])
def test_an_invalid_daemon_file_means_that_none_is_running(millrace: Millrace, facts: str) -> None:
    millrace.state.mkdir()
    (millrace.state / "daemon.json").write_text(facts, errors="surrogateescape")
    assert "is not running; start it" in millrace("local", "status").stdout
    assert "is not running" in millrace.error("status", "flights", "--env", "local")


def test_a_service_that_started_empty_is_reported_until_its_file_is_restored(millrace: Millrace) -> None:
    started = client.start(millrace.state)
    keys = read_credentials(millrace.state).to_boto3_arguments()
    s3 = boto3.client("s3", endpoint_url=started.endpoint_url, region_name="eu-west-1", **keys)
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.stop(millrace.state)
    saved = millrace.state / "moto" / "s3.pickle"
    copy = saved.read_bytes()
    saved.write_bytes(copy[: len(copy) // 2])
    said = millrace("local", "start").stderr
    (kept,) = saved.parent.glob("s3.pickle.unreadable-*")
    assert "the saved state of s3 could not be read" in said
    assert f"what was saved is kept in {kept}" in said
    assert millrace.json("local", "status")["unreadable"] == {"s3": [str(kept)]}
    # Every command that uses the cloud says so, once, also where the shell has the cloud's variables.
    shell = {"AWS_ENDPOINT_URL": started.endpoint_url, **read_credentials(millrace.state).to_environment()}
    for variables in ({}, shell):
        said = millrace("status", "flights", "--env", "local", **variables).stderr
        assert said.count("the saved state of s3 could not be read") == 1

    client.stop(millrace.state)
    saved.write_bytes(copy)
    kept.unlink()
    done = millrace("local", "start", "--port", str(started.port))
    assert "could not be read" not in done.stderr
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["kept"]


def test_a_kept_port_that_is_none_is_replaced(millrace: Millrace) -> None:
    millrace.state.mkdir()
    (millrace.state / "port").write_text("99999999")
    assert millrace.json("local", "start")["port"] < 65536


def test_a_given_scale_and_port_are_used(millrace: Millrace) -> None:
    started = millrace.json("local", "start", "--scale", "3600")
    port = started["port"]
    millrace("local", "stop")
    again = millrace.json("local", "start", "--scale", "3600", "--port", str(port))
    assert (again["scale"], again["port"]) == (3600, port)


def test_env_starts_the_cloud_and_prints_commands_for_a_shell(millrace: Millrace) -> None:
    script = f'eval "$({" ".join(millrace.command("local", "env"))})" && python -c "$0"'
    done = subprocess.run(
        ["bash", "-euc", script, READS_THE_ENVIRONMENT],
        env={**millrace.environment, "HOME": "/nowhere/it's mine"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["buckets"] == []
    assert found["account"] == "123456789012"
    assert found["backend"] == f"file://{millrace.state}/stacks"
    first, second = found["path"].split(":")[:2]
    assert "pulumi" in first
    assert Path(second, "python").exists()
    assert "started the local cloud" in done.stderr


def test_env_escapes_a_quote_in_the_name_of_the_state_folder(tmp_path: Path) -> None:
    millrace = Millrace(tmp_path / "it's $HOME")
    try:
        printed = millrace("local", "env").stdout
        done = subprocess.run(
            ["bash", "-euc", f'{printed}\nprintf %s "$AWS_CONFIG_FILE"'], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{millrace.state}/aws/config"
        fish = millrace("local", "env", "--shell", "fish").stdout
        assert f"set -gx AWS_CONFIG_FILE '{tmp_path}/it\\'s $HOME/aws/config';" in fish
        if shutil.which("fish"):
            done = subprocess.run(
                ["fish", "-c", f'{fish}\nprintf %s "$AWS_CONFIG_FILE"'], capture_output=True, text=True, check=True
            )
            assert done.stdout == f"{millrace.state}/aws/config"
    finally:
        client.stop(millrace.state)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_a_command_and_not_the_cloud(millrace: Millrace, number: signal.Signals) -> None:
    millrace("local", "start")
    following = subprocess.Popen(
        millrace.command("local", "logs", "--follow"),
        env=millrace.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert following.stdout is not None
    assert following.stdout.readline()
    following.send_signal(number)
    _, said = following.communicate(timeout=10)
    assert (following.returncode, said.strip()) == (130, "interrupted")
    assert eventually(lambda: client.find_daemon(millrace.state))


def test_custom_images_are_given_at_the_start(millrace: Millrace, tmp_path: Path) -> None:
    assert "expected REPOSITORY=FOLDER" in millrace.error("local", "start", "--image", "scorer", code=2)
    assert "does not exist" in millrace.error("local", "start", "--image", f"fraud/scorer={tmp_path}", code=2)
    (tmp_path / "scorer" / "bin").mkdir(parents=True)
    given = f"fraud/scorer={tmp_path / 'scorer'}"
    assert "is the product's own image" in millrace.error(
        "local", "start", "--image", f"millrace={tmp_path / 'scorer'}", code=2
    )
    assert "is given twice" in millrace.error("local", "start", "--image", given, "--image", given, code=2)
    images = millrace.json("local", "start", "--image", given)["images"]
    assert images["fraud/scorer"] == str(tmp_path / "scorer")
    assert set(images) == {"fraud/scorer", "millrace"}
    # A start without options accepts the running cloud.
    assert millrace.json("local", "start")["images"] == images
    assert "fraud/scorer, millrace; others: millrace local start --image" in millrace("local", "status").stdout
    (tmp_path / "other" / "bin").mkdir(parents=True)
    assert "stop it first" in millrace.error("local", "start", "--image", f"other={tmp_path / 'other'}")


def test_rotation_invalidates_the_old_key(millrace: Millrace) -> None:
    running = millrace.json("local", "start")

    def listed(key: dict[str, str]) -> list[Any]:
        return list(
            boto3.client("s3", endpoint_url=running["endpoint_url"], region_name="eu-west-1", **key).list_buckets()[
                "Buckets"
            ]
        )

    old = read_credentials(millrace.state)
    assert old is not None
    assert listed(old.to_boto3_arguments()) == []
    made = millrace.json("local", "rotate")
    new = read_credentials(millrace.state)
    assert new is not None
    assert made == {"access_key_id": new.access_key_id, "file": str(millrace.state / "aws" / "credentials")}
    assert new.access_key_id != old.access_key_id
    assert new.secret_access_key not in str(made)
    with pytest.raises(ClientError) as refused:
        listed(old.to_boto3_arguments())
    assert refused.value.response["Error"]["Code"] == "InvalidAccessKeyId"
    assert listed(new.to_boto3_arguments()) == []
    assert millrace("local", "env", "--shell", "docker").stdout.splitlines()[:3] == [
        f"AWS_ENDPOINT_URL={running['endpoint_url']}",
        f"AWS_ACCESS_KEY_ID={new.access_key_id}",
        f"AWS_SECRET_ACCESS_KEY={new.secret_access_key}",
    ]
