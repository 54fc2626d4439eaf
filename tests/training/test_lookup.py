"""Lookups of the server: bit for bit the values of the offline join; rows that are too new or too old are missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from millrace import UseCase
from tests.local.conftest import CloudDaemon
from tests.training import synthetic
from tests.training.served import Server, serving
from training.data.feature_store import StoreError, fetch_records
from training.data.join import join

CASE = synthetic.use_case(name="toy-lookup", history="P20D")
LEAD = np.timedelta64(30, "m")
NAMES = ("station_reports_wind", "station_reports_sky", "queues_queue")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.build(tmp_path_factory.mktemp("bundle"), CASE)


@pytest.fixture(scope="module")
def base(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.train_model(bundle, tmp_path_factory.mktemp("model"), "2024-03-01T00:00:00Z")


@pytest.fixture(scope="module")
def server(cloud_daemon: CloudDaemon, base: Path) -> Iterator[Server]:
    """Yield a server with a feature store."""
    synthetic.make_feature_groups(cloud_daemon, CASE)
    with serving(base, **cloud_daemon.access) as started:
        yield started


def publish(daemon: CloudDaemon, bundle: Path, folder: Path, as_of: str) -> None:
    synthetic.run_step(bundle, folder, "publish", "--as-of", as_of, env=daemon.access)


def make_records(at: np.datetime64) -> list[dict[str, Any]]:
    """Return orders from every station and shop whose prediction is made at ``at``."""
    order = {"placed_at": f"{at + LEAD}Z", "size": 2, "kind": "b"}
    return [
        {**order, "order_id": f"{station}-{shop}", "station": station, "shop": shop}
        for station in ("north", "south", "east")
        for shop in ("1", "2", "3", "4")
    ]


def join_offline(case: UseCase, wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the offline join of the same orders with all rows of the tables, including later ones."""
    functions = synthetic.functions(case)
    events = {
        "order_id": np.array([each["order_id"] for each in wanted], dtype=object),
        "placed_at": np.array([each["placed_at"].removesuffix("Z") for each in wanted], dtype="datetime64[us]"),
        "station": np.array([each["station"] for each in wanted], dtype=object),
        "shop": np.array([each["shop"] for each in wanted], dtype=object),
    }
    rows = {table.name: functions.table(table, synthetic.FIRST, synthetic.LAST) for table in case.tables}
    return join(case, events, rows)


def convert_to_comparable(values: Any) -> list[Any]:
    """Return numbers as bytes, texts unchanged, and None for missing values."""
    if values.dtype == object:
        return list(values)
    return [None if np.isnan(value) else np.float32(value).tobytes() for value in values]


def get_column(answers: list[dict[str, Any]], name: str) -> list[Any]:
    """Return a looked-up column of answers in the form of :func:`convert_to_comparable`."""
    values = [answer["columns"][name] for answer in answers]
    return [value if value is None or isinstance(value, str) else np.float32(value).tobytes() for value in values]


def test_looked_up_values_match_the_offline_join(
    cloud_daemon: CloudDaemon, bundle: Path, server: Server, base: Path, tmp_path: Path
) -> None:
    estimator = joblib.load(base / "model" / "model.joblib")
    seen: set[Any] = set()
    for as_of in ("2024-03-01T07:00:00", "2024-03-02T12:45:10.5", "2024-03-05T00:00:00", "2024-03-05T03:20:00"):
        at = np.datetime64(as_of, "us")
        publish(cloud_daemon, bundle, tmp_path, f"{as_of}Z")
        # At the time of the run, and late enough that reports are too old while queues still count.
        for late in (0, 150):
            wanted = make_records(at + np.timedelta64(late, "m"))
            answers = server.predict(wanted)
            found = join_offline(CASE, wanted)
            if late == 0:
                for name in NAMES:
                    assert get_column(answers, name) == convert_to_comparable(found[name])
            else:
                assert get_column(answers, "station_reports_wind") == [None] * 12
                assert get_column(answers, "station_reports_sky") == [None] * 12
                assert None not in get_column(answers, "queues_queue")
            seen |= {value for name in NAMES for value in get_column(answers, name)}
            joined = [{**record, **answer["columns"]} for record, answer in zip(wanted, answers, strict=True)]
            again = server.predict(joined)
            # Given or looked up, the same values give the same score; given values are not repeated.
            assert [each["score"] for each in again] == [each["score"] for each in answers]
            assert all("columns" not in each for each in again)
            placed_at = (at + np.timedelta64(late + 30, "m")).item()
            matrix = synthetic.matrix([{**row, "placed_at": placed_at} for row in joined])
            assert [each["score"] for each in answers] == estimator.predict_proba(matrix)[:, 1].tolist()
    assert {"clear", "rain", None} < seen


def test_rows_of_the_future_and_unknown_entities_are_missing(
    cloud_daemon: CloudDaemon, bundle: Path, server: Server, tmp_path: Path
) -> None:
    publish(cloud_daemon, bundle, tmp_path, "2024-03-10T00:00:00Z")
    before = server.predict(make_records(np.datetime64("2024-03-08T00:00:00", "us")))
    assert all(set(each["columns"].values()) == {None} for each in before)
    (order,) = [
        each for each in make_records(np.datetime64("2024-03-10T00:00:00", "us")) if each["order_id"] == "north-1"
    ]
    nobody, known = server.predict([{**order, "station": "nowhere"}, order])
    assert nobody["columns"]["station_reports_wind"] is None
    assert nobody["columns"]["station_reports_sky"] is None
    assert nobody["columns"]["queues_queue"] == known["columns"]["queues_queue"] is not None


def test_rows_may_mix_given_and_looked_up_tables(
    cloud_daemon: CloudDaemon, bundle: Path, server: Server, tmp_path: Path
) -> None:
    publish(cloud_daemon, bundle, tmp_path, "2024-03-12T09:00:00Z")
    first, second, third = make_records(np.datetime64("2024-03-12T09:00:00", "us"))[:3]
    first |= {"queues_queue": 7.5}
    third |= {"station_reports_wind": None, "station_reports_sky": "rain", "queues_queue": None}
    third.pop("shop")
    answers = server.predict([first, second, third])
    assert set(answers[0]["columns"]) == {"station_reports_wind", "station_reports_sky"}
    assert set(answers[1]["columns"]) == set(NAMES)
    assert "columns" not in answers[2]
    for row, record in ((0, first), (1, second), (2, third)):
        assert server.predict([record]) == [answers[row]]
    status, text = server.invoke({"instances": [first, second]}, Accept="text/csv")
    assert (status, text.splitlines()[0]) == (
        200,
        "order_id,score,label,fingerprint,meta_model_version,meta_request_id",
    )


def test_five_hundred_rows_are_looked_up_at_once(
    cloud_daemon: CloudDaemon, bundle: Path, server: Server, tmp_path: Path, record_property: Any
) -> None:
    publish(cloud_daemon, bundle, tmp_path, "2024-03-15T00:00:00Z")
    wanted = [
        {**record, "order_id": f"{record['order_id']}-{number}", "size": number % 13}
        for number in range(42)
        for record in make_records(np.datetime64("2024-03-15T00:00:00", "us"))
    ][:500]
    # Enough unknown shops to need several calls of the store.
    wanted = [{**record, "shop": f"x{row}"} if row % 2 else record for row, record in enumerate(wanted)]
    answers = server.predict(wanted)
    assert [each["order_id"] for each in answers] == [each["order_id"] for each in wanted]
    found = join_offline(CASE, wanted)
    for name in NAMES:
        assert get_column(answers, name) == convert_to_comparable(found[name])


def test_a_missing_feature_group_is_a_server_error(cloud_daemon: CloudDaemon, base: Path) -> None:
    with serving(base, **cloud_daemon.access, MILLRACE_ENVIRONMENT="elsewhere") as lost:
        order = make_records(np.datetime64("2024-03-15T00:00:00", "us"))[0]
        status, answer = lost.invoke(order)
        assert status == 500
        assert "toy-lookup-elsewhere-queues" in answer["error"] or "toy-lookup-elsewhere-station" in answer["error"]
        assert "columns" not in answer
        given = {**order, "station_reports_wind": 1, "station_reports_sky": None, "queues_queue": 2}
        assert lost.invoke(given)[0] == 200


class Overloaded:
    """Store that leaves all but one identifier unprocessed, ``times`` times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked: list[list[str]] = []

    def batch_get_record(self, Identifiers: list[dict[str, Any]]) -> dict[str, Any]:
        (group,) = Identifiers
        names = group["RecordIdentifiersValueAsString"]
        self.asked.append(list(names))
        cut = 1 if len(self.asked) <= self.times else len(names)
        records = [
            {"RecordIdentifierValueAsString": name, "Record": [{"FeatureName": "id", "ValueAsString": name}]}
            for name in names[:cut]
        ]
        records = [{"FeatureGroupName": "g", **record} for record in records]
        left = [{"FeatureGroupName": "g", "RecordIdentifiersValueAsString": names[cut:]}] if names[cut:] else []
        return {"Records": records, "Errors": [], "UnprocessedIdentifiers": left}


def test_unprocessed_identifiers_are_requested_again() -> None:
    """Use a fake store, because the local cloud leaves no identifiers unprocessed."""
    names = [str(number) for number in range(150)]
    store = Overloaded(times=2)
    found = fetch_records(store, {"g": names})
    assert found == {("g", name): {"id": name} for name in names}
    assert [len(asked) for asked in store.asked] == [100, 99, 98, 50]
    with pytest.raises(StoreError, match=r"feature group g: 46 record\(s\) such as '4' were still unprocessed after 4"):
        fetch_records(Overloaded(times=9), {"g": names[:50]})
