"""The real Pulumi engine against the local cloud: the unchanged `pulumi_aws` program."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from engine import bootstrap, home, relay
from local import client

from .conftest import CloudDaemon

REPOSITORY = Path(__file__).parents[2]

PROGRAM = """
import pulumi
import pulumi_aws as aws

size = pulumi.Config().get_int("copies") or 1
key = aws.kms.Key("key", description="for the test")
bucket = aws.s3.Bucket("lake", bucket="engine-test-lake", tags={"copies": str(size)})
aws.s3.BucketVersioning("lake", bucket=bucket.id, versioning_configuration={"status": "Enabled"})
pulumi.export("arn", bucket.arn)
pulumi.export("region", aws.get_region().region)
pulumi.export("password", pulumi.Output.secret("hidden"))
"""

SETTINGS = "name: engine-test\nruntime: python\nstackConfigDir: config\n"


class Pulumi:
    """The stock CLI in a project folder."""

    def __init__(self, folder: Path, cloud: CloudDaemon) -> None:
        self.folder = folder
        engine = bootstrap.ensure_cli()
        path = [str(engine.folder), str(Path(sys.executable).parent), os.environ["PATH"]]
        self.environment = {
            **os.environ,
            **client.build_environment(cloud.running, cloud.state),
            **home.prepare_home(cloud.state),
            "PATH": os.pathsep.join(path),
        }

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def steps(self) -> dict[str, int]:
        """Return the number of steps that a preview reports, by kind."""
        summary: dict[str, int] = json.loads(self("preview", "--json"))["changeSummary"]
        return summary

    def outputs(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self("stack", "output", "--json"))
        return values


@pytest.fixture
def pulumi(tmp_path: Path, fresh_daemon: CloudDaemon) -> Pulumi:
    folder = tmp_path / "project"
    (folder / "config").mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text(SETTINGS)
    (folder / "__main__.py").write_text(PROGRAM)
    pulumi = Pulumi(folder, fresh_daemon)
    pulumi("stack", "init", "test")
    pulumi("config", "set", "aws:region", client.REGION)
    return pulumi


def test_the_stock_cli_provisions_changes_and_destroys(pulumi: Pulumi, fresh_daemon: CloudDaemon) -> None:
    s3 = fresh_daemon.client("s3")
    assert pulumi.steps() == {"create": 4}
    assert s3.list_buckets()["Buckets"] == []

    pulumi("up", "--yes")
    assert pulumi.outputs() == {
        "arn": "arn:aws:s3:::engine-test-lake",
        "region": client.REGION,
        "password": "[secret]",
    }
    assert s3.get_bucket_versioning(Bucket="engine-test-lake")["Status"] == "Enabled"
    assert pulumi.steps() == {"same": 4}

    pulumi("config", "set", "copies", "2")
    assert pulumi.steps() == {"same": 3, "update": 1}
    pulumi("up", "--yes")
    assert s3.get_bucket_tagging(Bucket="engine-test-lake")["TagSet"] == [{"Key": "copies", "Value": "2"}]

    s3.put_bucket_tagging(Bucket="engine-test-lake", Tagging={"TagSet": [{"Key": "copies", "Value": "by hand"}]})
    assert pulumi("refresh", "--yes", "--json").strip()
    pulumi("up", "--yes")
    assert s3.get_bucket_tagging(Bucket="engine-test-lake")["TagSet"] == [{"Key": "copies", "Value": "2"}]

    pulumi("destroy", "--yes")
    assert s3.list_buckets()["Buckets"] == []


def test_a_failing_program_fails_the_command(pulumi: Pulumi) -> None:
    (pulumi.folder / "__main__.py").write_text("raise ValueError('no use case of that name')\n")
    assert "no use case of that name" in pulumi("preview", code=1)


def test_the_region_of_the_environment_is_used_if_none_is_configured(pulumi: Pulumi, fresh_daemon: CloudDaemon) -> None:
    pulumi("config", "rm", "aws:region")
    pulumi.environment["AWS_REGION"] = "us-west-2"
    pulumi("up", "--yes")
    assert pulumi.outputs()["region"] == "us-west-2"
    where = fresh_daemon.client("s3").get_bucket_location(Bucket="engine-test-lake")
    assert where["LocationConstraint"] == "us-west-2"
    assert pulumi.steps() == {"same": 4}


def test_ensuring_the_cli_again_returns_the_same_engine_silently() -> None:
    first = bootstrap.ensure_cli()
    said: list[str] = []
    assert bootstrap.ensure_cli(said.append) == first
    assert said == []


def test_the_language_host_script_of_an_earlier_version_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bootstrap.ensure_cli()
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "pulumi").symlink_to(real.cli)
    host = folder / "pulumi-language-python"
    head = "#!/bin/sh\n# Written by millrace beside the CLI that it built: the Python language host."
    host.write_text(f'{head}\nexec python3 -P -m local.engine.language_host "$@"\n')
    monkeypatch.setattr(bootstrap, "version_folder", lambda: folder)
    assert bootstrap.ensure_cli() == bootstrap.Engine(folder, "built")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with subprocess.Popen([host], env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            assert 0 < int(started.stdout.readline()) < 65_536
        finally:
            started.terminate()
    # Pulumi's own script is left alone.
    host.write_text("#!/bin/sh\nexit 0\n")
    assert bootstrap.ensure_cli() == bootstrap.Engine(folder, "installed")
    assert host.read_text() == "#!/bin/sh\nexit 0\n"


def test_the_language_host_answers_what_the_engine_asks_for_its_metadata() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "engine.language_host"], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as started:
        try:
            assert started.stdout is not None
            with grpc.insecure_channel(f"127.0.0.1:{int(started.stdout.readline())}") as channel:
                host = language_pb2_grpc.LanguageRuntimeStub(channel)
                about = host.About(language_pb2.AboutRequest())
                assert about.executable == sys.executable
                assert about.version == platform.python_version()
                assert list(host.GetRequiredPackages(language_pb2.GetRequiredPackagesRequest()).packages) == []
                with pytest.raises(grpc.RpcError) as refused:
                    list(host.InstallDependencies(language_pb2.InstallDependenciesRequest()))
                assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
                assert "make setup" in refused.value.details()
        finally:
            started.terminate()


def test_the_language_host_does_not_import_the_sdk_before_a_program_needs_it() -> None:
    """Each operation starts two hosts, of which one runs no program."""
    code = "import engine.language_host, sys; print(sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "'grpc'" in loaded.stdout
    assert "'pulumi'" not in loaded.stdout


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"pid": os.getpid()}, "names no socket of the provider: stop the local cloud with `millrace local stop`"),
        ({"pid": os.getpid(), "provider_socket": None}, "names no socket of the provider"),
        ({"provider_socket": "p"}, "the local cloud is not running: start it with `millrace local start`"),
        ({"pid": None, "provider_socket": "p"}, "the local cloud is not running"),
        ([], "the local cloud is not running"),
    ],
)
def test_the_plugin_says_why_it_cannot_reach_the_provider(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], facts: Any, said: str
) -> None:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps(facts))
    assert relay.main(path) == 1
    assert said in capsys.readouterr().err


def test_the_plugin_ends_when_the_engine_that_started_it_was_killed(tmp_path: Path) -> None:
    facts = tmp_path / "daemon.json"
    facts.write_text(json.dumps({"pid": os.getpid(), "provider_socket": str(tmp_path / "p")}))
    engine = (
        "import subprocess, sys, time\n"
        f"plugin = subprocess.Popen([sys.executable, '-I', '-S', {relay.__file__!r}, {str(facts)!r}], stdout=-1)\n"
        "plugin.stdout.readline()\n"
        "print(plugin.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", engine], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        plugin = psutil.Process(int(process.stdout.readline()))
        process.kill()
    plugin.wait(timeout=10)
    assert not plugin.is_running()


@pytest.mark.parametrize("connects", [False, True], ids=["while it waits", "when the engine connects"])
def test_the_plugin_ends_when_the_local_cloud_is_gone(tmp_path: Path, connects: bool) -> None:
    """An engine that waits for a cloud that was killed would wait for ever."""
    facts = tmp_path / "daemon.json"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as cloud:
        facts.write_text(json.dumps({"pid": cloud.pid, "provider_socket": str(tmp_path / "p")}))
        command = [sys.executable, "-I", "-S", relay.__file__, str(facts)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as plugin:
            assert plugin.stdout is not None
            port = int(plugin.stdout.readline())
            cloud.kill()
            cloud.wait()
            if connects:
                socket.create_connection(("127.0.0.1", port)).close()
            _, said = plugin.communicate(timeout=10)
    assert plugin.returncode == 1
    assert said == "the local cloud has stopped: start it with `millrace local start`, and run this again\n"
