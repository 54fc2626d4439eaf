"""The first step: what is known at one instant, and the guard against unneeded automatic trainings."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millrace import Retraining, UseCase
from queries.packages import list_packages
from tests.local import pipelines
from tests.local.conftest import CloudDaemon
from tests.local.hosted import IMAGE
from tests.local.watched import alarm_on, make_topic
from tests.training import synthetic
from training import columns as c
from training.data.snapshot import Snapshot

NAME = "toy-guarded"
PIPELINE = f"{NAME}-local-training"


@dataclass
class Guarded:
    """A use case whose registry and pipeline exist; its data clock stands at the beginning of March 2024."""

    daemon: CloudDaemon
    pyz: Path
    case: UseCase
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

    def clear_registry(self) -> None:
        for each in list(list_packages(self.sagemaker, f"{NAME}-local")):
            self.sagemaker.delete_model_package(ModelPackageName=each["ModelPackageArn"])

    def ingest(
        self, base: Path, *arguments: str, as_of: str = synthetic.AS_OF, has_clock: bool = True, topic: str = ""
    ) -> tuple[dict[str, Any], str]:
        """Run the step; return its decision and what it prints."""
        clock = {"MILLRACE_CLOCK": "s3://toy-guarded/clock.json"} if has_clock else {}
        env = {**self.daemon.access, **clock, "MILLRACE_TOPIC": topic}
        done = synthetic.run_step(self.pyz, base, "ingest", "--as-of", as_of, *arguments, env=env)
        start = json.loads((base / "processing/output/start/start.json").read_text())
        # What trains has a snapshot, and nothing else has.
        assert (base / "processing/output/snapshot/manifest.json").exists() == bool(start["needed"])
        return start, done.stdout

    def is_needed(self, base: Path, *arguments: str, **more: Any) -> bool:
        return bool(self.ingest(base, *arguments, **more)[0]["needed"])


@pytest.fixture(scope="module")
def world(cloud_daemon: CloudDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    retraining = Retraining(
        on=("drift",),
        cooldown=timedelta(days=3),
        longest_cooldown=timedelta(days=10),
        per_day=2,
        min_new_labels=200,
    )
    case = synthetic.use_case(name=NAME, retraining=retraining)
    world = Guarded(cloud_daemon, synthetic.build(tmp_path_factory.mktemp("ingest"), case), case)
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket="toy-guarded", CreateBucketConfiguration={"LocationConstraint": synthetic.REGION})
    s3.put_object(Bucket="toy-guarded", Key="clock.json", Body=b'{"now": "2024-03-05T12:00:00Z"}')
    pipelines.create(world.sagemaker, PIPELINE, pipelines.process("Wait", "time.sleep(50)"))
    world.sagemaker.create_model_package_group(ModelPackageGroupName=f"{NAME}-local")
    yield world
    world.stop_all()


@pytest.fixture
def guarded(world: Guarded) -> Guarded:
    world.clear_registry()
    put_champion(world, "2024-03-01T00:00:00Z")
    return world


def put_champion(world: Guarded, trained_until: str) -> None:
    """Write the archive of which every registered model consists."""
    buffer = io.BytesIO()
    body = json.dumps({"trained_until": trained_until}).encode()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("model.json")
        member.size = len(body)
        tar.addfile(member, io.BytesIO(body))
    world.daemon.client("s3").put_object(Bucket="toy-guarded", Key="m.tar.gz", Body=buffer.getvalue())


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
    guarded.ingest(tmp_path, as_of="now")
    _, manifest = Snapshot.read(tmp_path / "processing/output/snapshot")
    assert manifest["as_of"] == "2024-03-05T12:00:00Z"


# -- the guard ---------------------------------------------------------------------------------------------------------


def test_one_training_at_a_time_unless_started_manually(guarded: Guarded, tmp_path: Path) -> None:
    first, second = guarded.start(), guarded.start()
    try:
        skipped, log = guarded.ingest(tmp_path / "2", "--trigger", "calibration", "--execution", second)
        reason = f"execution {first} was started before, still runs and trains on the same data"
        assert skipped == {
            "version": 1, "needed": 0, "as_of": synthetic.AS_OF, "trigger": "calibration", "code": "running",
            "reason": reason,
        }  # fmt: skip
        assert f"skipped: trigger 'calibration': {reason}" in log
        # The earlier one continues; otherwise two that start at the same time would both stop.
        assert guarded.is_needed(tmp_path / "1", "--trigger", "calibration", "--execution", first)
        assert guarded.is_needed(tmp_path / "m", "--trigger", "manual", "--execution", second)
    finally:
        guarded.stop_all()
    third = guarded.start()
    try:
        # An execution that has ended does not block a new one.
        assert guarded.is_needed(tmp_path / "3", "--trigger", "drift", "--execution", third)
    finally:
        guarded.stop_all()


def test_the_cooldown_prevents_retraining_on_nearly_the_same_data(guarded: Guarded, tmp_path: Path) -> None:
    guarded.register("2024-03-20T00:00:00Z")
    assert guarded.is_needed(tmp_path / "1", "--trigger", "drift")
    version = guarded.register("2024-03-29T00:00:01Z").rpartition("/")[2]
    skipped, _ = guarded.ingest(tmp_path / "2", "--trigger", "drift")
    assert (skipped["needed"], skipped["code"]) == (0, "cooldown")
    assert skipped["reason"] == (
        f"version {version} of {NAME}-local was trained on data as of 2024-03-29T00:00:01Z, this would be as of "
        "2024-04-01T00:00:00Z; expected at least 3 days, 0:00:00 between them: retraining.cooldown, doubled for each "
        "of 0 refused models since the champion"
    )
    assert guarded.is_needed(tmp_path / "3", "--trigger", "drift", as_of="2024-04-01T00:00:01Z")
    assert guarded.is_needed(tmp_path / "4")
    guarded.register(None)
    skipped, log = guarded.ingest(tmp_path / "5", "--trigger", "schedule")
    assert skipped["code"] == "cooldown"
    assert "does not record the time of its training data; it is not counted" in log


def test_every_refused_model_doubles_the_cooldown_up_to_a_bound(guarded: Guarded, tmp_path: Path) -> None:
    guarded.register("2024-03-01T00:00:00Z")
    # Three days, doubled once, then twice to twelve, of which ten are the bound.
    for number, days in enumerate((6, 10, 10)):
        guarded.register("2024-03-20T00:00:00Z", "Rejected")
        needed = [
            guarded.is_needed(
                tmp_path / f"{number}-{day}", "--trigger", "drift", as_of=f"2024-03-{20 + day:02}T00:00:00Z"
            )
            for day in (days - 1, days)
        ]
        assert needed == [False, True]
    for _ in range(40):
        guarded.register("2024-03-20T00:00:00Z", "Rejected")
    skipped, _ = guarded.ingest(tmp_path / "many", "--trigger", "drift", as_of="2024-03-22T00:00:00Z")
    assert "expected at least 10 days, 0:00:00 between them" in skipped["reason"]


def test_a_day_has_a_budget_of_trainings(guarded: Guarded, tmp_path: Path) -> None:
    free = guarded.case.model_copy(update={"retraining": Retraining(cooldown=timedelta(0), per_day=2)})
    eager = replace(guarded, pyz=synthetic.build(tmp_path, free))
    guarded.register("2024-03-31T12:00:00Z")
    assert eager.is_needed(tmp_path / "1", "--trigger", "drift")
    guarded.register("2024-03-31T13:00:00Z", "PendingManualApproval")
    skipped, _ = eager.ingest(tmp_path / "2", "--trigger", "drift")
    assert skipped["code"] == "budget"
    assert skipped["reason"].startswith("2 models were trained within a day before 2024-04-01T00:00:00Z; at most 2 are")
    assert eager.is_needed(tmp_path / "3", "--trigger", "drift", as_of="2024-04-01T12:00:00Z")
    assert eager.is_needed(tmp_path / "4")


def test_an_old_time_of_the_data_does_not_defeat_the_cooldown(guarded: Guarded, tmp_path: Path) -> None:
    """Where data time follows the wall clock, the model was trained now, whatever the time of its data."""
    guarded.register("2024-03-01T00:00:00Z")
    skipped, _ = guarded.ingest(tmp_path / "1", "--trigger", "drift", has_clock=False)
    assert skipped["code"] == "cooldown"


def test_the_recheck_trains_only_while_an_alarm_of_the_use_case_fires(guarded: Guarded, tmp_path: Path) -> None:
    guarded.register("2024-03-20T00:00:00Z")
    cloudwatch = guarded.daemon.client("cloudwatch")
    alarm = f"{NAME}-local-drift"
    cloudwatch.put_metric_alarm(**alarm_on(alarm, TreatMissingData="ignore"))
    skipped, _ = guarded.ingest(tmp_path / "1", "--trigger", "recheck")
    assert (skipped["code"], skipped["reason"]) == (
        "no_alarm", f"none of the alarms that retrain is in ALARM: {alarm}"
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="the world has changed")
    assert guarded.is_needed(tmp_path / "2", "--trigger", "recheck")
    assert not guarded.is_needed(tmp_path / "3", "--trigger", "recheck", as_of="2024-03-22T00:00:00Z")


def test_a_use_case_may_ask_a_person_once_in_a_cooldown(guarded: Guarded, tmp_path: Path) -> None:
    guarded.register("2024-03-20T00:00:00Z")
    topic, inbox = make_topic(guarded.daemon)
    synthetic.make_lake(guarded.daemon, guarded.case)
    retraining = Retraining(on=("drift",), cooldown=timedelta(days=3), review=True)
    asking_case = guarded.case.model_copy(update={"retraining": retraining})
    asking = replace(guarded, pyz=synthetic.build(tmp_path, asking_case), case=asking_case)
    execution, trigger = guarded.start(), f"{NAME}-local-drift"
    try:
        asked, _ = asking.ingest(tmp_path / "1", "--trigger", trigger, "--execution", execution, topic=topic)
        assert (asked["code"], asked["as_of"]) == ("review", synthetic.AS_OF)
        assert asked["reason"] == (f"trigger {trigger} asks whether to train (retraining.review); newest report: none")
        told = inbox.next_event()
        assert told["Subject"] == f"{NAME}-local: train a new model?"
        assert told["Message"].splitlines() == [
            asked["reason"],
            f"Train: `millrace approve {NAME} --env local --retraining`. Do not: `millrace reject {NAME} --env local "
            f"--retraining --reason …`. Stop asking: `millrace pause {NAME} --env local --only retraining`.",
        ]
        # The pipeline keeps the question in the lake.
        s3, lake = guarded.daemon.client("s3"), synthetic.make_lake(guarded.daemon, asking_case)
        key = f"snapshots/{execution.rpartition('/')[2]}/start/start.json"
        s3.put_object(Bucket=lake, Key=key, Body=json.dumps(asked).encode())
    finally:
        guarded.stop_all()
    again, _ = asking.ingest(tmp_path / "2", "--trigger", "drift", as_of="2024-04-03T00:00:00Z", topic=topic)
    assert (again["code"], again["asked"], inbox.messages()) == ("asked", synthetic.AS_OF, [])
    # Who declines is not asked again until the cooldown is over, and the question is no longer open.
    answer = {"version": 1, "asked": synthetic.AS_OF, "at": "2024-04-02T09:00:00Z", "by": "anna", "reason": "holidays"}
    ssm, parameter = guarded.daemon.client("ssm"), f"/millrace/{NAME}-local/answered"
    ssm.put_parameter(Name=parameter, Value=json.dumps(answer), Type="String")
    declined, _ = asking.ingest(tmp_path / "5", "--trigger", "drift", as_of="2024-04-03T00:00:00Z", topic=topic)
    assert (declined["code"], declined.get("asked", ""), inbox.messages()) == ("declined", "", [])
    assert declined["reason"] == (
        f"anna decided at 2024-04-02T09:00:00+00:00 not to train on data as of {synthetic.AS_OF}: holidays"
    )
    later, _ = asking.ingest(tmp_path / "3", "--trigger", "drift", as_of="2024-04-04T00:00:00Z", topic=topic)
    assert later["code"] == "review"
    assert asking.is_needed(tmp_path / "4")


def test_too_few_new_labels_are_no_reason_to_train(guarded: Guarded, tmp_path: Path) -> None:
    """An order every half hour; its label takes two hours."""
    version = guarded.register("2024-03-20T00:00:00Z").rpartition("/")[2]
    put_champion(guarded, "2024-03-27T20:00:00Z")
    skipped, _ = guarded.ingest(tmp_path / "1", "--trigger", "drift")
    assert skipped["code"] == "too_few_labels"
    assert skipped["reason"] == (
        f"196 labelled rows are newer than the data of version {version} of {NAME}-local; expected at least 200 "
        "(retraining.min_new_labels), and enough of each outcome in the newer half to judge by"
    )
    put_champion(guarded, "2024-03-27T18:00:00Z")
    assert guarded.is_needed(tmp_path / "2", "--trigger", "drift")
    # Without a champion there is all to learn; a person is always obeyed.
    put_champion(guarded, "2024-03-31T00:00:00Z")
    assert guarded.is_needed(tmp_path / "3", "--trigger", "drift", "--champion", "none")
    assert guarded.is_needed(tmp_path / "4")
