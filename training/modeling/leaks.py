"""Leaks: columns, features and pairs of them that know the outcome, which no honest column does.

Each is scored by a shallow tree that has not seen the row, so that what is not monotone, or shows only in two columns
together, is found too. Only what exceeds the bound beyond doubt is a leak: chance orders columns by a few outcomes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from millrace import UseCase
from millrace.errors import DataError
from millrace.metrics import Problem
from training.columns import Array, Columns, find_kind, is_missing
from training.io import print_progress
from training.metrics import find_auc_error, roc_auc

#: The probability that a row with the outcome scores above one without it, from which no honest column does.
BOUND = {Problem.BINARY: 0.95, Problem.REGRESSION: 0.99}
#: Rows that are audited, evenly spaced; columns whose pairs are; and the depth of a tree.
SAMPLE, STRONGEST, DEPTH = 4000, 10, 5
#: How many standard errors below the estimate the bound must still be exceeded: one in a hundred.
_DOUBT = 2.33
#: The fewest rows in a leaf, at least.
_LEAF = 10
#: What a feature's name begins with, apart from an input's; and how many leaks an error names.
_FEATURE, _SHOWN = "features() ", 5


@dataclass(frozen=True)
class Leak:
    """Columns that know the outcome.

    Attributes:
        columns: One column or two.
        auc: The probability that a row with the outcome scores above one without it.
        lower: The lower end of its interval.
    """

    columns: tuple[str, ...]
    auc: float
    lower: float


def refuse_leaks(case: UseCase, inputs: Columns, features: Columns, y: Array) -> None:
    """Refuse columns that know the outcome, unless a person has checked them.

    Args:
        case: The declaration; what it trusts, and a model that it says may be near perfect, are only reported.
        inputs: The inputs of the model, of n rows.
        features: The features that its code makes of them.
        y: The n outcomes.

    Raises:
        DataError: When there is one; names the strongest.
    """
    named = {f"{_FEATURE}{name}": values for name, values in features.items()}
    # A feature that is an input as it is would be audited twice.
    own = {name: values for name, values in inputs.items() if name not in features}
    refused = []
    for leak in find_leaks(case, {**named, **own}, y):
        names = " and ".join(leak.columns)
        text = f"{names} (AUC {leak.auc:.4f}, at least {leak.lower:.4f})"
        if case.near_perfect or {name.removeprefix(_FEATURE) for name in leak.columns} <= set(case.trusted):
            print_progress(f"note: {text} knows {case.target}, and is trusted")
        else:
            refused.append(text)
    if refused:
        raise DataError(
            ", ".join(refused[:_SHOWN]),
            f"alone knows {case.target}, which no column does that is known in time",
            expected=f"an AUC of at most {BOUND[case.problem]:g}",
            fix="leave it out of features(), give it only as it is known when the prediction is made, or, if a person "
            "has checked it, name it in trusted",
        )


def find_leaks(case: UseCase, columns: Columns, y: Array) -> list[Leak]:
    """Return the columns and pairs of columns that know the outcome beyond doubt, the strongest first.

    In a regression the outcome is whether the target is above its median.

    Args:
        case: The declaration.
        columns: Columns of n rows.
        y: The n outcomes.
    """
    rows = np.linspace(0, len(y) - 1, min(SAMPLE, len(y))).astype(np.int64)
    outcome = y[rows] if case.problem is Problem.BINARY else (y[rows] > np.median(y[rows])).astype(np.float64)
    halves = np.random.default_rng(case.seed).permutation(len(rows)) % 2
    if min(np.bincount(halves * 2 + outcome.astype(int), minlength=4)) < 2:
        return []
    times = columns.get(case.event_time)
    coded = {name: _encode(values[rows], times, rows, outcome, halves) for name, values in columns.items()}
    singles = {(name,): _score(coded, (name,), outcome, halves) for name in coded}
    strongest = sorted(coded, key=lambda name: -singles[name,][0])[:STRONGEST]
    bound = BOUND[case.problem]
    found = list(_judge(singles.items(), bound))
    known = {name for leak in found for name in leak.columns}
    # A pair with a column that is a leak by itself tells nothing new.
    pairs = [pair for pair in combinations(strongest, 2) if known.isdisjoint(pair)]
    found += _judge(((pair, _score(coded, pair, outcome, halves)) for pair in pairs), bound)
    return sorted(found, key=lambda leak: -leak.auc)


def _judge(scored: Iterable[tuple[tuple[str, ...], tuple[float, float]]], bound: float) -> list[Leak]:
    return [Leak(names, auc, auc - _DOUBT * error) for names, (auc, error) in scored if auc - _DOUBT * error > bound]


def _encode(values: Array, times: Array | None, rows: Array, outcome: Array, halves: Array) -> Array:
    """Return a column as numbers: times since the event, texts as the rate of the outcome in the other half."""
    kind = find_kind(values)
    if kind == "time":
        since = values - times[rows] if times is not None else values - values.min()
        return np.where(np.isnat(since), np.nan, since / np.timedelta64(1, "s"))
    if kind != "text":
        return values.astype(np.float64)
    _, index = np.unique(np.where(is_missing(values), "", values).astype(str), return_inverse=True)
    rates = np.empty(len(values))
    for half in (0, 1):
        other = halves != half
        base = float(outcome[other].mean())
        hits = np.bincount(index[other], weights=outcome[other], minlength=index.max() + 1)
        counts = np.bincount(index[other], minlength=index.max() + 1)
        rates[halves == half] = ((hits + base) / (counts + 1.0))[index[halves == half]]
    return rates


def _score(coded: Columns, names: tuple[str, ...], outcome: Array, halves: Array) -> tuple[float, float]:
    """Return the AUC of columns by trees that have not seen the row, with its standard error."""
    from sklearn.tree import DecisionTreeClassifier

    matrix = np.column_stack([coded[name] for name in names])
    scores = np.empty(len(outcome))
    for half in (0, 1):
        seen, unseen = halves != half, halves == half
        leaf = max(_LEAF, int(seen.sum()) // 200)
        tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=leaf, random_state=0)
        scores[unseen] = tree.fit(matrix[seen], outcome[seen]).predict_proba(matrix[unseen])[:, 1]
    auc = roc_auc(outcome, scores)
    return auc, find_auc_error(auc, outcome)
