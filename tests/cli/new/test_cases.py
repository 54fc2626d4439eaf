"""Tests of `millrace new` with files as databases, spreadsheets and people write them."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from .conftest import Checkout, Row, churn, write
from .test_values import read_values

Change = Callable[[int, Row], Any]


def _use_american_times(_: int, row: Row) -> None:
    row["asked_at"] = datetime.fromisoformat(row["asked_at"]).strftime("%m/%d/%Y %I:%M %p")


#: A change to the customers' file, and the note that the output has about it.
SAID: dict[str, tuple[Change, str]] = {
    "nanoseconds": (
        lambda _, row: row.update(asked_at=row["asked_at"] + ".123456789"),
        "asked_at: 400 times, first in row 1: digits beyond microseconds are dropped",
    ),
    "blank": (
        lambda number, row: row.update(months=" " if number == 6 else row["months"]),
        "months: 1 cell holds only spaces, first in row 7: missing",
    ),
    "backslash": (
        lambda number, row: row.update(months="\\N" if number == 6 else row["months"]),
        "--missing months=\\N: 1 of 400 rows, first row 7; all others are numbers",
    ),
    "dollars": (
        lambda number, row: row.update(months=f"${1000 + number:,}.50"),
        "months: 400 of 400 cells have $, row 1 is '$1,000.50': read as numbers without commas",
    ),
    "namibia": (
        lambda number, row: row.update(plan=("NA", "DE", "FR")[number % 3]),
        "plan: 'NA' in 134 of 400 rows, first row 1 is a value; if it means missing: --missing plan=NA",
    ),
    "none": (
        lambda number, row: row.update(plan=("gold", "None", "tin")[number % 3]),
        "plan: 'None' in 133 of 400 rows, first row 2 is a value; if it means missing: --missing plan=None",
    ),
    "postcodes": (
        lambda number, row: row.update(plan=f"0{1000 + number % 7}"),
        "plan: leading zeros, row 1 is '01000': its digits are kept as text",
    ),
    "long ids": (
        lambda number, row: row.update(customer=1234567890123456789 + number),
        "customer: whole numbers of more than 18 digits are identifiers and kept as they are",
    ),
    "powers": (
        lambda number, row: row.update(customer=f"1E{number}"),
        "customer: texts such as 1E5 are identifiers and kept as they are, not powers of ten",
    ),
    "zeros": (
        lambda number, row: row.update(customer=f"{number:05}"),
        "customer: leading zeros, row 1 is '00000': its digits are kept as text",
    ),
}


@pytest.mark.parametrize("case", sorted(SAID))
def test_the_interpretation_of_unusual_cells_is_reported(checkout: Checkout, tmp_path: Path, case: str) -> None:
    change, said = SAID[case]
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", churn(change=change)), "--yes", "--dry-run")
    assert said in found["read"]
    assert (found["key"], found["event_time"]) == ("customer", "asked_at")
    assert found["features"] == ["calls", "months", "plan"]


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda _, row: row.update(asked_at=row["asked_at"].replace("T", " ") + "+00"), "ISO 8601 with a zone"),
        (_use_american_times, "%m/%d/%Y %I:%M %p"),
        (lambda _, row: row.update(asked_at=row["asked_at"][:10].replace("-", "")), "%Y%m%d"),
    ],
    ids=["postgres", "am and pm", "digits"],
)
def test_common_time_formats_are_detected(checkout: Checkout, tmp_path: Path, change: Change, how: str) -> None:
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", churn(change=change)), "--yes", "--dry-run")
    assert found["event_time"] == "asked_at"
    assert [how in each["reason"] for each in found["inferred"] if each["flag"] == "--event-time"] == [True]
    assert "asked_at" not in found["features"]


TIMES: dict[str, tuple[Change, str]] = {
    "digits are cut, not rounded": (
        lambda _, row: row.update(asked_at=row["asked_at"] + ".999999999"), "2025-01-01 04:00:00.999999",
    ),
    "a zone counts": (
        lambda _, row: row.update(asked_at=row["asked_at"].replace("T", " ") + "+02"), "2025-01-01 02:00:00",
    ),
    "the afternoon": (
        lambda number, row: row.update(asked_at=f"01/{number % 28 + 1:02}/2025 0{number // 28 % 9 + 1}:00 PM"),
        "2025-01-02 13:00:00",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TIMES)
def test_times_are_parsed_to_the_right_moment(checkout: Checkout, tmp_path: Path, case: str) -> None:
    change, second = TIMES[case]
    path = write(tmp_path / "a.csv", churn(change=change))
    checkout.json("churn", "--from", path, "--event-time", "asked_at", "--yes")
    assert read_values(checkout, "asked_at", path)[1] == second


def test_spaces_after_commas_do_not_change_the_values(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn()
    path = tmp_path / "spaces.csv"
    path.write_text(Path(write(tmp_path / "plain.csv", rows)).read_text().replace(",", ", "))
    checkout.json("churn", "--from", str(path), "--yes")
    for name in ("customer", "plan", "calls"):
        assert read_values(checkout, name, str(path)) == [row[name] for row in rows[:50]]


def test_spaces_a_separator_line_and_gzip_do_not_change_the_result(checkout: Checkout, tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.csv", churn())
    text = Path(plain).read_text()
    (tmp_path / "spaces.csv").write_text(text.replace(",", ", "))
    (tmp_path / "line.csv").write_text("sep=;\n" + text.replace(",", ";"))
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(text.encode()))
    expected = checkout.json("churn", "--from", plain, "--yes", "--dry-run")
    for name in ("spaces.csv", "line.csv", "packed.csv.gz"):
        found = checkout.json("churn", "--from", str(tmp_path / name), "--yes", "--dry-run")
        for fact in ("problem", "target", "key", "event_time", "features", "left_out", "inferred"):
            assert found[fact] == expected[fact], (name, fact)


def test_one_and_minus_one_are_a_binary_target(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda _, row: row.update(left=1 if row["left"] == "yes" else -1))
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--yes", "--dry-run")
    assert found["problem"] == "binary"
    assert [each["value"] for each in found["inferred"] if each["flag"] == "--positive"] == ["1"]
    # Without a terminal and without --yes, a guess needs a flag to confirm it.
    assert "--positive 1" in checkout.refused("churn", "--from", str(tmp_path / "a.csv"), code=2)


def test_a_model_that_training_would_refuse_is_announced(checkout: Checkout, tmp_path: Path) -> None:
    other = {"yes": "no", "no": "yes"}
    # What the older rows teach is wrong for the newer ones.
    rows = churn(change=lambda place, row: row.update(left=other[row["left"]] if place >= 250 else row["left"]))
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--yes", "--dry-run")
    [hint] = [each for each in found["hints"] if "base_rate" in each]
    assert hint.startswith("brier is 0.")
    assert hint.endswith(": training refuses such a model")
    sound = checkout.json("churn", "--from", write(tmp_path / "b.csv", churn()), "--yes", "--dry-run")
    assert not [each for each in sound["hints"] if "base_rate" in each]


#: An open end and an ordinary date in each notation.
ENDS = {
    "iso": ("9999-12-31", "2024-06-01"),
    "american": ("12/31/9999", "06/01/2024"),
    "european": ("31.12.9999", "01.06.2024"),
    "digits": (99991231, 20240601),
}


@pytest.mark.parametrize("written", ENDS)
def test_open_ended_dates_are_missing_and_not_the_event_time(checkout: Checkout, tmp_path: Path, written: str) -> None:
    far, near = ENDS[written]
    path = write(tmp_path / "a.csv", churn(change=lambda row, each: each.update(end_date=far if row % 2 else near)))
    found = checkout.json("churn", "--from", path, "--yes")
    assert found["event_time"] == "asked_at"
    ends = "end_date: 200 of 400 times are of years outside 1900 to 2100: an open end, treated as missing"
    assert ends in found["read"]
    assert "end_date" in found["features"]
    assert read_values(checkout, "end_date", path)[:4] == ["2024-06-01 00:00:00", None] * 2


@pytest.mark.parametrize("share", [2, 10])
def test_the_only_time_column_with_open_ends_is_not_the_event_time(
    checkout: Checkout, tmp_path: Path, share: int
) -> None:
    rows = churn(
        change=lambda row, each: each.update(asked_at="9999-12-31" if row % share == 1 else each["asked_at"][:10])
    )
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--yes", "--dry-run")
    (guess,) = [each for each in found["inferred"] if each["flag"] == "--event-time"]
    assert guess["value"] == "none"
    assert f"asked_at is of years outside 1900 to 2100 in {400 // share} of 400" in guess["reason"]


def test_points_are_not_decimal_marks_in_a_file_with_decimal_commas(checkout: Checkout, tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row |= {"rate": f"0,{10 + number % 90}", "units": f"{1 + number % 9}.{100 + number}"}
        row["weight"] = f"{1 + number % 9},{100 + number}"

    path = write(tmp_path / "a.csv", churn(change=change), delimiter=";")
    found = checkout.json("churn", "--from", path, "--yes")
    assert "numbers are read with decimal commas, as in rate, row 1: '0,10'" in found["read"]
    assert "weight: '1,100' is read as 1.1, not as thousands" in found["read"]
    assert "separators of thousands, row 1 is '1.100'" in found["left_out"]["units"]
    assert read_values(checkout, "rate", path)[:2] == [0.1, 0.11]


def test_number_notes_are_printed_for_features_but_not_for_keys(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda number, row: row.update(customer=f"{number:02}", months=f"{number % 20:02}"))
    rows[150]["months"] = "100"
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--key", "customer", "--yes", "--dry-run")
    assert not [text for text in found["read"] if text.startswith("customer:")]
    rows = churn(change=lambda number, row: row.update(code="12E3" if number == 7 else 1000 + number % 50))
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--yes", "--dry-run")
    assert "code: row 8 is '12E3', read as the number 12000 like the others" in found["read"]


def test_an_id_that_pandas_wrote_as_float_is_not_a_feature(checkout: Checkout, tmp_path: Path) -> None:
    rows = [{"customer_id": f"{number}.0", **row} for number, row in enumerate(churn())]
    for row in rows:
        del row["customer"]
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--yes", "--dry-run")
    assert "its name indicates an id, but it has decimal points" in found["left_out"]["customer_id"]
    (guess,) = [each["reason"] for each in found["inferred"] if each["flag"] == "--key"]
    assert guess.startswith("no column of text or whole numbers has a different value in every row")


def test_fractional_epoch_seconds_are_neither_times_nor_features(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda number, row: row.update(asked_at=f"{1704067200 + 3600 * number}.25"))
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--yes", "--dry-run")
    assert "asked_at" not in found["features"]
    assert "it may hold times, epoch seconds" in found["left_out"]["asked_at"]
    (guess,) = [each["reason"] for each in found["inferred"] if each["flag"] == "--event-time"]
    assert "asked_at may be epoch seconds, whole seconds since 1970 with fractions, which are not read" in guess


@pytest.mark.parametrize("repeats", [True, False])
def test_integers_that_may_be_dates_are_not_features(checkout: Checkout, tmp_path: Path, repeats: bool) -> None:
    def change(number: int, row: Row) -> None:
        row["period"] = f"2024{number % 12 + 1:02}01" if repeats else row["asked_at"][:10].replace("-", "")

    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", churn(change=change)), "--yes", "--dry-run")
    assert "period" not in found["features"]
    assert "if it is the time of the event, give --event-time period" in found["left_out"]["period"]


def test_an_unnamed_index_column_is_left_out(checkout: Checkout, tmp_path: Path) -> None:
    rows = [{"": number, **row} for number, row in enumerate(churn())]
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--yes", "--dry-run")
    assert found["left_out"] == {"Unnamed: 0": "an index: it numbers the rows, as written by pandas"}


def test_three_classes_are_a_regression_only_on_request(checkout: Checkout, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", churn(change=lambda number, row: row.update(left=number % 3)))
    said = checkout.refused("churn", "--from", path, "--yes")
    assert "'left' holds 3 different whole numbers (0, 1, 2), which may be classes or amounts" in said
    assert "several classes are not supported yet" in said
    found = checkout.json("churn", "--from", path, "--problem", "regression", "--yes", "--dry-run")
    assert found["problem"] == "regression"


def test_a_column_with_two_currencies_is_left_out_naming_the_row(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda number, row: row.update(amount="€7.50" if number == 41 else f"${number}.50"))
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--yes", "--dry-run")
    assert "2 currencies: row 42 is '€7.50', the others are in $" in found["left_out"]["amount"]


@pytest.mark.parametrize("mark", ["NA", "None"])
@pytest.mark.parametrize("is_said", [True, False])
def test_na_and_none_stay_values_unless_declared_missing(
    checkout: Checkout, tmp_path: Path, mark: str, is_said: bool
) -> None:
    rows = churn(change=lambda number, row: row.update(plan=(mark, "DE", "FR")[number % 3]))
    more = ("--missing", f"plan={mark}") if is_said else ()
    checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--yes", *more)
    read = read_values(checkout, "plan", "")
    assert (mark in read) is not is_said
    assert (None in read) is is_said
    assert {"DE", "FR"} <= set(read)


@pytest.mark.parametrize("named", ["{}", "1E{}", "{:05}"], ids=["19 digits", "powers", "zeros"])
@pytest.mark.parametrize("options", [(), ("--key", "customer")], ids=["proposed", "given"])
def test_keys_made_of_digits_are_kept_exactly(
    checkout: Checkout, tmp_path: Path, named: str, options: tuple[str, ...]
) -> None:
    start = 1234567890123456789 if named == "{}" else 0
    rows = churn(change=lambda number, row: row.update(customer=named.format(start + number)))
    path = write(tmp_path / "a.csv", rows)
    found = checkout.json("churn", "--from", path, "--yes", *options)
    assert found["key"] == "customer"
    assert read_values(checkout, "customer", path) == [row["customer"] for row in rows[:50]]


def test_postcodes_are_read_as_text(checkout: Checkout, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", churn(change=lambda number, row: row.update(plan=f"0{1000 + number % 7}")))
    checkout.json("churn", "--from", path, "--yes")
    assert read_values(checkout, "plan", path)[:2] == ["01000", "01001"]


def test_dollar_amounts_are_parsed_and_blank_cells_are_missing(checkout: Checkout, tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row["months"] = (f"${1000 + number:,}.50", " ", "\\N")[min(number % 40, 2) if number % 40 in (1, 2) else 0]

    path = write(tmp_path / "a.csv", churn(change=change))
    checkout.json("churn", "--from", path, "--yes")
    read = read_values(checkout, "months", path)
    assert read[0] == 1000.5
    assert [math.isnan(each) for each in read[:4]] == [False, True, True, False]
