"""Results of a use case's functions: checked by name and normalised to one type and order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millrace import MillraceError
from tests.training import synthetic
from training import columns as c
from training.functions import Functions

SINCE, UNTIL = np.datetime64("2024-03-01", "us"), np.datetime64("2024-03-02", "us")


def functions(name: str = "", value: Any = None, *, without: str = "") -> Functions:
    """Return the functions of the use case with one of them replaced or removed."""
    found = synthetic.functions(synthetic.use_case())
    module = vars(found._modules[0])
    if without:
        del module[without]
    if name:
        module[name] = value
    return Functions(found.use_case, found._modules)


def replace_columns(name: str, **columns: Any) -> Functions:
    """Return the functions with columns of one result replaced; None removes a column."""
    original = vars(functions()._modules[0])[name]

    def other(since: Any, until: Any) -> dict[str, Any]:
        rows = original(since, until) | columns
        return {column: values for column, values in rows.items() if values is not None}

    return functions(name, other)


@pytest.mark.parametrize(("without", "text"), [
    ("events", r"function events\(since, until\) is missing; .*data.py: what is predicted"),
    ("queues", r"function queues\(since, until\) is missing; .*: the rows of the table: shop, counted_at and values"),
])  # fmt: skip
def test_a_function_that_is_missing_is_named_with_its_file(without: str, text: str) -> None:
    with pytest.raises(MillraceError, match=text):
        functions(without=without)


DAY = 48
ROWS = np.arange(DAY)


@pytest.mark.parametrize(("name", "columns", "text"), [
    ("events", {"order_id": None}, r"events\(\) has no column 'order_id'; it returned \["),
    ("events", {"placed_at": ROWS.astype(str)}, r"events\(\) column 'placed_at' holds text \(object\); expected time"),
    ("events", {"order_id": ROWS + 0.5}, r"events\(\) column 'order_id' row 0 is 0.5 \(float\); expected text or a "),
    ("events", {"shop": None}, r"events\(\) has no column 'shop'"),
    ("events", {"size": np.zeros(3)}, r"events\(\) returned columns of unequal lengths: \{.*'size': 3"),
    ("events", {"late": ROWS}, r"events\(\) contains the target 'late', which labels\(\) also returns"),
])  # fmt: skip
def test_invalid_events_are_refused(name: str, columns: dict[str, Any], text: str) -> None:
    with pytest.raises(MillraceError, match=text):
        replace_columns(name, **columns).events(SINCE, UNTIL)


def test_tables_must_match_the_declaration() -> None:
    found = functions()
    table = next(table for table in found.use_case.tables if table.name == "queues")
    n = c.count_rows(found.table(table, SINCE, UNTIL))
    more = r"queues\(\) returned the values \['extra', 'queue'\]; expected \['queue'\], as the table declares"
    with pytest.raises(MillraceError, match=more):
        replace_columns("queues", extra=np.zeros(n)).table(table, SINCE, UNTIL)
    with pytest.raises(MillraceError, match=r"queues\(\) column 'queue' holds text \(object\); expected number"):
        replace_columns("queues", queue=np.array(["a"] * n)).table(table, SINCE, UNTIL)
    with pytest.raises(MillraceError, match=r"queues\(\) returned list; expected a mapping of column name to array"):
        functions("queues", lambda since, until: []).table(table, SINCE, UNTIL)


def test_rows_are_sorted_and_cut_to_the_span() -> None:
    original = vars(functions()._modules[0])["events"]
    rng = np.random.default_rng(0)

    def shuffled(since: Any, until: Any) -> dict[str, Any]:
        rows = original(since - np.timedelta64(1, "D"), until + np.timedelta64(1, "D"))
        order = rng.permutation(len(rows["order_id"]))
        return {name: values[order] for name, values in rows.items()}

    found = functions("events", shuffled).events(SINCE, UNTIL)
    assert c.hash_columns(found) == c.hash_columns(functions().events(SINCE, UNTIL))
    assert c.count_rows(found) == DAY
    assert (np.diff(found["placed_at"]) >= np.timedelta64(0)).all()


def test_whole_numbers_may_be_keys_and_entities() -> None:
    found = replace_columns("events", order_id=ROWS, shop=ROWS % 4).events(SINCE, UNTIL)
    assert sorted(found["order_id"].tolist(), key=int) == [str(row) for row in range(DAY)]
    assert set(found["shop"]) == {"0", "1", "2", "3"}


def test_without_labels_the_events_carry_the_target() -> None:
    late = np.where(ROWS % 5 == 0, np.nan, ROWS % 2).astype(float)
    found = replace_columns("events", late=late)
    del vars(found._modules[0])["labels"]
    found = Functions(found.use_case, found._modules)
    events = found.events(SINCE, UNTIL)
    labels = found.labels(SINCE, UNTIL, events)
    # Known from the time of the event on; a missing target is not a label.
    assert c.count_rows(labels) == int(np.sum(~np.isnan(late)))
    at = dict(zip(events["order_id"], events["placed_at"], strict=True))
    assert all(at[key] == known for key, known in zip(labels["order_id"], labels["known_at"], strict=True))
    without = functions(without="labels")
    with pytest.raises(MillraceError, match=r"events\(\) has no column 'late', and the function labels\(\)"):
        without.events(SINCE, UNTIL)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1 / 0", "events() failed in events: ZeroDivisionError: division by zero; correct it there"),
        ("raise SystemExit(0)", "events() failed in events: SystemExit: 0; correct it there"),
        ("import sys; sys.exit('no source')", "events() failed in events: SystemExit: no source; correct it there"),
    ],
)
def test_a_function_that_fails_or_ends_the_process_is_named(body: str, said: str) -> None:
    source = synthetic.data(synthetic.use_case()).replace(
        "def events(since, until):", f"def events(since, until):\n    {body}"
    )
    with pytest.raises(MillraceError) as refused:
        synthetic.functions(synthetic.use_case(), source).events(synthetic.FIRST, synthetic.LAST)
    assert str(refused.value) == said


def test_the_place_of_a_failure_is_the_file_of_the_use_case(tmp_path: Path) -> None:
    source = synthetic.data(synthetic.use_case()).replace(
        "def events(since, until):", "def events(since, until):\n    return 1 / 0"
    )
    pyz = synthetic.build(tmp_path, synthetic.use_case(), source)
    done = synthetic.run_step(pyz, tmp_path / "job", "ingest", "--as-of", synthetic.AS_OF, check=False)
    assert done.returncode == 1
    line = source[: source.index("return 1 / 0")].count("\n") + 1
    assert f"events() failed in stacks/toy_orders/data.py, line {line}: ZeroDivisionError" in done.stderr


def test_features_that_read_an_unknown_column_are_refused() -> None:
    found = functions("features", lambda columns: {"x": columns["colour"]})
    with pytest.raises(
        MillraceError, match=r"features\(\) reads the column 'colour', which does not exist; choose one of \['size'\]"
    ):
        found.features({"size": np.zeros(1, np.float32)})
    times = functions("features", lambda columns: {"at": columns["placed_at"]})
    with pytest.raises(MillraceError, match=r"features\(\) returned times for 'at'; expected numbers or text"):
        times.features({"placed_at": np.array([SINCE])})


def test_without_a_transform_all_but_key_time_and_target_are_features() -> None:
    found = functions(without="features")
    events = dict(found.events(SINCE, UNTIL)) | {"late": np.zeros(DAY)}
    assert set(found.features(events)) == {"station", "shop", "size", "kind", "band"}


def test_the_default_model_names_an_unknown_parameter() -> None:
    with pytest.raises(
        MillraceError, match=r"'max_depht' is not known to the default model; expected one of .*max_depth"
    ):
        functions().model({"max_depht": 3})
