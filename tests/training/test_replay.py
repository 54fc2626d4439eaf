"""A replay against the real model server, and the monitor on the data that it captured."""

from __future__ import annotations

import io
import json
import tarfile
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from millrace import DeclarationError, Monitoring
from tests.local.conftest import CloudDaemon
from tests.local.hosted import REGION, eventually, variant
from tests.training import synthetic
from training.job import Job
from training.serving import replay

ENDPOINT = "toy-orders-local"
LAKE = f"{ENDPOINT}-lake-{synthetic.ACCOUNT}"
IMAGE = f"{synthetic.ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/millrace:local"
#: Data time before the first replay.
START = "2024-04-01T00:00:00Z"


@dataclass
class Stage:
    daemon: CloudDaemon
    pyz: Path

    def replay(self, base: Path, since: str, until: str, *more: str, clock: bool = True, check: bool = True) -> Any:
        arguments = ["replay", "--since", since, "--until", until, *more]
        return synthetic.run_step(self.pyz, base, *arguments, env=self.variables(clock), check=check)

    def variables(self, clock: bool = True) -> dict[str, str]:
        more = {"MILLRACE_CLOCK": f"s3://{LAKE}/clock.json"} if clock else {}
        return {**self.daemon.access, **more}

    @property
    def clock(self) -> str:
        body = self.daemon.client("s3").get_object(Bucket=LAKE, Key="clock.json")["Body"].read()
        return str(json.loads(body)["now"])

    @property
    def clocks(self) -> list[str]:
        """Return all values that the clock has had, oldest first."""
        s3 = self.daemon.client("s3")
        versions = s3.list_object_versions(Bucket=LAKE, Prefix="clock.json")["Versions"]
        bodies = [s3.get_object(Bucket=LAKE, Key="clock.json", VersionId=item["VersionId"]) for item in versions]
        return [str(json.loads(body["Body"].read())["now"]) for body in reversed(bodies)]

    def captured(self) -> list[dict[str, Any]]:
        s3 = self.daemon.client("s3")
        found = s3.list_objects_v2(Bucket=LAKE, Prefix=f"capture/{ENDPOINT}/main/").get("Contents", [])
        bodies = [s3.get_object(Bucket=LAKE, Key=item["Key"])["Body"].read().decode() for item in found]
        return [json.loads(line) for body in bodies for line in body.splitlines()]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("replay")
    daemon = CloudDaemon(folder / "state", images={"millrace": synthetic.REPOSITORY / "training" / "image"})
    daemon.start()
    try:
        case = synthetic.use_case(monitoring=Monitoring(window=timedelta(days=7)))
        pyz = synthetic.build(folder, case)
        _deploy_endpoint(daemon, synthetic.train_model(pyz, folder) / "model")
        yield Stage(daemon, pyz)
    finally:
        daemon.stop()


def _deploy_endpoint(daemon: CloudDaemon, model: Path) -> None:
    s3, sagemaker = daemon.client("s3"), daemon.client("sagemaker")
    s3.create_bucket(Bucket=LAKE, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=LAKE, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=LAKE, Key="clock.json", Body=json.dumps({"now": START}).encode())
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for path in sorted(model.iterdir()):
            tar.add(path, path.name)
    s3.put_object(Bucket=LAKE, Key="model.tar.gz", Body=archive.getvalue())
    variables = {"MILLRACE_ENVIRONMENT": "local", "MILLRACE_ACCOUNT": synthetic.ACCOUNT}
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{LAKE}/model.tar.gz", "Environment": variables}
    sagemaker.create_model(ModelName="toy", PrimaryContainer=container)
    sagemaker.create_endpoint_config(
        EndpointConfigName="toy",
        ProductionVariants=[variant("toy")],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{LAKE}/capture",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        },
    )
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="toy")

    def settled() -> Any:
        status = sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"]
        return status if status != "Creating" else None

    assert eventually(settled, 90) == "InService"


def test_a_replay_moves_the_clock_and_captures_data_for_the_monitor(stage: Stage, tmp_path: Path) -> None:
    done = stage.replay(tmp_path / "replay", START, "2024-04-08T00:00:00Z", "--batch", "30", "--step-hours", "24")
    assert stage.clock == "2024-04-08T00:00:00Z"
    steps = [line for line in done.stdout.splitlines() if line.startswith("until ")]
    assert [line.split(": ")[0] for line in steps] == [f"until 2024-04-0{day}T00:00:00Z" for day in range(2, 9)]
    # 48 orders a day, 30 a request.
    assert "336 rows in 14 requests" in done.stdout
    records = eventually(lambda: found if len(found := stage.captured()) == 14 else None, 30)
    assert len({record["eventMetadata"]["inferenceId"] for record in records}) == 14
    monitored = synthetic.run_step(stage.pyz, tmp_path / "monitor", "monitor", "--as-of", "now", env=stage.variables())
    report = json.loads((tmp_path / "monitor/processing/output/report/monitor.json").read_text())
    assert report["as_of"] == "2024-04-08T00:00:00Z"
    assert report["rows"] == 336
    assert report["labelled"] == 333
    assert report["captured"]["unreadable"] == {}
    # The sent values match the join, and the answers match the model.
    assert (report["skew"]["compared"], report["skew"]["rows"]) == (336, 0)
    assert report["by_current_model"] == 336
    assert report["drift"] is not None
    assert "no feature of 336 rows differs from training" in monitored.stdout
    # Nothing is wrong, and nothing is said to be.
    assert [check["text"] for check in report["checks"] if check["ratio"] > 1] == []
    assert report["measured"] is True


def test_the_clock_never_goes_back(stage: Stage, tmp_path: Path) -> None:
    before = stage.clock
    done = stage.replay(tmp_path, "2024-02-01T00:00:00Z", "2024-02-02T00:00:00Z", check=False)
    assert done.returncode == 1
    assert f"--until is 2024-02-02T00:00:00Z, but data time is already {before} and cannot move back" in done.stderr
    assert stage.clock == before


def test_a_restarted_replay_leaves_the_clock_until_it_catches_up(stage: Stage, tmp_path: Path) -> None:
    stage.replay(tmp_path / "one", "2024-04-08T00:00:00Z", "2024-04-08T12:00:00Z", "--step-hours", "6")
    stage.replay(tmp_path / "two", "2024-04-08T00:00:00Z", "2024-04-08T18:00:00Z", "--step-hours", "6")
    assert stage.clocks[-3:] == [f"2024-04-08T{hour}:00:00Z" for hour in ("06", "12", "18")]
    assert stage.clocks == sorted(stage.clocks)


def test_without_a_clock_the_endpoint_must_be_named(stage: Stage, tmp_path: Path) -> None:
    span = ("2024-04-09T00:00:00Z", "2024-04-09T01:00:00Z")
    refused = stage.replay(tmp_path / "one", *span, clock=False, check=False)
    assert refused.returncode == 1
    assert "name the endpoint with --endpoint if that is intended" in refused.stderr
    before = stage.clock
    done = stage.replay(tmp_path / "two", *span, "--endpoint", ENDPOINT, clock=False)
    assert "2 rows in 1 requests" in done.stdout
    assert stage.clock == before


def test_invalid_options_are_refused_together(stage: Stage, tmp_path: Path) -> None:
    options = ("--step-hours", "0", "--batch", "0")
    done = stage.replay(tmp_path, "2024-04-02T00:00:00Z", "2024-04-01T00:00:00Z", *options, check=False)
    assert done.returncode == 1
    for part in ("expected an earlier --since", "--step-hours is 0", "--batch is 0; expected 1 to"):
        assert part in done.stderr
    future = stage.replay(tmp_path, "2024-04-02T00:00:00Z", "2999-01-01T00:00:00Z", check=False)
    assert "expected a time in the past" in future.stderr


@pytest.mark.parametrize("hours", [1e-10, 1e-4, 0.0, -1.0, float("nan"), 745.0])
def test_a_step_outside_its_bounds_is_refused(tmp_path: Path, hours: float) -> None:
    job = Job(tmp_path, synthetic.build(tmp_path, synthetic.use_case()), {"AWS_REGION": REGION})
    options = Namespace(since=START, until="2024-04-02T00:00:00Z", step_hours=hours, batch=1, endpoint="")
    with pytest.raises(DeclarationError, match=f"--step-hours is {hours:g}; expected 0.001 to 744"):
        replay.run_replay(job, options)


def test_an_endpoint_error_ends_the_replay_with_its_message(stage: Stage, tmp_path: Path) -> None:
    done = stage.replay(
        tmp_path, "2024-04-09T00:00:00Z", "2024-04-09T01:00:00Z", "--endpoint", "nobody", clock=False, check=False
    )
    assert done.returncode == 1
    assert "Endpoint nobody of account 123456789012 not found" in done.stderr


def test_the_clock_does_not_move_past_unsent_events(stage: Stage, tmp_path: Path) -> None:
    before = stage.clock
    gap = stage.replay(tmp_path / "gap", "2024-04-20T00:00:00Z", "2024-04-21T00:00:00Z", check=False)
    assert f"but data time is {before}, so that the events between would be missed" in gap.stderr
    refused = stage.replay(tmp_path / "no", before, "2024-04-10T00:00:00Z", "--endpoint", "nobody", check=False)
    assert "Endpoint nobody of account 123456789012 not found" in refused.stderr
    # The synthetic orders begin in 2024.
    empty = stage.replay(tmp_path / "year", "2022-04-01T00:00:00Z", "2024-04-10T00:00:00Z", check=False)
    assert "events() returned none from 2022-04-01T00:00:00Z" in empty.stderr
    assert stage.clock == before
