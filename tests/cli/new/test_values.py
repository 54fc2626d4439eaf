"""Tests of how `millrace new`, and the data.py that it generates, parse the values of files."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import forked

from .conftest import Checkout, Row, churn, write


def read_values(checkout: Checkout, name: str, more: str = "") -> list[Any]:
    """Return a column as the generated data.py reads it from the sample or another file, with times as text."""
    program = (
        "import json; from stacks.churn import data; "
        f"print(json.dumps(data._rows()[{name!r}][:50].tolist(), default=str))"
    )
    done = forked.run(
        [sys.executable, "-c", program],
        cwd=checkout.folder,
        env={**checkout.environment, "CHURN_DATA": more},
        check=True,
    )
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas_are_parsed_where_no_comma_separates_columns(
    checkout: Checkout, tmp_path: Path, delimiter: str
) -> None:
    amounts = [f"{number % 37 + number / 400:.2f}" for number in range(400)]
    rows = churn(change=lambda number, row: row.update(amount=amounts[number].replace(".", ",")))
    path = write(tmp_path / "a.csv", rows, delimiter=delimiter)
    found = checkout.json("churn", "--from", path)
    assert found["features"] == ["calls", "months", "plan", "amount"]
    assert found["left_out"] == {}
    for read in ("", path):
        assert read_values(checkout, "amount", read) == [float(each) for each in amounts[:50]]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "stacks/churn"], cwd=checkout.folder, check=False
    )
    assert done.returncode == 0


def test_an_amount_with_decimal_commas_can_be_the_target(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda number, row: row.update(left=f"{row['calls'] * 7 + number % 10},25"))
    found = checkout.json(
        "churn", "--from", write(tmp_path / "a.csv", rows, delimiter=";"), "--target", "left", "--dry-run"
    )
    assert found["problem"] == "regression"
    [said] = [each["reason"] for each in found["inferred"] if each["flag"] == "--problem"]
    assert re.search(r"numbers, \d\.25 to \d\d\.25", said)


@pytest.mark.parametrize(
    ("amount", "delimiter", "said"),
    [
        ("12,{:02}", ",", "its numbers have decimal commas, row 1 is '12,00'"),
        # Another column has decimal points; only one of the two can be the decimal mark.
        ("12,{:02}", ";", "its numbers have decimal commas, row 1 is '12,00'"),
        ("1.2{:02},5", ";", "its numbers have separators of thousands, row 1 is '1.200,5': write them without"),
        ("1,2{:02}.5", ",", "its numbers have separators of thousands, row 1 is '1,200.5': write them without"),
    ],
)
def test_unreadable_number_columns_are_left_out_with_the_reason(
    checkout: Checkout, tmp_path: Path, amount: str, delimiter: str, said: str
) -> None:
    rows = churn(change=lambda number, row: row.update(amount=amount.format(number % 100), weight=number % 9 + 0.5))
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows, delimiter=delimiter))
    assert said in found["left_out"]["amount"]
    assert "weight" in found["features"]
    # The generated code has the reason as a whole sentence.
    comment = " ".join(checkout.read("stacks/churn/data.py").replace("\n#:  ", "").split())
    assert f"#: `amount`: {found['left_out']['amount']}." in comment


def test_outcomes_that_differ_only_in_case_are_merged(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn()
    outcomes = [float(row["left"] == "yes") for row in rows]
    for number, row in enumerate(rows):
        row["left"] = ("Yes", "yes", "YES ")[number % 3] if row["left"] == "yes" else ("No", "no")[number % 2]
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--positive", "YES")
    assert found["problem"] == "binary"
    assert read_values(checkout, "left") == outcomes[:50]
    found = checkout.json("again", "--from", str(tmp_path / "a.csv"), "--dry-run")
    [said] = [each["reason"] for each in found["inferred"] if each["flag"] == "--positive"]
    assert "case and outer spaces are ignored" in said


@pytest.mark.parametrize(
    ("outcomes", "other", "said"),
    [
        (("yes", "no"), "pending", "'left' is 'pending' in 2 of 400 rows; expected 'yes' or 'no'"),
        (("yes", "no"), "Yes", "'left' is 'Yes' in 2 of 400 rows; expected 'yes' or 'no'"),
        (("2", "1"), "3", "'left' is '3' in 2 of 400 rows; expected '2' or '1'"),
    ],
)
def test_a_third_outcome_in_a_later_file_is_refused(
    checkout: Checkout, tmp_path: Path, outcomes: tuple[str, str], other: str, said: str
) -> None:
    def change(number: int, row: Row) -> None:
        row["left"] = "" if number == 7 else outcomes[row["left"] == "no"]

    rows = churn(change=change)
    checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--positive", outcomes[0])
    known = read_values(checkout, "left", str(tmp_path / "a.csv"))
    assert math.isnan(known.pop(7))
    assert set(known) == {0.0, 1.0}
    rows[11]["left"] = rows[30]["left"] = other
    with pytest.raises(subprocess.CalledProcessError) as refused:
        read_values(checkout, "left", write(tmp_path / "later.csv", rows))
    assert said in refused.value.stderr


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("asked_at", "", "'asked_at' is missing in 133 of 400 rows, first in row 3; expected a time in every row"),
        ("Calls made", "1e39", "'Calls made' is infinite as float32 in 133 of 400 rows, first in row 3"),
        ("Calls made", "-inf", "'Calls made' is not a number in 133 of 400 rows, first in row 3; expected numbers"),
    ],
)
def test_missing_times_and_infinity_in_a_later_file_are_refused(
    checkout: Checkout, tmp_path: Path, column: str, cell: str, said: str
) -> None:
    rows = churn(change=lambda _, row: row.update({"Calls made": row.pop("calls")}))
    checkout.json("churn", "--from", write(tmp_path / "a.csv", rows))
    for row in rows[2::3]:
        row[column] = cell
    with pytest.raises(subprocess.CalledProcessError) as refused:
        read_values(checkout, "months", write(tmp_path / "later.csv", rows))
    assert said in refused.value.stderr
    assert "stacks/churn/data.py" in refused.value.stderr


@pytest.mark.parametrize("cell", ["1e400", "1e+39", "inf"])
def test_a_column_with_infinity_is_left_out_naming_the_row(checkout: Checkout, tmp_path: Path, cell: str) -> None:
    rows = churn(change=lambda number, row: row.update(amount=cell if number == 16 else number % 50))
    said = f"it would hold numbers, but row 17 is '{cell}': correct the file"
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--dry-run")
    assert found["left_out"] == {"amount": said}
    typed = [{**row, "amount": float(row["amount"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(typed), tmp_path / "a.parquet")
    found = checkout.json("churn", "--from", str(tmp_path / "a.parquet"), "--dry-run")
    assert found["left_out"] == {"amount": said.replace("1e400", "inf")}
    for path in ("a.csv", "a.parquet"):
        said = checkout.refused(
            "churn", "--from", str(tmp_path / path), "--target", "amount", "--problem", "regression"
        )
        assert "--target 'amount'" in said
        assert "row 17 is" in said


def test_a_word_among_decimals_is_reported_as_the_reason(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda number, row: row.update(amount="unknown" if number == 30 else f"0.{number % 9}23"))
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--dry-run")
    assert found["left_out"] == {"amount": "it would hold numbers, but row 31 is 'unknown': correct the file"}


def test_zeros_and_ones_with_spaces_are_outcomes(checkout: Checkout, tmp_path: Path) -> None:
    outcomes = [float(row["left"] == "yes") for row in churn()]
    rows = churn(change=lambda number, row: row.update(left=f"{outcomes[number]:.0f}" + " " * (number % 2)))
    checkout.json("churn", "--from", write(tmp_path / "a.csv", rows))
    assert read_values(checkout, "left") == outcomes[:50]


@pytest.mark.parametrize(("column", "unit"), [("when", 1), ("createdAt", 1000), ("tick", 1000)])
def test_epoch_times_are_parsed(checkout: Checkout, tmp_path: Path, column: str, unit: int) -> None:
    def change(number: int, row: Row) -> None:
        moment = datetime.fromisoformat(row.pop("asked_at")).replace(tzinfo=UTC)
        row[column] = int(moment.timestamp()) * unit

    path = write(tmp_path / "a.csv", churn(change=change))
    # The name `tick` does not suggest a time; the output only mentions that it may be one.
    told = ["--event-time", column, "--time-format", "epoch-ms"] if column == "tick" else []
    if told:
        said = checkout.refused("churn", "--from", path, code=2)
        assert "tick may be epoch milliseconds, whole milliseconds since 1970: if it is the time of the event" in said
        assert "give --event-time tick" in said
    found = checkout.json("churn", "--from", path, *told)
    assert found["event_time"] == column
    assert found["sample"]["since"].startswith("2025-01-01T00:00:00")
    source = checkout.read("stacks/churn/data.py")
    assert f'_since_1970(table["{column}"], "{"s" if unit == 1 else "ms"}")' in source


def test_files_with_carriage_return_line_ends_are_read(checkout: Checkout, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", churn(), lineterminator="\r")
    assert checkout.json("churn", "--from", path)["sample"]["rows"] == 400
    assert (
        read_values(checkout, "calls") == read_values(checkout, "calls", path) == [row["calls"] for row in churn()[:50]]
    )
