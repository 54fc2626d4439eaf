"""Tables in the feature store, as readers of both stores see them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from millrace import Expect, UseCase
from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually
from tests.training import synthetic
from training.data.feature_store import format_value
from training.serving.lookup import parse_value

HOUR = np.timedelta64(1, "h")


def make_use_case(name: str, **changes: Any) -> UseCase:
    """Return a use case with its own feature groups, which are named after it."""
    return synthetic.use_case(name=f"toy-pub-{name}", **changes)


def publish(
    daemon: CloudDaemon, folder: Path, of: UseCase, as_of: str, *, check: bool = True, source: str | None = None
) -> Any:
    pyz = synthetic.build(folder, of, source)
    env = daemon.access
    return synthetic.run_step(pyz, folder / "job", "publish", "--as-of", as_of, env=env, check=check)


def read_online(daemon: CloudDaemon, group: str, entity: str) -> dict[str, str] | None:
    answer = daemon.client("sagemaker-featurestore-runtime").get_record(
        FeatureGroupName=group, RecordIdentifierValueAsString=entity
    )
    found = answer.get("Record")
    return None if found is None else {each["FeatureName"]: each["ValueAsString"] for each in found}


def read_offline(daemon: CloudDaemon, group: str) -> list[dict[str, Any]]:
    """Return the rows of the offline store; deletes the group, which flushes pending rows."""
    sagemaker, s3 = daemon.client("sagemaker"), daemon.client("s3")
    described = sagemaker.describe_feature_group(FeatureGroupName=group)
    uri = described["OfflineStoreConfig"]["S3StorageConfig"]["ResolvedOutputS3Uri"]
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    sagemaker.delete_feature_group(FeatureGroupName=group)
    eventually(
        lambda: (
            group
            not in [
                each["FeatureGroupName"]
                for each in sagemaker.list_feature_groups(NameContains=group)["FeatureGroupSummaries"]
            ]
        )
    )
    keys = [each["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for each in page.get("Contents", [])]  # fmt: skip
    bodies = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
    return [row for body in bodies for row in pq.read_table(io.BytesIO(body)).to_pylist()]


def find_newest_rows(of: UseCase, table: str, as_of: str) -> dict[str, dict[str, Any]]:
    """Return the last row of each entity that was known by then, selected by hand from all rows."""
    declared = next(each for each in of.tables if each.name == table)
    at = np.datetime64(as_of.removesuffix("Z"), "us")
    rows = synthetic.functions(of).table(declared, synthetic.FIRST, synthetic.LAST)
    found: dict[str, dict[str, Any]] = {}
    for row in range(len(rows[declared.entity])):
        if rows[declared.event_time][row] <= at:
            found[rows[declared.entity][row]] = {name: values[row] for name, values in rows.items()}
    return found


def test_the_newest_row_of_each_entity_is_online_bit_for_bit(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    of = make_use_case("newest")
    groups = synthetic.make_feature_groups(cloud_daemon, of)
    seen_missing = set()
    # Publish repeatedly, forwards in time: newer rows replace the existing ones.
    for as_of in ("2024-03-01T07:00:00Z", "2024-03-01T10:00:00Z", "2024-03-02T00:00:00Z", "2024-03-03T11:00:00Z"):
        publish(cloud_daemon, tmp_path, of, as_of)
        for table in of.tables:
            expected = find_newest_rows(of, table.name, as_of)
            assert len(expected) == {"station_reports": 3, "queues": 4}[table.name]
            for entity, row in expected.items():
                record = read_online(cloud_daemon, groups[table.name], entity)
                assert record is not None
                time = record.pop(table.event_time)
                assert np.datetime64(time.removesuffix("Z"), "us") == row[table.event_time]
                assert len(time) == len("2024-03-01T07:00:00.000Z")
                assert record.pop(table.entity) == entity
                for name, kind in table.columns.items():
                    value = row[name]
                    if value is None or value != value:
                        assert name not in record
                        seen_missing.add(name)
                    elif kind == "text":
                        assert record.pop(name) == value
                    else:
                        # Other readers of the store parse the text as a double.
                        assert np.float32(float(record.pop(name))).tobytes() == np.float32(value).tobytes()
                assert record == {}
    assert seen_missing


def test_repeated_and_earlier_runs_change_nothing(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    of = make_use_case("again")
    groups = synthetic.make_feature_groups(cloud_daemon, of)
    first = publish(cloud_daemon, tmp_path, of, "2024-03-05T12:00:00Z")
    before = read_online(cloud_daemon, groups["queues"], "1")
    assert "published queues as of 2024-03-05T12:00:00Z: 4 row(s) online, 0 more offline" in first.stdout
    for as_of in ("2024-03-05T12:00:00Z", "2024-03-04T00:00:00Z"):
        again = publish(cloud_daemon, tmp_path, of, as_of)
        for table in groups:
            assert f"published {table} as of {as_of}: 0 row(s) online, 0 more offline" in again.stdout
    assert read_online(cloud_daemon, groups["queues"], "1") == before
    assert len(read_offline(cloud_daemon, groups["queues"])) == 4


def test_rows_of_the_last_max_age_go_to_the_offline_store(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    of = make_use_case("age")
    groups = synthetic.make_feature_groups(cloud_daemon, of)
    as_of = "2024-03-05T12:00:00Z"
    publish(cloud_daemon, tmp_path, of, as_of)
    rows = synthetic.functions(of).table(of.tables[0], synthetic.FIRST, synthetic.LAST)
    at, last = np.datetime64(as_of[:-1], "us"), find_newest_rows(of, "station_reports", as_of)
    expected = set()
    for station, time in zip(rows["station"], rows["known_at"], strict=True):
        # At most two hours before the run, and before the newest row of the entity.
        if at - 2 * HOUR <= time <= at and time >= last[station]["known_at"] - 2 * HOUR:
            expected.add((station, f"{np.datetime_as_string(time, unit='ms')}Z"))
    found = [(row["station"], row["known_at"]) for row in read_offline(cloud_daemon, groups["station_reports"])]
    assert sorted(found) == sorted(expected)
    assert len(found) > 3


def test_a_backfill_writes_every_row_of_the_snapshot_offline(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    of = make_use_case("backfill", history="P5D")
    groups = synthetic.make_feature_groups(cloud_daemon, of)
    pyz, job, env = synthetic.build(tmp_path, of), tmp_path / "job", cloud_daemon.access
    synthetic.run_step(pyz, job, "ingest", "--as-of", "2024-02-10T00:00:00Z", env=env)
    synthetic.hand_over(job / "processing" / "output" / "snapshot", job / "processing" / "input" / "snapshot")
    synthetic.run_step(pyz, job, "publish", "--snapshot", "--backfill", env=env)
    for table in of.tables:
        rows = pq.read_table(job / "processing" / "input" / "snapshot" / f"{table.name}.parquet").to_pylist()
        for entity, row in find_newest_rows(of, table.name, "2024-02-10T00:00:00Z").items():
            record = read_online(cloud_daemon, groups[table.name], entity)
            assert record is not None
            assert np.datetime64(record[table.event_time][:-1], "us") == row[table.event_time]
        found = read_offline(cloud_daemon, groups[table.name])
        assert len(found) == len(rows) > 400
        in_store = {(row[table.entity], np.datetime64(row[table.event_time][:-1], "us")) for row in found}
        assert in_store == {(row[table.entity], np.datetime64(row[table.event_time], "us")) for row in rows}


def test_a_record_of_the_same_time_is_completed(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    of = make_use_case("column")
    groups = synthetic.make_feature_groups(cloud_daemon, of)
    as_of = "2024-03-05T12:00:00Z"
    row = find_newest_rows(of, "queues", as_of)["2"]
    record = {"shop": "2", "counted_at": f"{np.datetime_as_string(row['counted_at'], unit='ms')}Z"}
    cloud_daemon.client("sagemaker-featurestore-runtime").put_record(
        FeatureGroupName=groups["queues"],
        Record=[{"FeatureName": name, "ValueAsString": text} for name, text in record.items()],
    )
    publish(cloud_daemon, tmp_path, of, as_of)
    found = read_online(cloud_daemon, groups["queues"], "2")
    assert found is not None
    assert np.float32(found["queue"]) == row["queue"]


def test_rows_that_break_a_rule_are_not_published(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    as_of = "2024-03-05T12:00:00Z"
    winds = {
        entity: row["wind"] for entity, row in find_newest_rows(make_use_case("rule"), "station_reports", as_of).items()
    }
    station = max(winds, key=lambda name: np.nan_to_num(winds[name]))
    bound = float(winds[station]) - 0.5
    of = make_use_case("rule", expectations=[Expect("wind", table="station_reports", at_most=bound)])
    groups = synthetic.make_feature_groups(cloud_daemon, of)
    done = publish(cloud_daemon, tmp_path, of, as_of)
    assert "station_reports: left out" in done.stdout
    found = read_online(cloud_daemon, groups["station_reports"], station)
    assert found is not None
    assert float(found.get("wind", 0)) <= bound
    assert (
        np.datetime64(found["known_at"][:-1], "us")
        < find_newest_rows(of, "station_reports", as_of)[station]["known_at"]
    )


def test_a_missing_group_fails_the_step(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    done = publish(cloud_daemon, tmp_path, make_use_case("nowhere"), "2024-03-05T12:00:00Z", check=False)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: publish: feature group toy-pub-nowhere-local-station-reports cannot be read")
    assert "pulumi up" in line
    assert (tmp_path / "job" / "output" / "message").read_text() in line


def test_a_refused_record_fails_the_step_and_names_table_and_entity(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    of = make_use_case("narrow")
    synthetic.make_feature_groups(cloud_daemon, of, without="queue")
    done = publish(cloud_daemon, tmp_path, of, "2024-03-05T12:00:00Z", check=False)
    assert done.returncode == 1
    assert "error: publish: table queues, entity '" in done.stderr
    assert "FeatureName [queue] is not a feature of FeatureGroup toy-pub-narrow-local-queues" in done.stderr


@pytest.mark.parametrize(("wrong", "word"), [("np.inf", "is inf; expected a finite number")])
def test_an_infinite_number_fails_the_step(cloud_daemon: CloudDaemon, tmp_path: Path, wrong: str, word: str) -> None:
    of = make_use_case("inf")
    synthetic.make_feature_groups(cloud_daemon, of)
    source = synthetic.data(of).replace("np.float32) / np.float32(3)", f"np.float32) * np.float32({wrong})")
    done = publish(cloud_daemon, tmp_path, of, "2024-03-05T12:00:00Z", check=False, source=source)
    assert done.returncode == 1
    assert word in done.stderr


def test_float32_values_round_trip_through_text_and_double() -> None:
    bits = np.random.default_rng(1).integers(0, 2**32, 50_000, dtype=np.uint32)
    values = np.concatenate([bits.view(np.float32), np.array([0.0, -0.0, 1e-45, 3.4028235e38, 1 / 3], np.float32)])
    for value in values[np.isfinite(values)]:
        text = format_value(value)
        assert text is not None
        assert np.array(float(text)).astype(np.float32).tobytes() == value.tobytes()
        assert parse_value("number", text).tobytes() == value.tobytes()
    assert format_value(np.float32(39.02)) == "39.02"
    assert format_value(np.float32("nan")) is None
    assert format_value(None) is None
