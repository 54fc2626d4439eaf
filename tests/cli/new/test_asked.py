"""Tests of the questions of `millrace new`, with and without a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from .conftest import Checkout, Row, Terminal, churn, write


def write_unclear_file(path: Path) -> str:
    """Write a file with two possible keys, an unclear target and dates whose order of day and month is ambiguous."""

    def change(number: int, row: Row) -> None:
        row["result"] = {"yes": "A", "no": "B"}[row.pop("left")]
        row["asked_at"] = (datetime(2025, 1 + number % 9, 1 + number % 12)).strftime("%d/%m/%Y")
        row |= {"customer": f"x{number}", "code": f"y{number}"}

    return write(path, churn(change=change))


def test_missing_flags_are_listed_without_a_terminal(checkout: Checkout, tmp_path: Path) -> None:
    began = time.monotonic()
    said = checkout.refused("churn", "--from", write_unclear_file(tmp_path / "a.csv"), code=2)
    assert time.monotonic() - began < 30
    assert "questions are open, and this terminal is not interactive" in said
    for flag in ("--target result", "--positive", "--key customer", "--time-format %d/%m/%Y"):
        assert f"\n  {flag}" in said
    assert "--yes" in said


def test_every_question_has_a_flag_and_yes_accepts_the_proposals(checkout: Checkout, tmp_path: Path) -> None:
    path = write_unclear_file(tmp_path / "a.csv")
    found = checkout.json("churn", "--from", path, "--yes", "--dry-run")
    assert (found["target"], found["key"]) == ("result", "customer")
    found = checkout.json(
        "churn", "--from", path, "--target", "result", "--positive", "A", "--key", "code", "--problem", "binary",
        "--event-time", "asked_at", "--time-format", "%m/%d/%Y",
    )  # fmt: skip
    assert found["inferred"] == []
    source = checkout.read("stacks/churn/data.py")
    assert '_times_as(table["asked_at"], "%m/%d/%Y")' in source
    assert '_outcome("result", table["result"], yes="A", no="B")' in source


def test_only_unclear_points_are_asked_and_typos_are_asked_again(checkout: Checkout, tmp_path: Path) -> None:
    person = Terminal(checkout, "churn", "--from", write_unclear_file(tmp_path / "a.csv"))
    person.until("--target [")
    assert "Which column is predicted?" in person.text
    person.answer("resul")
    person.until("did you mean 'result'?")
    person.answer("result")
    person.until("--positive (")
    person.answer("B")
    person.until("--time-format (")
    person.answer("")
    person.until("--key [customer]")
    person.answer("code")
    assert person.end() == 0, person.text
    assert "--event-time [" not in person.text
    source = checkout.read("stacks/churn/data.py")
    assert '_texts(table["code"])' in source
    assert '"%d/%m/%Y"' in source
    assert 'yes="B", no="A"' in source


def add_signup_time(number: int, row: Row) -> None:
    row["signed_up_at"] = f"{datetime(2024, 1, 1) + timedelta(days=number)}"


@pytest.mark.parametrize("cell", ["", "soon"])
def test_a_bad_cell_does_not_make_another_column_the_event_time(checkout: Checkout, tmp_path: Path, cell: str) -> None:
    def change(number: int, row: Row) -> None:
        add_signup_time(number - 400, row)
        row["asked_at"] = cell if number == 5 else row["asked_at"]

    path = write(tmp_path / "a.csv", churn(change=change))
    said = checkout.refused("churn", "--from", path, code=2)
    assert "--event-time asked_at" in said
    assert "the latest of 2 columns of times: asked_at" in said
    assert ("missing in 1 of 400 rows" in said) == (not cell)
    said = checkout.refused("churn", "--from", path, "--yes")
    assert "--event-time 'asked_at'" in said
    assert "row 6" in said


def test_an_incomplete_only_time_column_is_asked_about(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda number, row: row.update(asked_at="" if number == 5 else row["asked_at"]))
    path = write(tmp_path / "a.csv", rows)
    said = checkout.refused("churn", "--from", path, code=2)
    assert "--event-time asked_at" in said
    assert "the only column of times" in said
    assert "missing in 1 of 400 rows" in said
    assert "no column holds times" not in said
    assert "is missing in row 6" in checkout.refused("churn", "--from", path, "--yes")
    assert checkout.json("churn", "--from", path, "--event-time", "none", "--dry-run")["event_time"] == "arrived_at"


def test_a_mostly_empty_time_column_is_not_proposed_as_event_time(checkout: Checkout, tmp_path: Path) -> None:
    """Check that a mostly empty time column is not proposed: such an event comes later, if at all."""
    rows = churn(change=lambda number, row: row.update(closed_at="" if number % 3 else "2026-01-01"))
    path = write(tmp_path / "a.csv", rows)
    assert checkout.json("churn", "--from", path, "--dry-run")["event_time"] == "asked_at"
    for row in rows:
        del row["asked_at"]
    said = checkout.refused("churn", "--from", write(tmp_path / "b.csv", rows), code=2)
    assert "no column holds a time in most rows" in said
    assert "closed_at is empty in 266 of 400" in said


@pytest.mark.parametrize(
    ("asked", "dates", "read"),
    [
        ("%m/%d/%Y %H:%M", "%m/%d/%Y", '_times_as(table["signed"], "%m/%d/%Y")'),
        ("%d.%m.%Y", "%d/%m/%y", '_times_as(table["signed"], "%d/%m/%y")'),
        ("%Y-%m-%dT%H:%M:%S", "%m/%d/%Y", None),
    ],
)
def test_ambiguous_dates_follow_the_event_time_or_are_left_out(
    checkout: Checkout, tmp_path: Path, asked: str, dates: str, read: str | None
) -> None:
    def change(number: int, row: Row) -> None:
        row["asked_at"] = datetime.fromisoformat(row["asked_at"]).strftime(asked)
        row["signed"] = datetime(2020, 1 + number % 12, 1 + number % 11).strftime(dates)

    found = checkout.json(
        "churn", "--from", write(tmp_path / "a.csv", churn(change=change)), "--event-time", "asked_at"
    )
    if read:
        assert "signed" in found["features"]
        assert read in checkout.read("stacks/churn/data.py")
    else:
        assert "in 2 ways, %d/%m/%Y and %m/%d/%Y" in found["left_out"]["signed"]


def find_inference(found: Row, flag: str) -> tuple[str, str]:
    [said] = [(each["value"], each["reason"]) for each in found["inferred"] if each["flag"] == flag]
    return said


def of_2012(number: int) -> str:
    """Return one date per day; read as day, month and year, the dates would reach 2031."""
    return f"{datetime(2012, 1, 1) + timedelta(days=number):%y-%m-%d}"


def months_first(number: int) -> str:
    return f"{datetime(2024, 1 + number // 36, 1 + number % 36 // 3):%m/%d/%Y}"


def in_no_order(number: int) -> str:
    return f"{datetime(2024, 1 + number % 9, 1 + number % 11):%d/%m/%Y}"


@pytest.mark.parametrize(
    ("dates", "read", "why"),
    [
        (of_2012, "%y-%m-%d", "%d-%m-%y would reach 2031-12-12, after today"),
        (months_first, "%m/%d/%Y", "%d/%m/%Y would not keep the rows in order of time"),
        (in_no_order, "%d/%m/%Y", "%m/%d/%Y is also possible, but the day comes first in most of the world"),
    ],
)
def test_the_most_plausible_time_format_is_proposed_with_a_reason(
    checkout: Checkout, tmp_path: Path, dates: Callable[[int], str], read: str, why: str
) -> None:
    path = write(tmp_path / "a.csv", churn(change=lambda number, row: row.update(asked_at=dates(number))))
    said = checkout.refused("churn", "--from", path, code=2)
    assert f"--time-format {read} " in said
    assert why in said
    found = checkout.json("churn", "--from", path, "--yes", "--dry-run")
    assert find_inference(found, "--time-format") == (read, why)
    assert find_inference(found, "--event-time") == ("asked_at", "the only column of times")
    found = checkout.json("churn", "--from", path, "--time-format", read, "--dry-run")
    assert find_inference(found, "--event-time") == ("asked_at", f"the only column of times, the format {read}")


def write_leaking_file(path: Path) -> str:
    return write(path, churn(change=lambda number, row: row.update(refund=number % 5 + 9 * (row["left"] == "yes"))))


def test_a_column_that_leaks_the_target_is_asked_about(checkout: Checkout, tmp_path: Path) -> None:
    person = Terminal(checkout, "churn", "--from", write_leaking_file(tmp_path / "a.csv"))
    person.until("--leave-out refund [Y/n]")
    assert re.search(r"refund alone predicts left with an AUC of 1\.000", person.text)
    person.answer("n")
    assert person.end() == 0, person.text
    assert 'trusted=["refund"]' in checkout.read("stacks/churn/__init__.py")


def test_ctrl_c_at_a_question_leaves_no_files(checkout: Checkout, tmp_path: Path) -> None:
    person = Terminal(checkout, "churn", "--from", write_unclear_file(tmp_path / "a.csv"))
    person.until("--target [")
    # A signal that arrives just before the process reads a line is seen only with the next one, so send it again.
    while person.process.poll() is None:
        os.killpg(person.process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            person.process.wait(timeout=5)
    assert person.end() == 130
    assert "interrupted" in person.text
    assert checkout.files() == checkout.before


def test_a_leak_without_a_terminal_needs_a_flag_or_yes(checkout: Checkout, tmp_path: Path) -> None:
    path = write_leaking_file(tmp_path / "a.csv")
    said = checkout.refused("churn", "--from", path, code=2)
    assert "--leave-out refund" in said
    assert "--trust refund" in said
    found = checkout.json("churn", "--from", path, "--yes", "--dry-run")
    assert "refund alone predicts left" in found["left_out"]["refund"]
    only = [{name: value for name, value in row.items() if name not in ("calls", "months", "plan")} for row in churn()]
    refunds = [{**row, "refund": number % 5 + 9 * (row["left"] == "yes")} for number, row in enumerate(only)]
    said = checkout.refused("churn", "--from", write(tmp_path / "only.csv", refunds), "--yes")
    assert "no column is left to predict from:" in said
    assert "'refund' is left out: refund alone predicts left with an AUC of 1.000" in said
    assert "--trust refund" in said
    assert "the file has only the target, the key and the event time" in checkout.refused(
        "churn", "--from", write(tmp_path / "none.csv", only)
    )
    found = checkout.json("churn", "--from", path, "--trust", "refund", "--dry-run")
    assert (found["trusted"], found["left_out"]) == (["refund"], {})
    assert not [hint for hint in found["hints"] if "refund" in hint]
