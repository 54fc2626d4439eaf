"""Tests of invalid names, files and data that `millrace new` refuses."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from cli.console.errors import CliError
from cli.scaffold import names

from .conftest import Checkout, Row, Terminal, churn, write


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Churn_EU", "is not a valid name; expected lower-case words with hyphens, e.g. 'churn' or 'churn-eu'; did "
                     "you mean 'churn-eu'?"),
        ("class", "is a Python keyword; stacks/class could not be imported; did you mean 'class-model'?"),
        ("json", "is also a module of Python;"),
        ("numpy", "is also the name of an installed package"),
        ("training", "is also the name of an installed package"),
        ("platform", "is the name of the resources that the use cases of an environment share; did you "
                     "mean 'my-platform'?"),
        ("platform-costs", "begins like the stacks of the resources that the use cases of an environment share; "
                           "did you mean 'my-platform-costs'?"),
        ("x" * 29, "has 29 characters; expected at most 28"),
        ("", "is empty"),
        ("churn-prod", "ends like a stack of the environment 'prod'; a use case 'churn' could not exist next to it; "
                       "did you mean 'churn'?"),
    ],
)  # fmt: skip
def test_invalid_names_are_refused(name: str, said: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        names.check_name(name, ["flights"], ["flights-local", "flights-dev"])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flights", "is taken: stacks/flights exists; nothing is overwritten; did you mean 'flights-model'?"),
        ("flights-local", "begins with the name of the stack flights-local"),
    ],
)
def test_names_that_clash_with_existing_ones_are_refused(name: str, said: str) -> None:
    with pytest.raises(CliError) as refused:
        names.check_name(name, ["flights"], ["flights-local", "flights-dev"])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "use_cases", "stacks"),
    [
        # `a` in the environment `b-local` and `a-b` in `local` would be the same stack.
        ("a-b", ["a"], ["a-b-local"]),
        ("a", ["a-local-x"], ["a-local-x-dev"]),
        ("a-b-local-c", ["a"], ["a-b-local"]),
    ],
)
def test_names_that_share_a_stack_name_with_another_use_case_are_refused(
    name: str, use_cases: list[str], stacks: list[str]
) -> None:
    with pytest.raises(CliError, match="stack"):
        names.check_name(name, use_cases, stacks)
    names.check_name("b", use_cases, stacks)


def test_an_invalid_name_is_refused_before_the_file_is_read(checkout: Checkout) -> None:
    assert "did you mean 'churn-eu'" in checkout.refused("Churn EU", "--from", "/nowhere.csv", code=2)


@pytest.mark.parametrize("name", ["aws-costs", "sm-x", "millrace-x"])
def test_names_with_a_reserved_prefix_get_another_variable(checkout: Checkout, tmp_path: Path, name: str) -> None:
    found = checkout.json(name, "--from", write(tmp_path / "a.csv", churn()))
    variable = f"DATA_OF_{found['use_case'].replace('-', '_').upper()}"
    assert f'VARIABLE = "{variable}"' in checkout.read(f"stacks/{name.replace('-', '_')}/data.py")


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty; expected a header and rows"),
    "header only": (b"a,b\n", "has a header but no rows"),
    "no header": (b"\n1,2\n", "its first line is empty"),
    "two columns of a name": (b"a,b,a\n1,2,3\n", "two columns are called 'a', number 1 and 3; rename one"),
    "two columns of a name but for case": (
        b"Age,b,age\n1,2,3\n",
        "columns 1 and 3 are called 'Age' and 'age', which a join does not distinguish; rename one",
    ),
    "a column without name": (b"a,,c\n1,2,3\n", "column 2 of 3 has no name"),
    "another encoding": (b"name,left\nx,1\nK\xf6ln,0\n", "is not UTF-8: byte 15 (line 3) is 0xf6; expected UTF-8"),
    "half a character": ("a,b\n1,ö".encode()[:-1], "is not UTF-8: it ends within a character"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "is UTF-16; expected UTF-8: iconv -f UTF-16"),
    "a zero byte": (b"a,b\n1,\0\n", "byte 6 (line 2) is zero"),
    "uneven rows": (b"a,b\n1,2\n1,2,3\n", "line 3 has 3 cells; expected 2, as the header has"),
    "no target": (b"a,b\n" + b"x,y\nz,w\nq,r\n" * 70, "no column can be a target"),
    "one row": (b"id,when,left\n1,2025-01-01,no\n", "has 1 row; expected at least 200"),
}


@pytest.mark.parametrize(("body", "said"), FILES.values(), ids=FILES)
def test_malformed_files_are_refused(checkout: Checkout, tmp_path: Path, body: bytes, said: str) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(body)
    assert said in checkout.refused("churn", "--from", str(path))


@pytest.mark.parametrize(
    ("name", "said"),
    [("data.csv", "cannot be read: No such file"), ("data.xlsx", "expected .csv, .csv.gz or .parquet"),
     ("data.parquet", "is not a Parquet file"), ("folder.csv", "is a folder; expected one file")],
)  # fmt: skip
def test_missing_and_unsupported_files_are_refused(checkout: Checkout, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "data.parquet").write_bytes(b"PAR1 it is not")
    (tmp_path / "folder.csv").mkdir()
    assert said in checkout.refused("churn", "--from", str(tmp_path / name))


ROWS: dict[str, tuple[Callable[[int, Row], Any], list[str], int, str]] = {
    "an empty target": (lambda _, row: row.update(left=""), ["--target", "left"], 1, "empty in all 400 rows"),
    "one outcome": (lambda _, row: row.update(left="no"), ["--target", "left"], 1, "'left' is 'no' in all 400 rows"),
    "three outcomes": (
        lambda number, row: row.update(left="abc"[number % 3]), ["--target", "left", "--problem", "binary"], 1,
        "has 3 different values (a, b, c); a binary problem has two (columns with two: plan)",
    ),
    "an amount in words": (
        lambda number, row: row.update(left=number if number != 3 else "much"),
        ["--target", "left", "--problem", "regression"], 1, "row 4 is 'much'; a regression needs numbers",
    ),
    "a time that is none": (
        lambda number, row: row.update(asked_at="soon") if number == 16 else None, [], 1,
        "--event-time 'asked_at': row 17 is 'soon', which is not a time; expected ISO 8601",
    ),
    "a day that is none": (
        lambda number, row: row.update(asked_at="2025-02-30") if number == 16 else None, [], 1, "is '2025-02-30'",
    ),
    "a missing time": (
        lambda number, row: row.update(asked_at="") if number == 5 else None, ["--event-time", "asked_at"], 1,
        "missing in row 6",
    ),
    "a key of two rows": (
        lambda number, row: row.update(customer="c20") if number == 30 else None, ["--key", "customer"], 1,
        "'c20' is in rows 21 and 31, and 1 value(s) are in several",
    ),
    "a missing key": (
        lambda number, row: row.update(customer="") if number == 5 else None, ["--key", "customer"], 1,
        "missing in 1 of 400 rows",
    ),
    "times to come": (
        lambda number, row: row.update(asked_at=f"{2060 + number // 20}-01-01"), [], 1,
        "has 0 rows that lie in the past",
    ),
    "a time that nobody will see": (
        lambda number, row: row.update(asked_at="9999-12-31") if number == 16 else None, [], 1,
        "--event-time 'asked_at': row 17 is of 9999-12-31, and 1 of 400 rows are not of 1900 to 2100",
    ),
    "years of two digits as of four": (
        lambda number, row: row.update(asked_at=f"5/{13 + number % 9}/24"),
        ["--event-time", "asked_at", "--time-format", "%m/%d/%Y"], 1,
        "row 1 is '5/13/24', which is not a time; expected the format %m/%d/%Y",
    ),
    "a year of the Romans": (
        lambda number, row: row.update(asked_at="0024-05-13") if number == 3 else None, [], 1,
        "--event-time 'asked_at': row 4 is of 0024-05-13, and 1 of 400 rows are not of 1900 to 2100",
    ),
    "years of two digits that are to come": (
        lambda number, row: row.update(asked_at=f"{datetime(1965, 1, 1) + timedelta(days=9 * number):%d.%m.%y}"), [], 1,
        "as %d.%m.%y row 1 is of 2065-01-01, and 163 of 400 rows with an outcome are later than today",
    ),
    "one order of outcomes": (
        lambda number, row: row.update(left="yes" if number > 200 else "no"), ["--event-time", "none", "--yes"], 1,
        "check whether the file is ordered by left",
    ),
    "columns that are not there": (lambda _, row: None, ["--target", "lft"], 1, "did you mean 'left'?"),
    "one column twice": (lambda _, row: None, ["--key", "asked_at"], 2, "--key and --event-time are both 'asked_at'"),
    "another way to write times": (lambda _, row: None, ["--time-format", "%Y"], 1, "expected the format %Y"),
    "no times at all": (lambda _, row: None, ["--event-time", "calls"], 1, "'calls' holds no times"),
    "a value that is not there": (lambda _, row: None, ["--positive", "ja"], 1, "one of: no, yes"),
    "the target left out": (lambda _, row: None, ["--leave-out", "left"], 2, "expected a feature"),
    "everything left out": (
        lambda _, row: None, ["--leave-out", "calls", "--leave-out", "months", "--leave-out", "plan"], 1,
        "no column is left to predict from",
    ),
    "no region": (lambda _, row: None, ["--region", "mars"], 2, "'mars' is no region of AWS; expected e.g. eu-west-1"),
    "no such region": (lambda _, row: None, ["--region", "eu-wset-1"], 2, "did you mean eu-west-1?"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "arguments", "code", "said"), ROWS.values(), ids=ROWS)
def test_invalid_data_and_options_are_refused(
    checkout: Checkout, tmp_path: Path, change: Callable[[int, Row], Any], arguments: list[str], code: int, said: str
) -> None:
    path = write(tmp_path / "data.csv", churn(change=change))
    assert said in checkout.refused("churn", "--from", path, *arguments, code=code)


OVER: dict[str, tuple[Callable[[int, Row], Any], str]] = {
    "empty": (lambda _, row: row.update(left=""), "is empty in all 400 rows"),
    "constant": (lambda _, row: row.update(left="yes"), "is 'yes' in all 400 rows that have a value"),
    "constant but for case": (
        lambda number, row: row.update(left=("yes", "Yes")[number % 2]), "is 'yes', ignoring case and spaces, in all"
    ),
    "three": (lambda number, row: row.update(left="abc"[number % 3]), "has 3 different values (a, b, c)"),
}  # fmt: skip


@pytest.mark.parametrize("more", [["--yes"], []])
@pytest.mark.parametrize(("change", "said"), OVER.values(), ids=OVER)
def test_an_unusable_column_named_like_the_target_is_not_skipped(
    checkout: Checkout, tmp_path: Path, change: Callable[[int, Row], Any], said: str, more: list[str]
) -> None:
    path = write(tmp_path / "data.csv", churn(change=change))
    answer = checkout.refused("churn", "--from", path, *more)
    assert f"'left', which is named like the target, {said}" in answer
    assert "name another column with --target, e.g. --target plan" in answer
    # Naming another target, or leaving this column out, is accepted.
    found = checkout.json("churn", "--from", path, "--leave-out", "left", "--yes", "--dry-run")
    assert (found["target"], list(found["left_out"])) == ("plan", ["left"])
    assert checkout.json("churn", "--from", path, "--target", "plan", "--yes", "--dry-run")["target"] == "plan"


def test_an_unusable_second_target_candidate_is_mentioned(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda _, row: row.update(churned=""))
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--dry-run")
    [said] = [each["reason"] for each in found["inferred"] if each["flag"] == "--target"]
    assert found["target"] == "left"
    assert "but 'churned', which is named like the target, is empty in all 400 rows" in said


def test_an_unreadable_amount_named_like_the_target_is_not_skipped(checkout: Checkout, tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row |= {"plan": f"p{number % 5}", "price": f"{number},5"}
        del row["left"]

    said = checkout.refused("churn", "--from", write(tmp_path / "a.csv", churn(change=change)), "--yes")
    assert "'price', which is named like the target, holds numbers with decimal commas, row 1 is '0,5'" in said


def test_a_label_with_three_integers_needs_the_problem_type(checkout: Checkout, tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row |= {"plan": f"p{number % 5}", "left": number % 3, "weight": number % 97}

    said = checkout.refused("churn", "--from", write(tmp_path / "a.csv", churn(change=change)))
    assert "--problem regression" in said
    said = checkout.refused("churn", "--from", str(tmp_path / "a.csv"), "--problem", "binary", "--yes")
    assert "'left', which is named like the target, has 3 different values (0, 1, 2)" in said


def test_another_target_is_proposed_on_a_terminal(checkout: Checkout, tmp_path: Path) -> None:
    person = Terminal(checkout, "churn", "--from", write(tmp_path / "a.csv", churn(change=OVER["three"][0])))
    person.until("--target [plan]")
    assert "but 'left', which is named like the target, has 3 different values" in person.text.replace("\r\n", " ")
    person.answer("left")
    person.until("has 3 different values (a, b, c); a binary problem has two")
    os.killpg(person.process.pid, signal.SIGKILL)
    assert person.end() == -signal.SIGKILL
    assert checkout.files() == checkout.before


def test_a_target_with_three_texts_is_not_proposed_as_binary(checkout: Checkout, tmp_path: Path) -> None:
    path = write(tmp_path / "data.csv", churn(change=OVER["three"][0]))
    said = checkout.refused("churn", "--from", path, "--target", "left")
    assert "--target 'left' has 3 different values (a, b, c)" in said
    assert "--problem binary" not in said


def test_times_before_the_training_lookback_are_refused(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda number, row: row.update(asked_at=f"{2024 - number * 3 // 10}-01-01"))
    said = checkout.refused("churn", "--from", write(tmp_path / "a.csv", rows))
    assert "--event-time 'asked_at': row 398 is of 1905-01-01, but training looks back 99 years at most" in said
    # The newest row is from 2024, so rows from before 1925-01-25 are too old.
    assert "remove the rows before 1925-01-25 (70 of 400)" in said


def test_too_few_rows_for_a_holdout_are_refused(checkout: Checkout, tmp_path: Path) -> None:
    said = checkout.refused("churn", "--from", write(tmp_path / "a.csv", churn(150)))
    assert "150 rows" in said
    assert "expected at least 200" in said


def test_a_key_with_a_few_repeated_values_is_refused(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda number, row: row.update(customer_id=f"c{min(number, 398)}", customer=number % 2))
    assert "'c398' is in rows 399 and 400" in checkout.refused("churn", "--from", write(tmp_path / "a.csv", rows))


def test_file_options_without_a_file_are_refused(checkout: Checkout) -> None:
    assert "use it with --from" in checkout.refused("churn", "--trust", "calls", code=2)
    assert "'calls' cannot be a column's name here" in checkout.refused("churn", "--target", "calls", code=2)
