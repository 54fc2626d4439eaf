"""Tests of the files that `millrace new` generates, and that it writes all of them or none."""

from __future__ import annotations

import math
import os
import random
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from cli.console.errors import CliError
from cli.scaffold import gates, literals, names, place
from cli.scaffold.plan import make_identifiers
from millrace import Environment
from tests import forked
from tests.local.hosted import eventually

from .conftest import Checkout, Row, churn, write

# -- generated files ---------------------------------------------------------------------------------------------------


def write_houses_file(path: Path) -> str:
    """Write a Parquet file with typed columns, a time zone, a price as target and an integer key."""
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


def write_odd_file(path: Path) -> str:
    """Write a CSV file with semicolons, quotes, invalid column names and numeric classes, but no time or key."""
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


def test_generated_use_cases_are_complete_clean_and_pass_their_tests(checkout: Checkout, tmp_path: Path) -> None:
    made = {
        "churn-eu": checkout.json("churn-eu", "--from", write(tmp_path / "a.csv", churn())),
        "houses": checkout.json(
            "houses",
            "--from",
            write_houses_file(tmp_path / "houses.parquet"),
            "--trust",
            "area",
            "--event-time",
            "listed_at",
        ),
        "odd": checkout.json("odd", "--from", write_odd_file(tmp_path / "odd.csv"), "--yes", "--region", "us-east-1"),
        "made-up": checkout.json("made-up", "--target", "gone"),
        "spend": checkout.json("spend", "--problem", "regression"),
    }
    files = sorted(name for found in made.values() for name in found["files"])
    assert sorted(name for name in checkout.files() - checkout.before if (checkout.folder / name).is_file()) == files
    for name in files:
        if not name.endswith(".csv"):
            assert not re.search(r"\{\{|\{%|\{#|TODO", checkout.read(name)), name
    for tool in (["ruff", "check", "stacks"], ["ruff", "format", "--check", "stacks"], ["mypy", "stacks"],
                 ["pytest", "-v", "-p", "no:cacheprovider", "stacks"]):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", *tool], cwd=checkout.folder, env=checkout.environment,
            capture_output=True, text=True, check=False, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    assert "30 passed" in done.stdout
    # Read the whole original file instead of the sample.
    variables = {**checkout.environment, "HOUSES_DATA": str(tmp_path / "houses.parquet")}
    program = "from stacks.houses import data; city = data._rows()['city']; print(len(city), sorted({*city} - {None}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout.folder, env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout == "600 ['Köln', 'the \"Ulm\"']\n"
    for found in made.values():
        _check_stacks(checkout, found)


def _check_stacks(checkout: Checkout, found: Row) -> None:
    name = found["use_case"]
    environments = {}
    for each in names.ENVIRONMENTS:
        document = yaml.safe_load(checkout.read(f"stacks/Pulumi.{name}-{each}.yaml"))
        config = document["config"]
        environments[each] = Environment.from_stack(
            f"{name}-{each}", config["millrace:environment"], config["aws:region"]
        )
        assert ("encryptionsalt" in document) == (each == "local")
    assert [environments[each].promotion.approval for each in names.ENVIRONMENTS] == ["automatic"] * 2 + ["manual"] * 2
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


def test_a_clear_file_raises_no_questions(checkout: Checkout, data: str) -> None:
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
    assert '_outcome("left", table["left"], yes="yes", no="no")' in checkout.read("stacks/churn/data.py")


def test_invalid_column_names_are_mapped_and_useless_columns_left_out(checkout: Checkout, tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row |= {"Monthly fee (€)": number % 17, "note": f"{number} says", "order_no": number * 3, "same": "x",
                "nothing": "", "signup": f"20{10 + number % 9}-02-03", "closed": f"203{number % 5}-01-01",
                "paid": "2024-02-30" if number == 4 else "2024-02-01",
                "load": "high" if number == 8 else number % 21 + 0.5}  # fmt: skip

    found = checkout.json(
        "churn", "--from", write(tmp_path / "a.csv", churn(change=change)),
        "--leave-out", "calls", "--event-time", "asked_at", "--key", "customer",
    )  # fmt: skip
    assert found["renamed"] == {"Monthly fee (€)": "monthly_fee"}
    assert found["features"] == ["months", "plan", "monthly_fee", "signup"]
    left_out = found["left_out"]
    assert sorted(left_out) == ["calls", "closed", "load", "note", "nothing", "order_no", "paid", "same"]
    assert "on request" in left_out["calls"]
    assert "row 1 contains a time after the event" in left_out["closed"]
    assert "row 5 is '2024-02-30', which is not a time" in left_out["paid"]
    assert "row 9 is 'high'" in left_out["load"]
    # A time becomes a feature: the number of days before the event.
    assert '"signup_days": _days(columns["signup"], now)' in checkout.read("stacks/churn/features.py")
    header = checkout.read("stacks/churn/sample.csv").splitlines()[0]
    assert header == "customer,asked_at,months,plan,left,Monthly fee (€),signup"


def test_the_sample_of_a_large_file_is_small_sorted_and_spread_over_time(checkout: Checkout, tmp_path: Path) -> None:
    rows = churn(20_000, lambda number, row: row.update(asked_at=f"{datetime(2024, 1, 1) + timedelta(hours=number)}"))
    random.Random(1).shuffle(rows)
    found = checkout.json("churn", "--from", write(tmp_path / "large.csv", rows))
    text = checkout.read("stacks/churn/sample.csv")
    assert len(text.encode()) <= 300_000
    times = [line.split(",")[1] for line in text.splitlines()[1:]]
    assert len(times) == found["sample"]["rows"] == 2000
    assert times == sorted(times)
    assert times[-1] == max(str(row["asked_at"]) for row in rows)
    # The sample covers a year to train on and a season to replay, not only the last days.
    assert datetime.fromisoformat(times[-1]) - datetime.fromisoformat(times[0]) > timedelta(days=400)
    assert found["sample"]["of"] == 20_000


def remove_time_and_key(number: int, row: Row) -> None:
    del row["asked_at"], row["customer"]


def test_rows_without_times_get_arrival_times_and_a_note_on_their_limit(checkout: Checkout, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", churn(change=remove_time_and_key))
    found = checkout.json("churn", "--from", path, "--event-time", "none")
    assert (found["key"], found["event_time"]) == ("row", "arrived_at")
    source = checkout.read("stacks/churn/data.py")
    assert "arrive one after another" in source
    asked = datetime.fromisoformat(found["sample"]["until"])
    assert timedelta(0) <= datetime.now(UTC) - asked.replace(tzinfo=UTC) <= timedelta(days=1)
    # In wall-clock time, training fails once the file is too old: output, code and stack files mention this.
    [said] = [hint for hint in found["hints"] if "arrived_at" in hint]
    assert "the last row gets the time at which the object at CHURN_DATA was written" in said
    assert "refused 49 days later" in said
    assert "refuses to train 49 days later" in " ".join(source.replace("#:", "").split())
    for each in ("dev", "staging", "prod"):
        stack = " ".join(checkout.read(f"stacks/Pulumi.churn-{each}.yaml").replace("#", "").split())
        assert "gets the time at which this object was written, and training refuses it 49 days later" in stack


def test_arrival_times_of_sample_and_whole_file_cover_the_same_period(checkout: Checkout, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", churn(20_000, remove_time_and_key))
    found = checkout.json("churn", "--from", path, "--event-time", "none")
    assert found["sample"]["rows"] == 2000
    sample, whole = (read_event_column(checkout, "arrived_at", CHURN_DATA=place) for place in ("", path))
    assert (len(sample), len(whole)) == (2000, 20_000)
    assert max(whole) == max(sample)
    assert whole == sorted(whole)
    # The replay starts at the same share of both, and training looks back to the first row of both.
    start = datetime.fromisoformat(found["replay_from"])
    shares = [
        sum(datetime.fromisoformat(f"{each}Z") < start for each in times) / len(times) for times in (sample, whole)
    ]
    assert shares[1] == pytest.approx(shares[0], abs=0.01)
    assert start - datetime.fromisoformat(f"{whole[0]}Z") < timedelta(days=100)


def test_arrival_times_end_when_the_object_was_written(checkout: Checkout, tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.csv", churn(change=remove_time_and_key)))
    checkout.json("churn", "--from", str(path), "--event-time", "none")
    written = datetime(2031, 5, 1, 12, tzinfo=UTC)
    os.utime(path, (written.timestamp(), written.timestamp()))
    first, again = (read_event_column(checkout, "arrived_at", CHURN_DATA=path.as_uri()) for _ in range(2))
    assert first[-1] == "2031-05-01T12:00:00.000000"
    assert first == again


def read_event_column(checkout: Checkout, column: str, **variables: str) -> list[str]:
    """Return one column of all events from the generated data.py."""
    program = (
        "import numpy as np; from stacks.churn import data; "
        "since, until = np.datetime64('1900-01-01', 'us'), np.datetime64('2100-01-01', 'us'); "
        f"print(*data.events(since, until)[{column!r}], sep='\\n')"
    )
    environment = {**checkout.environment, **variables}
    return forked.run(
        [sys.executable, "-c", program], cwd=checkout.folder, env=environment, check=True
    ).stdout.splitlines()


def test_a_dry_run_prints_the_same_result_and_writes_nothing(checkout: Checkout, data: str) -> None:
    would = checkout.json("churn", "--from", data, "--dry-run")
    assert checkout.files() == checkout.before
    assert not would.pop("written")
    made = checkout.json("churn", "--from", data)
    assert made.pop("written")
    assert would.pop("next") == [["the same command without --dry-run", "write these files"]]
    assert made.pop("next")[0][0] == "millrace up churn"
    assert made == would


def test_the_output_lists_the_files_and_the_next_commands(checkout: Checkout, data: str) -> None:
    said = checkout("churn", "--from", data).stdout
    assert "• --positive yes: it means yes" in said
    assert re.search(r"stacks/churn/sample.csv +[\d,]+ bytes", said)
    assert "sample.csv is committed with the code" in said
    assert said.index("\nnext\n") < said.index("millrace up churn ") < said.index("millrace invoke churn --sample")


# -- all or nothing ----------------------------------------------------------------------------------------------------


def test_existing_use_cases_are_never_overwritten(checkout: Checkout, data: str) -> None:
    checkout("churn", "--from", data)
    declaration = checkout.folder / "stacks/churn/__init__.py"
    declaration.write_text(declaration.read_text() + "# mine\n")
    before = {name: (checkout.folder / name).stat().st_mtime_ns for name in checkout.files()}
    assert "is taken: stacks/churn exists" in checkout("churn", "--from", data, code=1).stderr
    assert {name: (checkout.folder / name).stat().st_mtime_ns for name in checkout.files()} == before
    assert declaration.read_text().endswith("# mine\n")


def test_an_existing_folder_is_left_unchanged(checkout: Checkout) -> None:
    (checkout.folder / "stacks/churn").mkdir()
    assert "stacks/churn exists, but contains no use case" in checkout("churn", code=1).stderr
    assert checkout.files() - checkout.before == {"stacks/churn"}


def test_a_failed_write_removes_the_files_written_before(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/Pulumi.a-prod.yaml").write_text("mine")
    files = {f"stacks/{name}": b"new" for name in ("a/__init__.py", "a/tests/__init__.py", "Pulumi.a-dev.yaml",
                                                   "Pulumi.a-prod.yaml")}  # fmt: skip
    with pytest.raises(CliError, match=r"Pulumi.a-prod.yaml already exists; nothing was written"):
        place.write_files(files, tmp_path, "stacks/a")
    assert [path.name for path in (tmp_path / "stacks").iterdir()] == ["Pulumi.a-prod.yaml"]
    assert (tmp_path / "stacks/Pulumi.a-prod.yaml").read_text() == "mine"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_no_files(checkout: Checkout, data: str, tmp_path: Path, number: signal.Signals) -> None:
    environment = {**checkout.environment, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        checkout.command("churn", "--from", data), cwd=checkout.folder, env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    # Wait until it has rendered the files and is training.
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
def test_strings_are_rendered_as_python_literals(value: str, written: str) -> None:
    assert literals.render_text(value) == written
    assert eval(literals.render_text(value)) == value


def test_columns_get_unique_identifiers() -> None:
    columns = ["Größe (cm)", "groesse", "2nd", "fold", "a b", "a_b", "A-B", "é", "€", "$", "Age", "age!", "Score"]
    found = make_identifiers(columns)
    assert list(found.values()) == [
        "grosse_cm", "groesse", "c_2nd", "fold_value", "a_b", "a_b_2", "a_b_3", "e", "column", "column_2",
        # Joins ignore case.
        "Age", "age_2", "Score_value",
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "bound"), [(16366.2, 17000), (3.243, 3.3), (0.0123, 0.013), (99.4, 100), (2, 2.0)])
def test_bounds_are_rounded_upwards_to_two_digits(value: float, bound: float) -> None:
    assert gates._round_up(value) == bound
