"""The first step: what is known at one instant, and the guard against unneeded automatic trainings."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millrace import Retraining
from tests.local import pipelines
from tests.local.conftest import CloudDaemon
from tests.local.hosted import IMAGE
from tests.training import synthetic
from training import columns as c
from training.data.snapshot import Snapshot

NAME = "toy-guarded"
PIPELINE = f"{NAME}-local-training"


@dataclass
class Guarded:
    daemon: CloudDaemon
    pyz: Path
    running: list[str] = field(default_factory=list)

    @property
    def sagemaker(self) -> Any:
        return self.daemon.client("sagemaker")

    def start(self) -> str:
        arn = pipelines.start(self.sagemaker, PIPELINE)
        self.running.append(arn)
        return arn

    def stop_all(self) -> None:
        while self.running:
            arn = self.running.pop()
            self.sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
            pipelines.wait_for_execution(self.sagemaker, arn)

    def register(self, as_of: str | None, status: str = "Approved") -> str:
        metadata = {"CustomerMetadataProperties": {"as_of": as_of}} if as_of else {}
        return str(self.sagemaker.create_model_package(
            ModelPackageGroupName=f"{NAME}-local", ModelApprovalStatus=status, **metadata,
            InferenceSpecification={
                "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://toy-guarded/m.tar.gz"}],
                "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"],
            },
        )["ModelPackageArn"])  # fmt: skip

    def ingest(self, base: Path, *arguments: str, as_of: str = synthetic.AS_OF) -> subprocess.CompletedProcess[str]:
        env = self.daemon.access
        return synthetic.run_step(self.pyz, base, "ingest", "--as-of", as_of, *arguments, env=env, check=False)


@pytest.fixture(scope="module")
def guarded(cloud_daemon: CloudDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    case = synthetic.use_case(name=NAME, retraining=Retraining(cooldown=timedelta(days=3)))
    world = Guarded(cloud_daemon, synthetic.build(tmp_path_factory.mktemp("ingest"), case))
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="toy-guarded", CreateBucketConfiguration={"LocationConstraint": synthetic.REGION})
    s3.put_object(Bucket="toy-guarded", Key="m.tar.gz", Body=b"a model")
    pipelines.create(world.sagemaker, PIPELINE, pipelines.process("Wait", "time.sleep(50)"))
    world.sagemaker.create_model_package_group(ModelPackageGroupName=f"{NAME}-local")
    yield world
    world.stop_all()


def test_a_snapshot_is_taken_and_reported(tmp_path: Path) -> None:
    pyz = synthetic.build(tmp_path, synthetic.use_case())
    done = synthetic.run_step(pyz, tmp_path / "job", "ingest", "--as-of", synthetic.AS_OF)
    snapshot, manifest = Snapshot.read(tmp_path / "job/processing/output/snapshot")
    assert manifest["as_of"] == "2024-04-01T00:00:00Z"
    assert manifest["since"] == "2024-02-01T00:00:00Z"
    # Two months of half-hourly orders; a label takes two hours, and one that is known at that instant counts.
    assert {name: table["rows"] for name, table in manifest["tables"].items() if name in ("events", "labels")} == {
        "events": 60 * 48, "labels": 60 * 48 - 3
    }  # fmt: skip
    assert snapshot.data["labels"]["known_at"].max() == np.datetime64("2024-04-01", "us")
    assert f"sha256 {manifest['sha256'][:16]}" in done.stdout


def test_known_times_are_rounded_up_to_milliseconds(tmp_path: Path) -> None:
    pyz = synthetic.build(tmp_path, synthetic.use_case())
    synthetic.run_step(pyz, tmp_path / "job", "ingest", "--as-of", synthetic.AS_OF)
    rows = c.read(tmp_path / "job/processing/output/snapshot/queues.parquet")
    stamps = rows["counted_at"].astype(np.int64)
    assert np.all(stamps % 1000 == 0)
    functions = synthetic.functions(synthetic.use_case())
    raw = vars(functions._modules[0])["queues"](
        rows["counted_at"].min() - np.timedelta64(1, "s"), rows["counted_at"].max()
    )
    late = np.sort(raw["counted_at"].astype(np.int64))
    assert np.all((stamps[: len(late)] - late >= 0) & (stamps[: len(late)] - late < 1000))


def test_now_is_read_from_the_data_clock(guarded: Guarded, tmp_path: Path) -> None:
    body = json.dumps({"now": "2024-03-05T12:00:00Z"}).encode()
    guarded.daemon.client("s3").put_object(Bucket="toy-guarded", Key="clock.json", Body=body)
    env = {**guarded.daemon.access, "MILLRACE_CLOCK": "s3://toy-guarded/clock.json"}
    synthetic.run_step(guarded.pyz, tmp_path, "ingest", env=env)
    _, manifest = Snapshot.read(tmp_path / "processing/output/snapshot")
    assert manifest["as_of"] == "2024-03-05T12:00:00Z"


def test_one_training_at_a_time_unless_started_manually(guarded: Guarded, tmp_path: Path) -> None:
    first, second = guarded.start(), guarded.start()
    try:
        refused = guarded.ingest(tmp_path / "2", "--trigger", "calibration", "--execution", second)
        assert refused.returncode == 1
        message = (tmp_path / "2/output/message").read_text()
        assert message.startswith(
            f"training was not started: trigger 'calibration': execution {first} of {PIPELINE} was started"
        )
        assert not (tmp_path / "2/processing/output/snapshot").exists()
        # The earlier one continues; otherwise two that start at the same time would both stop.
        assert guarded.ingest(tmp_path / "1", "--trigger", "calibration", "--execution", first).returncode == 0
        assert guarded.ingest(tmp_path / "m", "--trigger", "manual", "--execution", second).returncode == 0
    finally:
        guarded.stop_all()
    third = guarded.start()
    try:
        # An execution that has ended does not block a new one.
        assert guarded.ingest(tmp_path / "3", "--trigger", "drift", "--execution", third).returncode == 0
    finally:
        guarded.stop_all()


def test_the_cooldown_prevents_retraining_on_nearly_the_same_data(guarded: Guarded, tmp_path: Path) -> None:
    guarded.register("2024-03-20T00:00:00Z")
    assert guarded.ingest(tmp_path / "1", "--trigger", "drift").returncode == 0
    # A rejected model counts: the same data would be rejected again.
    guarded.register("2024-03-29T00:00:01Z", "Rejected")
    refused = guarded.ingest(tmp_path / "2", "--trigger", "drift")
    assert refused.returncode == 1
    assert (
        f"training was not started: trigger 'drift': version 2 of {NAME}-local was trained on data as of "
        "2024-03-29T00:00:01Z, this would be as of 2024-04-01T00:00:00Z; "
        "expected at least 3 days, 0:00:00 between them (retraining.cooldown)"
    ) in refused.stderr
    assert guarded.ingest(tmp_path / "3", "--trigger", "drift", as_of="2024-04-01T00:00:01Z").returncode == 0
    assert guarded.ingest(tmp_path / "4").returncode == 0
    guarded.register(None)
    unknown = guarded.ingest(tmp_path / "5", "--trigger", "schedule")
    assert unknown.returncode == 0
    assert "does not record the time of its training data; no cooldown applies" in unknown.stdout
