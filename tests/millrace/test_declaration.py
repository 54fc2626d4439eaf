"""Declarations: the smallest one and its defaults, and the message of every refusal."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from millrace import (
    Champion,
    DeclarationError,
    Expect,
    FeatureTable,
    Gate,
    MillraceError,
    Monitoring,
    Retraining,
    Slice,
    UseCase,
)
from millrace.metrics import CHAMPION_METRIC, METRICS, Problem, get_direction

DAY = timedelta(days=1)


def case(**changes: Any) -> UseCase:
    """Return the smallest use case with changes."""
    return UseCase(**{"name": "churn", "target": "left", "key": "id", "event_time": "at", **changes})


def table(name: str = "visits", **changes: Any) -> FeatureTable:
    """Return the smallest table with changes."""
    return FeatureTable(name, **{"entity": "shop", "columns": {"count": "number"}, **changes})


def test_the_smallest_declaration_and_its_defaults() -> None:
    smallest = case()
    assert smallest.model_dump() == {
        "name": "churn",
        "target": "left",
        "key": "id",
        "event_time": "at",
        "problem": Problem.BINARY,
        "lead_time": timedelta(0),
        "tables": (),
        "publish_every": timedelta(hours=1),
        "expectations": (),
        "inferred": {
            "types": "refuse",
            **dict.fromkeys(("ranges", "categories", "missing", "volume", "freshness", "labels"), "warn"),
        },
        "missing": {},
        "labels_mature_after": None,
        "trusted": (),
        "near_perfect": "",
        "history": 365 * DAY,
        "windows": (90 * DAY,),
        "holdout": 0.2,
        "gates": (),
        "slices": (),
        "threshold": 0.5,
        "champion": {"metric": None, "better_by": 0.005, "judged_on": 30 * DAY, "block": DAY},
        "monitoring": {
            "every": DAY,
            "window": 28 * DAY,
            "psi_alarm": 0.25,
            "informational": (),
            "calibration_alarm": None,
            "quality_alarm": 0.1,
            "skew_alarm": 0.01,
            "labels_alarm": 0.8,
            "volume_alarm": 2.0,
            "refusals_alarm": 0.05,
            "off": (),
        },
        "retraining": {
            "on": (),
            "data_at": "",
            "review": False,
            "every": None,
            "recheck": DAY,
            "cooldown": DAY,
            "longest_cooldown": 14 * DAY,
            "per_day": 4,
            "min_new_labels": 100,
        },
        "parameters": {},
        "seed": 0,
    }


def test_parts_take_their_subject_as_first_positional_argument() -> None:
    assert Gate("ece", at_most=0.05) == Gate(metric="ece", at_most=0.05)
    assert Slice("origin") == Slice(column="origin")
    assert Expect("wind", at_least=0) == Expect(column="wind", at_least=0)
    assert table("visits") == FeatureTable(name="visits", entity="shop", columns={"count": "number"})


def test_a_declaration_round_trips_through_json_and_is_frozen() -> None:
    whole = case(
        tables=[table(max_age=2 * DAY)],
        gates=[Gate("roc_auc", at_least=0.6)],
        slices=[Slice("region", max_tpr_gap=0.1)],
        expectations=[Expect("count", table="visits", at_least=0)],
        monitoring=Monitoring(calibration_alarm=0.05),
        retraining=Retraining(on=("calibration",), every=7 * DAY),
        parameters={"depth": 3, "rate": 0.5, "fast": True, "kind": "a"},
    )
    again = UseCase(**whole.model_dump(mode="json"))
    assert again == whole
    assert [type(value) for value in again.parameters.values()] == [int, float, bool, str]
    with pytest.raises(ValueError, match="frozen"):
        whole.name = "other"


def test_durations_are_serialised_as_iso_8601() -> None:
    written = case(lead_time=timedelta(minutes=60), tables=[table(max_age=2 * DAY)]).model_dump(mode="json")
    assert (written["lead_time"], written["tables"][0]["max_age"]) == ("PT1H", "P2D")
    assert case(lead_time="PT1H", retraining={"every": "P7D"}).lead_time == timedelta(hours=1)


def test_boundary_values_and_known_columns_are_accepted() -> None:
    for metric in METRICS[Problem.BINARY]:
        assert case(gates=[Gate(metric, at_most=1)])
    assert case(gates=[Gate("brier_skill", at_least=-3), Gate("log_loss", at_most=40), Gate("ece", at_least=0)])
    assert case(gates=[Gate("ece", at_least=0.1), Gate("ece", at_most=0.1)])
    assert case(problem="regression", gates=[Gate("r2", at_least=-9), Gate("rmse", at_most=900)])
    assert case(event_time="known_at", tables=[table(event_time="known_at")])
    assert case(seed=2**32 - 1, history=36_525 * DAY, parameters={f"p{n}": n for n in range(100)})
    rules = [Expect("count", table="visits", at_least=0), Expect("kind", table="visits", one_of=("a",))]
    rules += [Expect(column, table="visits", max_missing=0) for column in ("shop", "event_time")]
    rules += [Expect("left", table="labels", at_least=0), Expect("known_at", table="labels", max_missing=0)]
    visits = table(columns={"count": "number", "kind": "text"})
    assert case(tables=[visits], expectations=[*rules, Expect("anything", at_least=0)], trusted=["anything"])


def test_the_package_is_the_name_with_underscores() -> None:
    assert case(name="churn-eu-2").package == "churn_eu_2"


@pytest.mark.parametrize(("problem", "metric"), [("binary", "brier"), ("regression", "mae")])
def test_the_champion_metric_has_a_default_and_can_be_set(problem: str, metric: str) -> None:
    assert case(problem=problem).champion_metric == metric
    other = next(name for name in METRICS[Problem(problem)] if name != metric)
    assert case(problem=problem, champion=Champion(metric=other)).champion_metric == other


def test_the_direction_of_each_metric() -> None:
    higher = {
        (problem.value, name)
        for problem in Problem
        for name in METRICS[problem]
        if get_direction(problem, name) == "higher"
    }
    assert higher == {
        ("binary", "roc_auc"),
        ("binary", "average_precision"),
        ("binary", "brier_skill"),
        ("regression", "r2"),
    }
    assert all(CHAMPION_METRIC[problem] in METRICS[problem] for problem in Problem)


#: An invalid declaration, and the parts that its error must contain: owner, field, value, expectation, fix.
REFUSED: list[tuple[str, Callable[[], object], list[str]]] = [
    (
        "unknown field",
        lambda: case(gate=1),
        ["use case 'churn'", "gate = 1", "is not a field", "did you mean 'gates'?"],
    ),
    ("unknown field, no idea", lambda: case(qqq=1), ["use case 'churn'", "qqq = 1", "is not a field", "remove it"]),
    ("missing field", lambda: UseCase(name="churn", key="id"), ["use case 'churn'", "target is missing; add it"]),
    (
        "long name",
        lambda: case(name="c" * 29),
        [f"use case '{'c' * 29}'", "name = 'ccc", "at most 28 characters", "shorten it"],
    ),
    (
        "name that no AWS name may hold",
        lambda: case(name="Churn_EU"),
        ["use case 'Churn_EU'", "name = 'Churn_EU'", "should match pattern '^[a-z]", "correct it"],
    ),
    (
        "Python keyword",
        lambda: case(name="class"),
        ["use case 'class'", "name='class'", "Python keyword", "rename it"],
    ),
    (
        "problem of no kind",
        lambda: case(problem="ranking"),
        ["use case 'churn'", "problem = 'ranking'", "'binary' or 'regression'", "choose one of them"],
    ),
    (
        "three columns that are two",
        lambda: case(key="left"),
        ["use case 'churn'", "target, key and event_time", "three different columns"],
    ),
    (
        "metric of the other problem",
        lambda: case(problem="regression", gates=[Gate("roc_auc", at_least=0.6)]),
        ["use case 'churn'", "gates", "no metric 'roc_auc'", "regression problems have: mae, rmse, r2, bias"],
    ),
    (
        "metric misspelt",
        lambda: case(gates=[Gate("roc_acu", at_least=0.6)]),
        ["use case 'churn'", "gates", "no metric 'roc_acu'", "did you mean 'roc_auc'?"],
    ),
    (
        "champion's metric",
        lambda: case(champion=Champion(metric="mae")),
        ["use case 'churn'", "champion.metric", "no metric 'mae'", "binary problems have: roc_auc"],
    ),
    (
        "gate without a bound",
        lambda: Gate("ece"),
        ["Gate('ece')", "at_least and at_most are both missing", "expected one of the two: add the bound"],
    ),
    (
        "gate with two bounds",
        lambda: Gate("ece", at_least=0.1, at_most=0.2),
        ["Gate('ece')", "at_least=0.1 and at_most=0.2", "expected one of the two", "two bounds are two gates"],
    ),
    (
        "gate that nothing can fail",
        lambda: Gate("ece", at_most=float("nan")),
        ["Gate('ece')", "at_most = nan", "a finite number", "change it"],
    ),
    (
        "gate as plain JSON",
        lambda: case(gates=[{"metric": "ece", "at_mots": 0.1}]),
        ["use case 'churn'", "gates.0", "at_mots = 0.1", "is not a field", "did you mean 'at_most'?"],
    ),
    (
        "table without columns",
        lambda: FeatureTable("visits", entity="shop"),
        ["FeatureTable('visits')", "columns is missing"],
    ),
    (
        "table with no column",
        lambda: table(columns={}),
        ["FeatureTable('visits')", "columns = {}", "at least 1 item", "add what is missing"],
    ),
    (
        "column of no type",
        lambda: table(columns={"count": "int"}),
        ["FeatureTable('visits')", "columns.count = 'int'", "'number' or 'text'", "choose one of them"],
    ),
    (
        "reserved column",
        lambda: table(columns={"is_deleted": "number"}),
        ["FeatureTable('visits')", "['is_deleted']", "reserved by the feature store", "rename"],
    ),
    (
        "reserved event time",
        lambda: table(event_time="write_time"),
        ["FeatureTable('visits')", "['write_time']", "reserved by the feature store", "rename"],
    ),
    (
        "entity among the columns",
        lambda: table(columns={"shop": "number"}),
        ["FeatureTable('visits')", "['shop']", "already its entity or event_time", "name feature columns only"],
    ),
    (
        "entity that is the time",
        lambda: table(entity="event_time"),
        ["FeatureTable('visits')", "'event_time'", "expected two different columns"],
    ),
    (
        "long table name",
        lambda: table("v" * 21),
        [f"FeatureTable('{'v' * 21}')", "name = 'vvv", "at most 20 characters", "shorten it"],
    ),
    (
        "table name whose group would end with a hyphen",
        lambda: table("visits_"),
        ["FeatureTable('visits_')", "name = 'visits_'", "should match pattern", "correct it"],
    ),
    (
        "table named as a function of its own",
        lambda: table("events"),
        ["FeatureTable('events')", "name: 'events'", "cannot be the name of the function", "rename it"],
    ),
    (
        "table that no function can be named after",
        lambda: table("lambda"),
        ["FeatureTable('lambda')", "name: 'lambda'", "cannot be the name of the function", "rename it"],
    ),
    (
        "two tables of a name",
        lambda: case(tables=[table(), table()]),
        ["use case 'churn'", "tables", "['visits']", "duplicate names", "rename one"],
    ),
    (
        "two columns of a joined name",
        lambda: case(tables=[table("a", columns={"b_c": "number"}), table("a_b", columns={"c": "number"})]),
        ["use case 'churn'", "tables", "['a_b_c']", "rename one"],
    ),
    (
        "age of nothing",
        lambda: table(max_age=timedelta(0)),
        ["FeatureTable('visits')", "max_age", "greater than 0", "change it"],
    ),
    (
        "rule for a table that is not there",
        lambda: case(tables=[table()], expectations=[Expect("count", table="visit", at_least=0)]),
        [
            "use case 'churn'",
            "expectations",
            "Expect('count')",
            "'visit'",
            "choose one of: ['events', 'labels', 'visits']",
        ],
    ),
    (
        "rule that nothing meets",
        lambda: Expect("count", at_least=5, at_most=1),
        ["Expect('count')", "at_least=5", "at_most=1", "change one"],
    ),
    (
        "share that is none",
        lambda: Expect("count", max_missing=3),
        ["Expect('count')", "max_missing = 3", "less than or equal to 1", "change it"],
    ),
    (
        "calibration of a regression",
        lambda: case(problem="regression", monitoring=Monitoring(calibration_alarm=0.1)),
        ["use case 'churn'", "monitoring.calibration_alarm", "needs probabilities", "only binary", "remove it"],
    ),
    (
        "retraining on an alarm that it does not have",
        lambda: case(problem="regression", retraining=Retraining(on=("calibration",))),
        ["use case 'churn'", "retraining.on", "'calibration'", "does not have", "remove it"],
    ),
    (
        "retraining on an alarm that is off",
        lambda: case(monitoring=Monitoring(off=("drift",)), retraining=Retraining(on=("drift",))),
        ["use case 'churn'", "retraining.on: 'drift'", "monitoring.off switches off", "remove one of them"],
    ),
    (
        "new data at no folder",
        lambda: case(retraining=Retraining(on=("data",), data_at="s3://Raw/orders")),
        ["Retraining", "data_at", "'s3://Raw/orders'", "is not a folder in S3", "end it with a slash"],
    ),
    (
        "new data where every training writes",
        lambda: case(retraining=Retraining(on=("data",), data_at="snapshots/")),
        ["Retraining", "data_at", "'snapshots/'", "would start itself", "choose another"],
    ),
    (
        "new data below no folder",
        lambda: case(retraining=Retraining(on=("data",), data_at="/incoming/")),
        ["Retraining", "data_at", "'/incoming/'", "is not a folder in S3", "begin it with a folder's name"],
    ),
    (
        "new data that start nothing",
        lambda: case(retraining=Retraining(data_at="incoming/")),
        ["Retraining", "data_at='incoming/'", "starts nothing", 'add "data" to on'],
    ),
    (
        "an alarm that is off and that it does not have",
        lambda: case(monitoring=Monitoring(off=("freshness",))),
        ["use case 'churn'", "monitoring.off: 'freshness'", "does not have", "remove it"],
    ),
    (
        "a key that answers have",
        lambda: case(key="predictions"),
        ["use case 'churn'", "key='predictions'", "requests or answers", "rename the column"],
    ),
    (
        "a name of Millrace's own",
        lambda: case(slices=[Slice("score")]),
        ["use case 'churn'", "slices: 'score'", "a name of Millrace's own", "rename the column"],
    ),
    (
        "two confidences",
        lambda: case(gates=[Gate("ece", at_most=0.1, confidence=0.9), Gate("ece", at_most=0.2)]),
        ["use case 'churn'", "gates: 'ece'", "two gates of different confidence", "the same confidence"],
    ),
    (
        "retraining on no alarm",
        lambda: Retraining(on=("errors",)),  # type: ignore[arg-type]
        [
            "Retraining(",
            "on.0 = 'errors'",
            "'drift', 'score-drift', 'skew', 'quality', 'calibration' or 'data'",
            "choose one of them",
        ],
    ),
    (
        "gap of rates in a regression",
        lambda: case(problem="regression", slices=[Slice("region", max_tpr_gap=0.1)]),
        ["use case 'churn'", "Slice('region', max_tpr_gap=0.1)", "regression problems do not have", "max_error_gap"],
    ),
    (
        "slice twice",
        lambda: case(slices=[Slice("region"), Slice("region", max_tpr_gap=0.1)]),
        ["use case 'churn'", "slices", "['region']", "twice", "combine their bounds"],
    ),
    (
        "groups too small to judge",
        lambda: Slice("region", min_rows=5),
        ["Slice('region')", "min_rows = 5", "greater than or equal to 30", "change it"],
    ),
    (
        "a look into the future",
        lambda: case(lead_time=-DAY),
        ["use case 'churn'", "lead_time", "greater than or equal to 0", "change it"],
    ),
    (
        "no history",
        lambda: case(history=timedelta(0)),
        ["use case 'churn'", "history", "greater than 0", "change it"],
    ),
    (
        "a monitor that runs all the time",
        lambda: Monitoring(every=timedelta(seconds=90)),
        ["Monitoring(", "every", "0:01:30 is not a whole number of minutes", "at least one", "round it"],
    ),
    (
        "a monitor that no alarm can cover",
        lambda: Monitoring(every=7 * DAY),
        ["Monitoring(", "every = datetime.timedelta(days=7)", "less than or equal to 2 days", "change it"],
    ),
    (
        "publishing without a pause",
        lambda: case(publish_every=timedelta(0)),
        ["use case 'churn'", "publish_every", "not a whole number of minutes", "round it"],
    ),
    (
        "a backstop of half a minute",
        lambda: Retraining(every=timedelta(seconds=30)),
        ["Retraining(", "every", "0:00:30 is not a whole number of minutes", "round it"],
    ),
    (
        "all rows held out",
        lambda: case(holdout=0.9),
        ["use case 'churn'", "holdout = 0.9", "less than 0.9", "change it"],
    ),
    (
        "a threshold that is no probability between",
        lambda: case(threshold=1),
        ["use case 'churn'", "threshold = 1", "less than 1", "change it"],
    ),
    (
        "rule of no rule",
        lambda: Expect("count"),
        ["Expect('count')", "sets no limit", "expected at_least, at_most, one_of or max_missing", "add one"],
    ),
    (
        "rule of no rule that only spares bad rows",
        lambda: Expect("count", max_bad=0.1),
        ["Expect('count')", "sets no limit", "add one"],
    ),
    *(
        (f"bound {bound} of {name}", declare, [whose, "Input should be a finite number", "change it"])
        for bound in (math.nan, math.inf, -math.inf)
        for name, declare, whose in (
            ("a rule", lambda bound=bound: Expect("count", at_least=bound), "Expect('count')"),
            ("the other side", lambda bound=bound: Expect("count", at_most=bound), "Expect('count')"),
            ("the champion", lambda bound=bound: Champion(better_by=bound), "Champion("),
            ("the drift alarm", lambda bound=bound: Monitoring(psi_alarm=bound), "Monitoring("),
        )
    ),
    *(
        (
            f"{field} that is the labels' own column",
            lambda field=field: case(**{field: "known_at"}),
            ["use case 'churn'", f"{field}='known_at'", "at which a label became known", "rename it"],
        )
        for field in ("key", "target")
    ),
    ("seed below all", lambda: case(seed=-1), ["use case 'churn'", "seed = -1", "greater than or equal to 0"]),
    ("seed above all", lambda: case(seed=2**32), ["use case 'churn'", "seed = 4294967296", "equal to 4294967295"]),
    *(
        (
            f"parameter {value}",
            lambda value=value: case(parameters={"rate": value}),
            ["use case 'churn'", f"parameters.rate: {value} is not finite", "expected a finite number", "change it"],
        )
        for value in (math.nan, math.inf)
    ),
    *(
        (
            f"parameter of {type(value).__name__}",
            lambda value=value: case(parameters={"layers": value}),
            [
                "use case 'churn'",
                f"parameters.layers: {value!r} is a {type(value).__name__}",
                "a truth value, a number or text",
                "split it or write it as text",
            ],
        )
        for value in ([64, 32], {"a": 1}, None, (1,))
    ),
    (
        "more parameters than a job takes",
        lambda: case(parameters={f"p{n}": n for n in range(101)}),
        ["use case 'churn'", "parameters: 101 parameters are too many", "at most 100", "combine some into one text"],
    ),
    (
        "a parameter without a name",
        lambda: case(parameters={"": 1}),
        ["use case 'churn'", "the parameter name '' has 0 characters", "1 to 256", "name it"],
    ),
    (
        "a parameter's name that is longer than a job takes",
        lambda: case(parameters={"a" * 257: 1}),
        ["use case 'churn'", "has 257 characters", "1 to 256, the limits of a training job", "shorten it"],
    ),
    (
        "a parameter's value that is longer than a job takes",
        lambda: case(parameters={"words": "a" * 2499}),
        ["use case 'churn'", "the JSON of parameter 'words' has 2501 characters", "1 to 2500"],
    ),
    *(
        (
            f"{field} of a bare {given!r}",
            declare,
            [whose, f"{field}: {given!r} has no unit", f"write timedelta({unit}={float(given):g})"],
        )
        for field, given, declare, whose, unit in (
            ("lead_time", 60, lambda: case(lead_time=60), "use case 'churn'", "minutes"),
            ("lead_time", 1.5, lambda: case(lead_time=1.5), "use case 'churn'", "minutes"),
            ("lead_time", "60", lambda: case(lead_time="60"), "use case 'churn'", "minutes"),
            ("history", 365, lambda: case(history=365), "use case 'churn'", "minutes"),
            ("publish_every", 60, lambda: case(publish_every=60), "use case 'churn'", "minutes"),
            ("max_age", 3, lambda: table(max_age=3), "FeatureTable('visits')", "minutes"),
            ("judged_on", 30, lambda: Champion(judged_on=30), "Champion(", "minutes"),  # type: ignore[arg-type]
            ("every", 60, lambda: Monitoring(every=60), "Monitoring(", "minutes"),  # type: ignore[arg-type]
            ("window", 28, lambda: Monitoring(window=28), "Monitoring(", "minutes"),  # type: ignore[arg-type]
            ("every", 7, lambda: Retraining(every=7), "Retraining(", "minutes"),  # type: ignore[arg-type]
            ("cooldown", 0, lambda: Retraining(cooldown=0), "Retraining(", "minutes"),  # type: ignore[arg-type]
        )
    ),
    (
        "more history than anybody has",
        lambda: case(history=36_526 * DAY),
        ["use case 'churn'", "history = ", "less than or equal to 36525 days", "change it"],
    ),
    (
        "gates that contradict each other",
        lambda: case(gates=[Gate("ece", at_least=0.2), Gate("roc_auc", at_least=0.6), Gate("ece", at_most=0.1)]),
        ["use case 'churn'", "gates: 'ece' cannot be at_least=0.2 and at_most=0.1", "change one"],
    ),
    *(
        (
            f"gate {metric} {side}={bound}",
            lambda metric=metric, side=side, bound=bound: Gate(metric, **{side: bound}),
            [f"Gate('{metric}')", f"{side}={bound} is outside the range of {metric!r}", expected, "change it"],
        )
        for metric, side, bound, expected in (
            ("roc_auc", "at_least", 5, "expected 0 to 1"),
            ("roc_auc", "at_least", -1, "expected 0 to 1"),
            ("average_precision", "at_least", 1.5, "expected 0 to 1"),
            ("brier", "at_most", -0.1, "expected 0 to 1"),
            ("ece", "at_most", 5, "expected 0 to 1"),
            ("brier_skill", "at_least", 1.1, "expected at most 1"),
            ("log_loss", "at_most", -1, "expected at least 0"),
            ("r2", "at_least", 2, "expected at most 1"),
            ("mae", "at_most", -1, "expected at least 0"),
            ("rmse", "at_most", -1, "expected at least 0"),
            ("bias", "at_most", -1, "expected at least 0"),
        )
    ),
    (
        "rule for a column that its table lacks",
        lambda: case(tables=[table()], expectations=[Expect("cuont", table="visits", at_least=0)]),
        ["use case 'churn'", "expectations: table 'visits' has no column 'cuont'", "did you mean 'count'?"],
    ),
    (
        "rule for a column that its table lacks, no idea",
        lambda: case(tables=[table()], expectations=[Expect("zzz", table="visits", at_least=0)]),
        ["use case 'churn'", "table 'visits' has no column 'zzz'", "it has: shop, event_time, count"],
    ),
    (
        "rule for a column that labels lack",
        lambda: case(expectations=[Expect("lefft", table="labels", at_least=0)]),
        ["use case 'churn'", "table 'labels' has no column 'lefft'", "did you mean 'left'?"],
    ),
    *(
        (
            f"bound of {kind}",
            lambda column=column: case(
                tables=[table(columns={"kind": "text"})], expectations=[Expect(column, table="visits", at_most=1)]
            ),
            ["use case 'churn'", f"expectations: Expect('{column}') bounds", f"holds {kind}", "a bound needs numbers"],
        )
        for column, kind in (("kind", "text"), ("shop", "text"), ("event_time", "time"))
    ),
    *(
        (
            f"trust in the {field}",
            lambda name=name: case(trusted=["size", name]),
            ["use case 'churn'", f"trusted: '{name}' is the {field}", "is never audited", "remove it"],
        )
        for field, name in (("target", "left"), ("key", "id"), ("event_time", "at"))
    ),
]


@pytest.mark.parametrize(("declare", "pieces"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_invalid_declarations_are_refused_with_full_sentences(declare: Callable[[], object], pieces: list[str]) -> None:
    with pytest.raises(DeclarationError) as refused:
        declare()
    message = str(refused.value)
    assert [piece for piece in pieces if piece not in message] == [], message
    assert message.startswith(pieces[0])
    assert "pydantic" not in message
    assert "type=" not in message


def test_all_problems_are_reported_at_once_one_per_line() -> None:
    with pytest.raises(DeclarationError) as refused:
        case(gate=1, threshold=2, problem="x")
    assert refused.value.where == "use case 'churn'"
    assert len(refused.value.problems) == 3
    assert str(refused.value).splitlines() == ["use case 'churn':", *(f"  - {each}" for each in refused.value.problems)]


@pytest.mark.parametrize("value", [[1, 2], None, float("nan")])
def test_an_invalid_parameter_value_is_a_single_problem(value: object) -> None:
    with pytest.raises(DeclarationError) as refused:
        case(parameters={"rate": value, "depth": 3})
    assert len(refused.value.problems) == 1


def test_a_declaration_error_is_a_value_error_and_a_millrace_error() -> None:
    assert issubclass(DeclarationError, ValueError)
    assert issubclass(DeclarationError, MillraceError)
