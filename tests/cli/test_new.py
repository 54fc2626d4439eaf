"""`millrace new`: what it makes of a file, what it asks, what it refuses; in a checkout of its own."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import pty
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from cli.errors import CliError
from cli.scaffold import gates, literals, names, place
from cli.scaffold.plan import identifiers
from millrace import Environment
from tests.local.hosted import eventually

from .conftest import REPOSITORY

Row = dict[str, Any]
#: Runs command after command in one process: what they import is imported once.
_RUNNER = """
import contextlib, io, json, sys
from cli import main
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main.run(json.loads(line))
        except Exception as error:
            import traceback
            code = traceback.print_exc() or 99
    sys.__stdout__.write(json.dumps([code, out.getvalue(), err.getvalue()]) + "\\n")
    sys.__stdout__.flush()
"""
FOLDERS = ("cli", "components", "local", "millrace", "stacks", "templates", "training")


class Checkout:
    """What `millrace new` needs of this repository, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__", "nycflights*")
        for name in FOLDERS:
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
        for name in ("ruff.toml", "pyproject.toml"):
            shutil.copy2(REPOSITORY / name, folder / name)
        # What others scaffold in the tree meanwhile is not looked at.
        for path in (folder / "stacks").iterdir():
            if "flights" not in path.name and path.name != "__init__.py":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.before = self.files()
        self._runner = subprocess.Popen(
            [sys.executable, "-c", _RUNNER], cwd=folder, env=self.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def stop(self) -> None:
        self._runner.communicate(timeout=30)

    @property
    def environment(self) -> dict[str, str]:
        mine = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PULUMI_", "MILLRACE_"))}
        return {**mine, "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"}

    def files(self) -> set[str]:
        found = (self.folder / "stacks").rglob("*")
        return {path.relative_to(self.folder).as_posix() for path in found if "__pycache__" not in path.parts}

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", "new", *arguments]

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        self._runner.stdin.write(json.dumps(["new", *arguments]) + "\n")
        self._runner.stdin.flush()
        done = subprocess.CompletedProcess(arguments, *json.loads(self._runner.stdout.readline()))
        assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)

    def refused(self, *arguments: str, code: int = 1) -> str:
        """What is said; nothing is left behind."""
        said = self(*arguments, code=code).stderr
        assert self.files() == self.before
        return said

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def clear(self) -> None:
        for name in sorted(self.files() - self.before, reverse=True):
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path_factory.mktemp("new") / "millrace")
    yield checkout
    checkout.stop()


@pytest.fixture
def checkout(copied: Checkout) -> Iterator[Checkout]:
    yield copied
    copied.clear()


def churn(count: int = 400, change: Callable[[int, Row], Any] = lambda _, row: None) -> list[Row]:
    """Customers asked about every four hours; the odds of leaving rise with their calls and fall with their months."""
    chance, start = random.Random(11), datetime(2025, 1, 1)
    rows = []
    for number in range(count):
        calls, months, plan = chance.randint(0, 6), chance.randint(1, 48), chance.choice(["basic", "family"])
        odds = math.exp(0.5 * calls - 0.05 * months - 0.5 + (plan == "basic"))
        left = chance.random() < odds / (1 + odds)
        asked = (start + timedelta(hours=4 * number)).isoformat()
        row = {"customer": f"c{number}", "asked_at": asked, "calls": calls, "months": months, "plan": plan}
        row["left"] = "yes" if left else "no"
        change(number, row)
        rows.append(row)
    return rows


def write(path: Path, rows: list[Row], **options: Any) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), **options)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where nothing needs to be asked."""
    return write(tmp_path_factory.mktemp("data") / "churn.csv", churn())


# -- what is made ------------------------------------------------------------------------------------------------------


def houses(path: Path) -> str:
    """Typed columns, a zone, a price in the target's place, a whole number as key."""
    chance, start = random.Random(5), datetime(2025, 3, 1, tzinfo=UTC)
    rows = []
    for number in range(600):
        area, rooms = chance.gauss(80, 25), chance.randint(1, 6)
        rows.append({
            "listing_id": number - 300, "listed_at": start + timedelta(hours=7 * number), "area": area,
            "rooms": rooms, "is_new": chance.random() < 0.3, "city": chance.choice(["Köln", 'the "Ulm"', None]),
            "built": (start - timedelta(days=chance.randint(300, 20_000))).date(),
            "price": 9000 * rooms + 3000 * area * chance.uniform(0.2, 1.2),
        })  # fmt: skip
    table = pa.Table.from_pylist(rows)
    city = table["city"].dictionary_encode()
    pq.write_table(table.set_column(table.column_names.index("city"), "city", city), path)
    return str(path)


def odd(path: Path) -> str:
    """No time, no key, semicolons, names that are none, quotes, numbers that are classes."""
    chance = random.Random(6)
    rows = []
    for number in range(300):
        a, b = chance.gauss(0, 1), chance.gauss(0, 1)
        rows.append({
            "Größe (cm)": f"{a:.3f}" if number % 9 else "NA", "2nd": f"{b:.2f}", "score": chance.choice("xy"),
            "say \"hi\" and 'ho'": chance.choice(['a "b"', "it's", "both \" and '"]), "same": 1, "fold": number % 7,
            "a" * 110: chance.choice(["long", "l" * 115]), "b" * 64: chance.choice("cd"),
            "class": 2 if a + b + chance.gauss(0, 2) > 0 else 1,
        })  # fmt: skip
    return write(path, rows, delimiter=";")


def test_each_kind_of_use_case_is_whole_clean_and_passes_its_own_tests(checkout: Checkout, tmp_path: Path) -> None:
    made = {
        "churn-eu": checkout.json("churn-eu", "--from", write(tmp_path / "a.csv", churn())),
        "houses": checkout.json(
            "houses", "--from", houses(tmp_path / "houses.parquet"), "--trust", "area", "--event-time", "listed_at"
        ),
        "odd": checkout.json("odd", "--from", odd(tmp_path / "odd.csv"), "--yes", "--region", "us-east-1"),
        "made-up": checkout.json("made-up", "--target", "gone"),
        "spend": checkout.json("spend", "--problem", "regression"),
    }
    files = sorted(name for found in made.values() for name in found["files"])
    assert sorted(name for name in checkout.files() - checkout.before if (checkout.folder / name).is_file()) == files
    for name in files:
        if not name.endswith(".csv"):
            assert not re.search(r"\{\{|\{%|\{#|TODO", checkout.read(name)), name
    for tool in (["ruff", "check", "stacks"], ["ruff", "format", "--check", "stacks"],
                 ["mypy", "--cache-dir", str(REPOSITORY / ".mypy_cache"), "stacks"],
                 ["pytest", "-v", "-p", "no:cacheprovider", "stacks"]):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", *tool], cwd=checkout.folder, env=checkout.environment,
            capture_output=True, text=True, check=False, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    assert "30 passed" in done.stdout
    # All of the file, as it is, instead of the sample.
    variables = {**checkout.environment, "HOUSES_DATA": str(tmp_path / "houses.parquet")}
    program = "from stacks.houses import data; city = data._rows()['city']; print(len(city), sorted({*city} - {None}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout.folder, env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout == "600 ['Köln', 'the \"Ulm\"']\n"
    for found in made.values():
        _stacks_are_sound(checkout, found)


def _stacks_are_sound(checkout: Checkout, found: Row) -> None:
    name = found["use_case"]
    environments = {}
    for each in names.ENVIRONMENTS:
        document = yaml.safe_load(checkout.read(f"stacks/Pulumi.{name}-{each}.yaml"))
        config = document["config"]
        environments[each] = Environment.of_stack(
            f"{name}-{each}", config["millrace:environment"], config["aws:region"]
        )
        assert ("encryptionsalt" in document) == (each == "local")
    assert [environments[each].promotion for each in names.ENVIRONMENTS] == ["automatic"] * 2 + ["manual"] * 2
    local = environments["local"]
    assert local.force_destroy
    assert local.replay_from is not None
    assert local.replay_from == datetime.fromisoformat(found["replay_from"])
    if found["sample"]["rows"]:
        since, until = (datetime.fromisoformat(found["sample"][each]) for each in ("since", "until"))
        assert since < local.replay_from < until
    assert environments["staging"].rollout.traffic == "canary"
    assert environments["prod"].rollout.traffic == "linear"
    assert len(found["gates"]) == 1
    [gate] = found["gates"]
    assert gate.get("at_least", -math.inf) <= gate["reached"] <= gate.get("at_most", math.inf)


def test_what_a_file_says_by_itself_is_not_asked(checkout: Checkout, data: str) -> None:
    found = checkout.json("churn", "--from", data)
    assert (found["problem"], found["target"], found["key"]) == ("binary", "left", "customer")
    assert found["event_time"] == "asked_at"
    assert found["features"] == ["calls", "months", "plan"]
    assert {each["flag"]: each["value"] for each in found["inferred"]} == {
        "--target": "left", "--problem": "binary", "--positive": "yes", "--key": "customer",
        "--event-time": "asked_at",
    }  # fmt: skip
    assert [command for command, _ in found["next"]] == [
        "millrace up churn", "millrace invoke churn --sample", "pytest stacks/churn",
    ]  # fmt: skip
    declaration = checkout.read("stacks/churn/__init__.py")
    assert 'Expect("plan", one_of=("basic", "family"), max_bad=0.01)' in declaration
    assert '_numbers(pc.equal(table["left"], "yes"))' in checkout.read("stacks/churn/data.py")


def test_names_that_python_cannot_take_are_mapped_and_columns_of_no_use_left_out(
    checkout: Checkout, tmp_path: Path
) -> None:
    def change(number: int, row: Row) -> None:
        row |= {"Monthly fee (€)": number % 17, "note": f"{number} says", "order_no": number * 3, "same": "x",
                "nothing": "", "signup": f"20{10 + number % 9}-02-03", "closed": f"203{number % 5}-01-01",
                "load": "high" if number == 8 else number % 21 + 0.5}  # fmt: skip

    found = checkout.json(
        "churn", "--from", write(tmp_path / "a.csv", churn(change=change)),
        "--leave-out", "calls", "--event-time", "asked_at", "--key", "customer",
    )  # fmt: skip
    assert found["renamed"] == {"Monthly fee (€)": "monthly_fee"}
    assert found["features"] == ["months", "plan", "monthly_fee", "signup"]
    left_out = found["left_out"]
    assert sorted(left_out) == ["calls", "closed", "load", "note", "nothing", "order_no", "same"]
    assert "on request" in left_out["calls"]
    assert "row 1 holds a time after the event" in left_out["closed"]
    assert "row 9 is 'high'" in left_out["load"]
    # A time counts as the days before the event.
    assert '"signup_days": _days(columns["signup"], now)' in checkout.read("stacks/churn/features.py")
    header = checkout.read("stacks/churn/sample.csv").splitlines()[0]
    assert header == "customer,asked_at,months,plan,left,Monthly fee (€),signup"


def test_the_sample_of_a_large_file_is_small_spread_in_time_and_in_order(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(20_000, lambda number, row: row.update(asked_at=f"{datetime(2024, 1, 1) + timedelta(hours=number)}"))
    random.Random(1).shuffle(rows)
    found = checkout.json("churn", "--from", write(tmp_path / "large.csv", rows))
    text = checkout.read("stacks/churn/sample.csv")
    assert len(text.encode()) <= 300_000
    times = [line.split(",")[1] for line in text.splitlines()[1:]]
    assert len(times) == found["sample"]["rows"] == 2000
    assert times == sorted(times)
    assert times[-1] == max(str(row["asked_at"]) for row in rows)
    # A year to learn from and a season to replay, not the last days alone.
    assert datetime.fromisoformat(times[-1]) - datetime.fromisoformat(times[0]) > timedelta(days=400)
    assert found["sample"]["of"] == 20_000


def test_rows_without_times_arrive_one_after_another_and_the_code_says_so(checkout: Checkout, tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        del row["asked_at"], row["customer"]

    path = write(tmp_path / "a.csv", churn(change=change))
    found = checkout.json("churn", "--from", path, "--event-time", "none")
    assert (found["key"], found["event_time"]) == ("row", "arrived_at")
    assert "arriving one after another" in checkout.read("stacks/churn/data.py")
    asked = datetime.fromisoformat(found["sample"]["until"])
    assert timedelta(0) <= datetime.now(UTC) - asked.replace(tzinfo=UTC) <= timedelta(days=1)


def test_a_dry_run_says_the_same_and_writes_nothing(checkout: Checkout, data: str) -> None:
    would = checkout.json("churn", "--from", data, "--dry-run")
    assert checkout.files() == checkout.before
    assert not would.pop("written")
    made = checkout.json("churn", "--from", data)
    assert made.pop("written")
    assert made == would


def test_people_are_told_what_was_made_and_what_comes_next(checkout: Checkout, data: str) -> None:
    said = checkout("churn", "--from", data).stdout
    assert "• --positive yes: it means yes" in said
    assert re.search(r"stacks/churn/sample.csv +[\d,]+ bytes", said)
    assert "sample.csv is committed with the code" in said
    assert said.index("\nnext\n") < said.index("millrace up churn ") < said.index("millrace invoke churn --sample")


# -- how it is written -------------------------------------------------------------------------------------------------


def values(checkout: Checkout, name: str, more: str = "") -> list[float]:
    """What the generated data.py makes of the sample, or of another file."""
    program = f"import json; from stacks.churn import data; print(json.dumps(data._rows()[{name!r}][:50].tolist()))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout.folder, env={**checkout.environment, "CHURN_DATA": more},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: list[float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas_are_numbers_where_no_comma_parts_the_columns(
    checkout: Checkout, tmp_path: Path, delimiter: str
) -> None:
    amounts = [f"{number % 37 + number / 400:.2f}" for number in range(400)]
    rows = churn(change=lambda number, row: row.update(amount=amounts[number].replace(".", ",")))
    path = write(tmp_path / "a.csv", rows, delimiter=delimiter)
    found = checkout.json("churn", "--from", path)
    assert found["features"] == ["calls", "months", "plan", "amount"]
    assert found["left_out"] == {}
    for read in ("", path):
        assert values(checkout, "amount", read) == [float(each) for each in amounts[:50]]
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
        # A point beside it: one of both is no decimal mark.
        ("12,{:02}", ";", "its numbers have decimal commas, row 1 is '12,00'"),
        ("1.2{:02},5", ";", "its numbers have their thousands set apart, row 1 is '1.200,5': write them without"),
        ("1,2{:02}.5", ",", "its numbers have their thousands set apart, row 1 is '1,200.5': write them without"),
    ],
)
def test_numbers_that_cannot_be_read_are_left_out_with_the_reason(
    checkout: Checkout, tmp_path: Path, amount: str, delimiter: str, said: str
) -> None:
    rows = churn(change=lambda number, row: row.update(amount=amount.format(number % 100), weight=number % 9 + 0.5))
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows, delimiter=delimiter))
    assert said in found["left_out"]["amount"]
    assert "weight" in found["features"]
    # The reason stands in the code as a whole sentence.
    comment = " ".join(checkout.read("stacks/churn/data.py").replace("\n#:  ", "").split())
    assert f"#: `amount`: {found['left_out']['amount']}." in comment


def test_outcomes_that_differ_in_case_only_are_one(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn()
    outcomes = [float(row["left"] == "yes") for row in rows]
    for number, row in enumerate(rows):
        row["left"] = ("Yes", "yes", "YES ")[number % 3] if row["left"] == "yes" else ("No", "no")[number % 2]
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--positive", "YES")
    assert found["problem"] == "binary"
    assert values(checkout, "left") == outcomes[:50]
    found = checkout.json("again", "--from", str(tmp_path / "a.csv"), "--dry-run")
    [said] = [each["reason"] for each in found["inferred"] if each["flag"] == "--positive"]
    assert "case and outer spaces are not told apart" in said


def test_zeros_and_ones_with_spaces_are_outcomes(checkout: Checkout, tmp_path: Path) -> None:
    outcomes = [float(row["left"] == "yes") for row in churn()]
    rows = churn(change=lambda number, row: row.update(left=f"{outcomes[number]:.0f}" + " " * (number % 2)))
    checkout.json("churn", "--from", write(tmp_path / "a.csv", rows))
    assert values(checkout, "left") == outcomes[:50]


@pytest.mark.parametrize(("column", "unit"), [("when", 1), ("createdAt", 1000), ("tick", 1000)])
def test_epoch_times_are_times(checkout: Checkout, tmp_path: Path, column: str, unit: int) -> None:
    def change(number: int, row: Row) -> None:
        moment = datetime.fromisoformat(row.pop("asked_at")).replace(tzinfo=UTC)
        row[column] = int(moment.timestamp()) * unit

    path = write(tmp_path / "a.csv", churn(change=change))
    # Nothing is known about the time of a `tick`: that it may be one is said.
    told = ["--event-time", column, "--time-format", "epoch-ms"] if column == "tick" else []
    if told:
        said = checkout.refused("churn", "--from", path, code=2)
        assert (
            "tick may be epoch milliseconds, whole milliseconds since 1970: if it says when, --event-time tick" in said
        )
    found = checkout.json("churn", "--from", path, *told)
    assert found["event_time"] == column
    assert found["sample"]["since"].startswith("2025-01-01T00:00:00")
    source = checkout.read("stacks/churn/data.py")
    assert f'_since_1970(table["{column}"], "{"s" if unit == 1 else "ms"}")' in source


def test_lines_that_end_with_a_carriage_return(checkout: Checkout, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", churn(), lineterminator="\r")
    assert checkout.json("churn", "--from", path)["sample"]["rows"] == 400
    assert values(checkout, "calls") == values(checkout, "calls", path) == [row["calls"] for row in churn()[:50]]


# -- what is asked -----------------------------------------------------------------------------------------------------


def unclear(path: Path) -> str:
    """Two times, two keys, a target whose name says nothing, in an order of day and month that nobody knows."""

    def change(number: int, row: Row) -> None:
        row["result"] = {"yes": "A", "no": "B"}[row.pop("left")]
        row["asked_at"] = (datetime(2025, 1 + number % 9, 1 + number % 12)).strftime("%d/%m/%Y")
        row |= {"customer": f"x{number}", "code": f"y{number}"}

    return write(path, churn(change=change))


def test_without_a_terminal_the_missing_flags_are_named_and_nobody_waits(checkout: Checkout, tmp_path: Path) -> None:
    began = time.monotonic()
    said = checkout.refused("churn", "--from", unclear(tmp_path / "a.csv"), code=2)
    assert time.monotonic() - began < 30
    assert "questions are open and nobody can be asked here" in said
    for flag in ("--target result", "--positive", "--key customer", "--time-format %d/%m/%Y"):
        assert f"\n  {flag}" in said
    assert "--yes" in said


def test_every_question_has_a_flag_and_yes_takes_what_is_proposed(checkout: Checkout, tmp_path: Path) -> None:
    path = unclear(tmp_path / "a.csv")
    found = checkout.json("churn", "--from", path, "--yes", "--dry-run")
    assert (found["target"], found["key"]) == ("result", "customer")
    found = checkout.json(
        "churn", "--from", path, "--target", "result", "--positive", "A", "--key", "code", "--problem", "binary",
        "--event-time", "asked_at", "--time-format", "%m/%d/%Y",
    )  # fmt: skip
    assert found["inferred"] == []
    source = checkout.read("stacks/churn/data.py")
    assert '_times_as(table["asked_at"], "%m/%d/%Y")' in source
    assert '_numbers(pc.equal(table["result"], "A"))' in source


class Terminal:
    """The command with a person before it."""

    def __init__(self, checkout: Checkout, *arguments: str) -> None:
        mine, theirs = pty.openpty()
        self.terminal, self.text = mine, ""
        self.process = subprocess.Popen(
            checkout.command(*arguments), cwd=checkout.folder, env=checkout.environment,
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def until(self, words: str, seconds: float = 60) -> None:
        """Read on until this is said."""
        deadline, start = time.monotonic() + seconds, len(self.text)
        while words not in self.text[start:]:
            assert time.monotonic() < deadline, f"waited for {words!r}:\n{self.text}"
            if select.select([self.terminal], [], [], 0.2)[0] and not self._read():
                break
        assert words in self.text[start:], f"ended before {words!r}:\n{self.text}"

    def answer(self, words: str) -> None:
        os.write(self.terminal, f"{words}\n".encode())

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        os.close(self.terminal)
        return self.process.wait(timeout=30)

    def _read(self) -> bool:
        try:
            data = os.read(self.terminal, 65_536)
        except OSError:
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


def test_a_person_is_asked_only_what_is_unclear_with_a_proposal_and_may_mistype(
    checkout: Checkout, tmp_path: Path
) -> None:
    person = Terminal(checkout, "churn", "--from", unclear(tmp_path / "a.csv"))
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
    assert 'pc.equal(table["result"], "B")' in source


def leaking(path: Path) -> str:
    return write(path, churn(change=lambda number, row: row.update(refund=number % 5 + 9 * (row["left"] == "yes"))))


def test_a_column_that_tells_the_outcome_is_asked_about(checkout: Checkout, tmp_path: Path) -> None:
    person = Terminal(checkout, "churn", "--from", leaking(tmp_path / "a.csv"))
    person.until("--leave-out refund [Y/n]")
    assert re.search(r"refund alone tells left with an AUC of 1\.000", person.text)
    person.answer("n")
    assert person.end() == 0, person.text
    assert 'trusted=["refund"]' in checkout.read("stacks/churn/__init__.py")


def test_ctrl_c_at_a_question_leaves_nothing(checkout: Checkout, tmp_path: Path) -> None:
    person = Terminal(checkout, "churn", "--from", unclear(tmp_path / "a.csv"))
    person.until("--target [")
    # A signal just before the process waits for a line is only seen with the next one: people press again.
    while person.process.poll() is None:
        os.killpg(person.process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            person.process.wait(timeout=5)
    assert person.end() == 130
    assert "interrupted" in person.text
    assert checkout.files() == checkout.before


def test_a_leak_without_a_person_needs_a_flag_or_yes(checkout: Checkout, tmp_path: Path) -> None:
    path = leaking(tmp_path / "a.csv")
    said = checkout.refused("churn", "--from", path, code=2)
    assert "--leave-out refund" in said
    assert "--trust refund" in said
    found = checkout.json("churn", "--from", path, "--yes", "--dry-run")
    assert "refund alone tells left" in found["left_out"]["refund"]
    found = checkout.json("churn", "--from", path, "--trust", "refund", "--dry-run")
    assert (found["trusted"], found["left_out"]) == (["refund"], {})
    assert not [hint for hint in found["hints"] if "refund" in hint]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Churn_EU", "is not spelt as a name; expected lower-case words with hyphens, e.g. 'churn' or 'churn-eu'; did "
                     "you mean 'churn-eu'?"),
        ("class", "is a Python keyword; stacks/class could not be imported; did you mean 'class-model'?"),
        ("json", "is also a module of Python's"),
        ("numpy", "is also the name of an installed package"),
        ("training", "is also the name of an installed package"),
        ("platform", "is the name of what the use cases of an environment share"),
        ("x" * 29, "has 29 characters; expected at most 28"),
        ("", "is empty"),
        ("churn-prod", "ends like a stack of the environment 'prod'; a use case 'churn' could never be beside it; did "
                       "you mean 'churn'?"),
    ],
)  # fmt: skip
def test_names_that_cannot_be(name: str, said: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        names.check(name, ["flights"], ["flights-local", "flights-dev"])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flights", "is taken: stacks/flights is there; nothing is overwritten; did you mean 'flights-model'?"),
        ("flights-local", "begins as the stack flights-local is called"),
    ],
)
def test_names_that_cannot_be_beside_what_is_there(name: str, said: str) -> None:
    with pytest.raises(CliError) as refused:
        names.check(name, ["flights"], ["flights-local", "flights-dev"])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "use_cases", "stacks"),
    [
        # `a` in the environment `b-local` and `a-b` in `local` are one stack.
        ("a-b", ["a"], ["a-b-local"]),
        ("a", ["a-local-x"], ["a-local-x-dev"]),
        ("a-b-local-c", ["a"], ["a-b-local"]),
    ],
)
def test_names_whose_stacks_are_another_s(name: str, use_cases: list[str], stacks: list[str]) -> None:
    with pytest.raises(CliError, match="stack"):
        names.check(name, use_cases, stacks)
    names.check("b", use_cases, stacks)


def test_a_bad_name_is_refused_by_the_command_before_the_file_is_read(checkout: Checkout) -> None:
    assert "did you mean 'churn-eu'" in checkout.refused("Churn EU", "--from", "/nowhere.csv", code=2)


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty; expected a header and rows"),
    "header only": (b"a,b\n", "has a header and no row"),
    "no header": (b"\n1,2\n", "its first line is empty"),
    "two columns of a name": (b"a,b,a\n1,2,3\n", "two columns are called 'a', number 1 and 3; rename one"),
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
def test_files_that_cannot_be_read(checkout: Checkout, tmp_path: Path, body: bytes, said: str) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(body)
    assert said in checkout.refused("churn", "--from", str(path))


@pytest.mark.parametrize(
    ("name", "said"),
    [("data.csv", "cannot be read: No such file"), ("data.xlsx", "expected .csv or .parquet"),
     ("data.parquet", "is no Parquet file"), ("folder.csv", "is a folder; expected one file")],
)  # fmt: skip
def test_files_that_are_none(checkout: Checkout, tmp_path: Path, name: str, said: str) -> None:
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
        "--event-time 'asked_at': row 17 is 'soon', which is no time; expected ISO 8601",
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
        "'c20' stands in rows 21 and 31, and 1 value(s) in several",
    ),
    "a missing key": (
        lambda number, row: row.update(customer="") if number == 5 else None, ["--key", "customer"], 1,
        "missing in 1 of 400 rows",
    ),
    "times to come": (
        lambda number, row: row.update(asked_at=f"{2200 + number}-01-01"), [], 1,
        "0 rows of the sample lie in the past",
    ),
    "one order of outcomes": (
        lambda number, row: row.update(left="yes" if number > 200 else "no"), ["--event-time", "none", "--yes"], 1,
        "is the file ordered by it?",
    ),
    "columns that are not there": (lambda _, row: None, ["--target", "lft"], 1, "did you mean 'left'?"),
    "one column twice": (lambda _, row: None, ["--key", "asked_at"], 2, "--key and --event-time are both 'asked_at'"),
    "another way to write times": (lambda _, row: None, ["--time-format", "%Y"], 1, "expected the format %Y"),
    "no times at all": (lambda _, row: None, ["--event-time", "calls"], 1, "'calls' holds no times"),
    "a value that is not there": (lambda _, row: None, ["--positive", "ja"], 1, "it has: no, yes"),
    "the target left out": (lambda _, row: None, ["--leave-out", "left"], 2, "expected a feature"),
    "everything left out": (
        lambda _, row: None, ["--leave-out", "calls", "--leave-out", "months", "--leave-out", "plan"], 1,
        "no column is left to predict from",
    ),
    "no region": (lambda _, row: None, ["--region", "mars"], 2, "'mars' is no region; expected e.g. eu-west-1"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "arguments", "code", "said"), ROWS.values(), ids=ROWS)
def test_data_that_cannot_be_meant(
    checkout: Checkout, tmp_path: Path, change: Callable[[int, Row], Any], arguments: list[str], code: int, said: str
) -> None:
    path = write(tmp_path / "data.csv", churn(change=change))
    assert said in checkout.refused("churn", "--from", path, *arguments, code=code)


OVER: dict[str, tuple[Callable[[int, Row], Any], str]] = {
    "empty": (lambda _, row: row.update(left=""), "is empty in all 400 rows"),
    "constant": (lambda _, row: row.update(left="yes"), "is 'yes' in all 400 rows that have one"),
    "constant but for case": (
        lambda number, row: row.update(left=("yes", "Yes")[number % 2]), "is 'yes', but for case and spaces, in all 400"
    ),
    "three": (lambda number, row: row.update(left="abc"[number % 3]), "has 3 different values (a, b, c)"),
}  # fmt: skip


@pytest.mark.parametrize("more", [["--yes"], []])
@pytest.mark.parametrize(("change", "said"), OVER.values(), ids=OVER)
def test_a_column_that_is_called_like_the_target_is_never_passed_over(
    checkout: Checkout, tmp_path: Path, change: Callable[[int, Row], Any], said: str, more: list[str]
) -> None:
    path = write(tmp_path / "data.csv", churn(change=change))
    answer = checkout.refused("churn", "--from", path, *more)
    assert f"'left', which is called like the target, {said}" in answer
    assert "name another column with --target, e.g. --target plan" in answer
    # Who names another one, or leaves it out, is obeyed.
    found = checkout.json("churn", "--from", path, "--leave-out", "left", "--yes", "--dry-run")
    assert (found["target"], list(found["left_out"])) == ("plan", ["left"])
    assert checkout.json("churn", "--from", path, "--target", "plan", "--yes", "--dry-run")["target"] == "plan"


def test_a_target_beside_another_one_that_cannot_be_is_said(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda _, row: row.update(churned=""))
    found = checkout.json("churn", "--from", write(tmp_path / "a.csv", rows), "--dry-run")
    [said] = [each["reason"] for each in found["inferred"] if each["flag"] == "--target"]
    assert found["target"] == "left"
    assert "but 'churned', which is called like the target, is empty in all 400 rows" in said


def test_an_amount_that_cannot_be_read_is_not_passed_over(checkout: Checkout, tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row |= {"plan": f"p{number % 5}", "price": f"{number},5"}
        del row["left"]

    said = checkout.refused("churn", "--from", write(tmp_path / "a.csv", churn(change=change)), "--yes")
    assert "'price', which is called like the target, holds numbers with decimal commas, row 1 is '0,5'" in said


def test_a_label_of_a_few_numbers_is_the_target_and_asked_about(checkout: Checkout, tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row |= {"plan": f"p{number % 5}", "left": number % 3, "weight": number % 97}

    said = checkout.refused("churn", "--from", write(tmp_path / "a.csv", churn(change=change)), code=2)
    assert "--problem regression" in said
    said = checkout.refused("churn", "--from", str(tmp_path / "a.csv"), "--problem", "binary", "--yes")
    assert "'left', which is called like the target, has 3 different values (0, 1, 2)" in said


def test_a_person_is_asked_instead(checkout: Checkout, tmp_path: Path) -> None:
    person = Terminal(checkout, "churn", "--from", write(tmp_path / "a.csv", churn(change=OVER["three"][0])))
    person.until("--target [plan]")
    assert "but 'left', which is called like the target, has 3 different values" in person.text.replace("\r\n", " ")
    person.answer("left")
    person.until("has 3 different values (a, b, c); a binary problem has two")
    os.killpg(person.process.pid, signal.SIGKILL)
    assert person.end() == -signal.SIGKILL
    assert checkout.files() == checkout.before


def test_three_texts_are_never_proposed_as_yes_or_no(checkout: Checkout, tmp_path: Path) -> None:
    path = write(tmp_path / "data.csv", churn(change=OVER["three"][0]))
    said = checkout.refused("churn", "--from", path, "--target", "left")
    assert "--target 'left' has 3 different values (a, b, c)" in said
    assert "--problem binary" not in said


def test_times_of_a_past_that_training_cannot_look_back_to(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda number, row: row.update(asked_at=f"{2024 - number}-01-01"))
    said = checkout.refused("churn", "--from", write(tmp_path / "a.csv", rows))
    assert "--event-time 'asked_at': row 400 is of 1625-01-01, but training looks back 99 years at most" in said
    # 2026 or later: rows of 1927 and before, or a year or two more.
    assert re.search(r"take the rows before 19\d\d-\d\d-\d\d out \(30\d of 400\)", said)


def test_too_few_rows_for_a_holdout(checkout: Checkout, tmp_path: Path) -> None:
    said = checkout.refused("churn", "--from", write(tmp_path / "a.csv", churn(150)))
    assert "150 rows" in said
    assert "expected at least 200" in said


def test_a_key_that_repeats_now_and_then_is_not_passed_over(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(change=lambda number, row: row.update(customer_id=f"c{min(number, 398)}", customer=number % 2))
    assert "'c398' stands in rows 399 and 400" in checkout.refused("churn", "--from", write(tmp_path / "a.csv", rows))


def test_options_about_a_file_need_one(checkout: Checkout) -> None:
    assert "give it with --from" in checkout.refused("churn", "--trust", "calls", code=2)
    assert "'calls' cannot be a column's name here" in checkout.refused("churn", "--target", "calls", code=2)


# -- all or nothing ----------------------------------------------------------------------------------------------------


def test_what_is_there_is_never_overwritten(checkout: Checkout, data: str) -> None:
    checkout("churn", "--from", data)
    declaration = checkout.folder / "stacks/churn/__init__.py"
    declaration.write_text(declaration.read_text() + "# mine\n")
    before = {name: (checkout.folder / name).stat().st_mtime_ns for name in checkout.files()}
    assert "is taken: stacks/churn is there" in checkout("churn", "--from", data, code=1).stderr
    assert {name: (checkout.folder / name).stat().st_mtime_ns for name in checkout.files()} == before
    assert declaration.read_text().endswith("# mine\n")


def test_a_folder_in_the_way_is_left_alone(checkout: Checkout) -> None:
    (checkout.folder / "stacks/churn").mkdir()
    assert "stacks/churn is there already" in checkout("churn", code=1).stderr
    assert checkout.files() - checkout.before == {"stacks/churn"}


def test_a_file_that_cannot_be_written_takes_the_others_back(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/Pulumi.a-prod.yaml").write_text("mine")
    files = {f"stacks/{name}": b"new" for name in ("a/__init__.py", "a/tests/__init__.py", "Pulumi.a-dev.yaml",
                                                   "Pulumi.a-prod.yaml")}  # fmt: skip
    with pytest.raises(CliError, match=r"Pulumi.a-prod.yaml is there already; nothing was written"):
        place.put(files, tmp_path, "stacks/a")
    assert [path.name for path in (tmp_path / "stacks").iterdir()] == ["Pulumi.a-prod.yaml"]
    assert (tmp_path / "stacks/Pulumi.a-prod.yaml").read_text() == "mine"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_being_stopped_at_work_leaves_nothing(
    checkout: Checkout, data: str, tmp_path: Path, number: signal.Signals
) -> None:
    environment = {**checkout.environment, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        checkout.command("churn", "--from", data), cwd=checkout.folder, env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    # It has rendered and trains.
    assert eventually(lambda: list(tmp_path.glob("millrace-new-*/stacks/*.yaml")), seconds=60)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert checkout.files() == checkout.before
    assert list(tmp_path.iterdir()) == []


# -- parts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [("a", '"a"'), ('a "b"', "'a \"b\"'"), ("it's", '"it\'s"'), ("a \" and '", '"a \\" and \'"'),
     ("back\\slash", '"back\\\\slash"'), ("line\nend", '"line\\nend"'), ("ö", '"ö"')],
)  # fmt: skip
def test_texts_are_written_as_python_reads_them(value: str, written: str) -> None:
    assert literals.text(value) == written
    assert eval(literals.text(value)) == value


def test_columns_get_names_of_their_own() -> None:
    found = identifiers(["Größe (cm)", "groesse", "2nd", "fold", "a b", "a_b", "A-B", "é", "€", "$"])
    assert list(found.values()) == [
        "grosse_cm", "groesse", "c_2nd", "fold_value", "a_b", "a_b_2", "a_b_3", "e", "column", "column_2",
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "bound"), [(16366.2, 17000), (3.243, 3.3), (0.0123, 0.013), (99.4, 100), (2, 2.0)])
def test_bounds_are_rounded_upwards_to_two_digits(value: float, bound: float) -> None:
    assert gates._up(value) == bound
