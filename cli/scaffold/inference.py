"""Guesses of which columns are target, key and event time, each with a reason and whether it is sure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import numpy as np

from cli.console.errors import CliError
from cli.scaffold import times
from cli.scaffold.profile import MANY, Column
from cli.scaffold.source import UNNAMED, Source
from cli.scaffold.times import Form

#: The value of an option for a column if no column is meant.
NONE = "none"
BINARY, REGRESSION = "binary", "regression"

_TARGETS = frozenset({
    "target", "label", "outcome", "class", "churn", "churned", "left", "default", "defaulted", "fraud", "fraudulent",
    "converted", "conversion", "clicked", "survived", "cancelled", "canceled", "returned", "late", "delayed",
    "response", "responded", "bought", "purchased", "approved", "y",
})  # fmt: skip
_AMOUNTS = frozenset({"price", "sales", "revenue", "demand", "spend", "duration", "cost", "target", "value", "y"})
#: Words that may end a target's name that begins with one of the words above, as in `churn_flag`.
_SAYINGS = frozenset({"flag", "value", "status", "indicator", "result", "class", "label"})
_IDS = frozenset({"id", "key", "uuid", "guid", "number", "no", "nr", "ref"})
_YES = ("yes", "true", "y", "t", "positive", "churned", "left", "fraud", "bad", "default", "late", "churn")
#: Share of different values in a key, or of rows with an event time, from which the exceptions are mistakes.
_NEARLY = 0.9
#: Minimum share of rows with an event time; a rarer time belongs to something that happens only in some rows.
_MOSTLY = 0.5
#: Maximum share of odd values that may be slips.
_ODD = 0.01
#: Maximum number of different values that a message lists.
_FEW = 6
#: Up to this many different whole numbers, a target may be classes instead of amounts.
_CLASSES = 10


#: Raises a CliError if an answer is invalid.
Check = Callable[[str], None]


@dataclass(frozen=True)
class Guess:
    """A proposed answer, its reason, and whether it can be used without asking."""

    value: str
    reason: str
    sure: bool = False


def split_words(name: str) -> list[str]:
    """Return the words of a column's name in lower-case ASCII: `is` and `fraud` for `isFraud`."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain)
    return [word for word in re.split(r"[^a-z0-9]+", parted.lower()) if word]


def guess_target(columns: Mapping[str, Column], problem: str | None) -> Guess | None:
    """Guess the column to predict; None if no column can be a target."""
    binary = [each for each in columns.values() if each.classes == 2]
    numbers = [
        each for each in columns.values() if each.kind in ("integer", "number") and each.classes > 2 and not each.forms
    ]
    able = {each.name: each for each in [*(binary if problem != REGRESSION else []),
                                         *(numbers if problem != BINARY else [])]}  # fmt: skip
    named = [
        name
        for name, each in able.items()
        if (_TARGETS if each.classes == 2 else _AMOUNTS).intersection(_get_outer_words(name))
    ]
    named = named or [name for name, each in able.items() if _is_called_target(each, problem) and not is_id(name)]
    # Prefer columns with two values, which are predicted more often than amounts.
    named = [name for name in named if able[name].classes == 2] or named
    if len(named) == 1:
        return Guess(named[0], "its name indicates it", sure=True)
    if named:
        return Guess(named[-1], f"the last of {len(named)} whose names indicate it: {', '.join(named)}")
    if len(binary) == 1 and problem == BINARY:
        return Guess(binary[0].name, "the only column with two values", sure=True)
    if binary and problem != REGRESSION:
        return Guess(binary[-1].name, f"the last of {len(binary)} column(s) with two values")
    return Guess(next(reversed(able)), "the last possible column") if able else None


def _get_outer_words(name: str) -> list[str]:
    """Return the first and the last word of a name, which tell what it means."""
    return [*split_words(name)[:1], *split_words(name)[-1:]]


def explain_unusable_targets(columns: Mapping[str, Column], problem: str | None) -> tuple[str | None, bool]:
    """Return what is wrong with columns that are named like a target but cannot be one, and whether all of them are.

    If all of them are, no other guess is sure: the user probably means such a column, so its problem must be reported.
    """
    called = [each for each in columns.values() if _is_called_target(each, problem)]
    wrong = [(each.name, said) for each in called if (said := explain_unfit_target(each, problem))]
    said = " and ".join(f"{name!r}, which is named like the target, {said}" for name, said in wrong)
    return said or None, len(wrong) == len(called)


def _is_called_target(column: Column, problem: str | None) -> bool:
    said = split_words(column.name)
    if not said or column.forms:
        return False
    wanted = _TARGETS | _AMOUNTS if problem == REGRESSION or column.misspelt else _TARGETS
    # In a regression, a column with two values is not meant, unless it is named like an amount.
    if problem == REGRESSION and column.classes == 2 and said[-1] not in _AMOUNTS:
        return False
    return said[-1] in wanted or (said[0] in wanted and said[-1] in _SAYINGS)


def explain_unfit_target(column: Column, problem: str | None) -> str | None:
    """Return why a column cannot be a target; None if it can."""
    is_number = column.kind in ("integer", "number")
    if not column.known:
        return f"is empty in all {column.rows:,} rows"
    if column.kind == "other":
        return "holds neither numbers nor texts"
    if column.misspelt and column.classes > 2:
        return f"holds numbers with {column.misspelt}"
    if column.kind == "number" and column.odd:
        return f"would hold numbers, but row {column.odd[0]} is {column.odd[1]!r}"
    if column.classes == 1:
        [value] = list(column.outcomes or {})
        spelt = ", ignoring case and spaces," if column.is_folded else ""
        return f"is {value!r}{spelt} in all {column.known:,} rows that have a value"
    if column.classes > 2 and not (is_number and problem != BINARY):
        have = f"more than {MANY:,}" if column.values is None else str(column.different)
        few = column.values is not None and column.different <= _FEW
        some = f" ({', '.join(map(str, column.values or {}))})" if few else ""
        return f"has {have} different values{some}"
    if problem == REGRESSION and not is_number:
        return f"holds {column.kind} and no numbers"
    return None


def guess_problem(column: Column) -> Guess:
    """Guess the kind of problem from the target."""
    if column.classes <= 2 or column.kind == "truth":
        return Guess(BINARY, f"{column.name} has two values", sure=True)
    if column.kind in ("integer", "number"):
        # A few different whole numbers may be classes; so may many, if the column's name suggests it.
        called = {"class", "label", "category", "grade", "rating"}.intersection(split_words(column.name))
        sure = not is_whole(column) or (column.different > _CLASSES and not called)
        return Guess(REGRESSION, f"{column.name} holds numbers, {column.low:g} to {column.high:g}", sure=sure)
    raise AssertionError(f"a target of {column.kind} with {column.classes} outcomes was accepted")


def is_whole(column: Column) -> bool:
    """Return True if all numbers of a column are whole, as classes are."""
    if column.kind == "integer":
        return True
    return column.values is not None and all(_is_whole(value) for value in column.values)


def _is_whole(value: Any) -> bool:
    # In a file with decimal commas, the values are texts with commas.
    number = _number(str(value).replace(",", "."))
    return number is not None and number.is_integer()


def guess_positive(column: Column) -> Guess | None:
    """Guess the value of a binary target that counts as 1; None if the values are already 0 and 1 or truths."""
    values = column.outcomes or {}
    if column.kind == "truth" or {str(value) for value in values} in ({"0", "1"}, {"0.0", "1.0"}, {"0"}, {"1"}):
        # If spaces surround some of the values, all of them are texts.
        return (
            Guess(max(map(str, values)), f"it means yes{_render_spellings(column)}", sure=True)
            if column.is_folded
            else None
        )
    if len(values) == 2 and {_number(value) for value in values} == {1.0, -1.0}:
        yes = next(str(value) for value in values if _number(value) == 1.0)
        return Guess(yes, "of 1 and -1, 1 is yes by convention")
    known = [value for value in values if str(value).strip().lower() in _YES]
    if len(known) == 1:
        return Guess(str(known[0]), f"it means yes{_render_spellings(column)}", sure=True)
    rare = min(values, key=lambda value: values[value])
    return Guess(str(rare), f"the rarer one, {values[rare] / column.known:.0%} of the rows{_render_spellings(column)}")


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _render_spellings(column: Column) -> str:
    if not column.is_folded:
        return ""
    return f"; case and outer spaces are ignored: {', '.join(repr(value) for value in column.values or {})}"


def find_index_column(source: Source, columns: Mapping[str, Column]) -> dict[str, str]:
    """Return the first column, with the reason to leave it out, if it only counts the rows, as pandas writes it.

    Raises:
        CliError: When the first column has no name and does not count the rows.
    """
    name = source.columns[0]
    is_unnamed = source.raw_names.get(name) is not None and not source.raw_names[name].strip()
    if not is_unnamed and name.lower() not in ("index", UNNAMED.lower()):
        return {}
    if columns[name].kind == "integer" and _is_row_count(source, name):
        return {name: "an index: it numbers the rows, as written by pandas"}
    if is_unnamed:
        raise CliError(
            f"--from {source.path}: column 1 of {len(source.columns)}", "has no name", fix="give it one in the header"
        )
    return {}


def _is_row_count(source: Source, name: str) -> bool:
    """Return True if a column holds 0, 1, 2 … or 1, 2, 3 … in the order of the rows."""
    import pyarrow as pa

    found = np.concatenate(
        [
            batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
            for batch in source.read_batches(lambda _: None, [name])
        ]
    )
    return bool(len(found) and found[0] in (0, 1) and np.array_equal(found, np.arange(len(found)) + found[0]))


def may_be_key(column: Column) -> bool:
    """Return True if a column may be the key, so that its different values are worth counting."""
    return column.kind in ("text", "integer") and not column.missing and (not column.repeats or is_id(column.name))


def guess_key(columns: Mapping[str, Column], distinct: Mapping[str, float]) -> Guess:
    """Guess the column that identifies an event.

    Args:
        columns: The columns by name.
        distinct: The number of different values of each candidate, as a share of the rows.
    """
    unique = [name for name, share in distinct.items() if share == 1]
    ids = [name for name in unique if is_id(name)]
    if len(ids) == 1:
        return Guess(ids[0], "its name indicates it, and no value is repeated", sure=True)
    if ids:
        return Guess(ids[0], f"the first of {len(ids)} possible ones: {', '.join(ids)}")
    if unique:
        # Unlike texts, numbers may all be different by chance.
        sure = len(unique) == 1 and columns[unique[0]].kind == "text"
        return Guess(unique[0], "no value is repeated", sure=sure)
    if nearly := [name for name, share in distinct.items() if share >= _NEARLY]:
        # A later check refuses the repeated values by row, and the user can judge these rows.
        return Guess(nearly[0], "its name indicates it", sure=True)
    return Guess(
        NONE, "no column of text or whole numbers has a different value in every row: the row number is the key",
        sure=True,
    )  # fmt: skip


def guess_event_time(source: Source, columns: Mapping[str, Column], written: Form | None) -> Guess:
    """Guess the column with the time at which a prediction is requested.

    Args:
        source: The file.
        columns: The candidates by name.
        written: The format of its times, if the user gave it.
    """
    found = {
        name: form
        for name, each in columns.items()
        # A column with open ends is the end of a validity, not the time of an event.
        if (form := each.likely_form) and not _has_open_ends(each)
    }
    able = {name: form for name, form in found.items() if columns[name].share_missing <= 1 - _MOSTLY}
    if not able:
        return Guess(NONE, _explain_no_time(columns, list(found)))
    # Ignore columns with many gaps if there are others: the latest of them would be about something after the event.
    whole = {name: form for name, form in able.items() if columns[name].share_missing <= 1 - _NEARLY} or able
    # Likewise ignore columns with some implausible years; if there are no others, a later check refuses these rows.
    whole = {name: form for name, form in whole.items() if not columns[name].outside} or whole
    first = next(source.read_batches(lambda _: None, list(whole)))
    name = max(whole, key=lambda name: _compute_median(first.column(name), whole[name]))
    told = f"the latest of {len(whole)} columns of times: {', '.join(whole)}"
    if len(whole) == 1:
        told = f"the only column of times{' in nearly every row' if len(able) > 1 else ''}"
        # If several formats are possible, one is chosen later, with its own reasons.
        if written or len(columns[name].forms) < 2:
            told += f", {(written or able[name]).text}"
    gaps = columns[name].missing
    if gaps:
        told += f"; missing in {gaps:,} of {columns[name].rows:,} rows, but every row is a prediction and needs one"
    return Guess(name, told, sure=len(able) == 1 and not gaps)


def guess_time_format(source: Source, column: str, forms: list[Form], now: datetime) -> Guess:
    """Guess which of several formats a column's times have: one with no time in the future and the rows in order."""
    against = {form: _find_arguments_against(source, column, form, now) for form in forms}
    best, *others = sorted(forms, key=lambda form: [bool(each) for each in against[form]])
    usual = ", but the day comes first in most of the world" if best.order.startswith("d") else ""
    said = []
    for other in others:
        worse = (text for text, mine in zip(against[other], against[best], strict=True) if text and not mine)
        said.append(f"{other.format} {next(worse, f'is also possible{usual}')}")
    return Guess(best.format, "; ".join(said))


def _find_arguments_against(source: Source, column: str, form: Form, now: datetime) -> tuple[str, str]:
    """Return two arguments against a format, the stronger one first; an argument that does not apply is empty."""
    read = [times.parse(batch.column(column), form) for batch in source.read_batches(lambda _: None, [column])]
    found = np.concatenate(read)
    found = found[~np.isnat(found)]
    steps, last = np.diff(found).astype(np.int64), found.max()
    is_late = last > np.datetime64(now.replace(tzinfo=None), "us")
    is_ordered = (steps >= 0).all() or (steps <= 0).all()
    return (
        f"would reach {last.astype('datetime64[D]')}, after today" if is_late else "",
        "" if is_ordered else "would not keep the rows in order of time",
    )


def _explain_no_time(columns: Mapping[str, Column], found: list[str]) -> str:
    """Return why no column can be the event time, with hints on columns that the user could name."""
    said = f"no column holds {'a time in most rows' if found else 'times'}"
    gaps = [f"{name} is empty in {columns[name].missing:,} of {columns[name].rows:,}" for name in found]
    likely = [
        f"{each.name} may be {times.find_epoch_forms(each.low, each.high)[0].text}: if it is the time of the event, "
        f"give --event-time {each.name}"
        for each in columns.values()
        if each.kind == "integer" and times.find_epoch_forms(each.low, each.high)
    ]
    likely += [
        f"{each.name} may be {times.find_epoch_forms(each.low, each.high)[0].text} with fractions, which are not "
        "read as times: "
        "write whole numbers"
        for each in columns.values()
        if each.kind == "number" and times.find_epoch_forms(each.low, each.high)
    ]
    ends = [
        f"{each.name} is of years outside {times.YEARS[0]} to {times.YEARS[1]} in {each.outside:,} of {each.rows:,}"
        for each in columns.values()
        if each.likely_form and _has_open_ends(each)
    ]
    taken = f"{said}: rows are assumed to arrive one after another, in file order"
    return "; ".join([taken, *gaps, *ends, *likely])


def _has_open_ends(column: Column) -> bool:
    """Return True if too many of a column's times have implausible years for these to be slips."""
    return column.outside > column.known * _ODD


def _compute_median(values: Any, form: Form) -> int:
    """Return the median of the times of a column, microseconds since 1970; 0 if it cannot be computed."""
    with suppress(ValueError):
        return times.compute_median(times.parse(values, form))
    with suppress(ValueError):
        # Ignore occasional values that are no times.
        return times.compute_median(times.parse(values.filter(times.mask_matches(values, form)), form))
    return 0


def is_id(name: str) -> bool:
    """Return True if a column's name indicates identifiers."""
    return bool(_IDS.intersection(split_words(name))) or name.lower().endswith("id")


# -- columns that somebody named ---------------------------------------------------------------------------------------


def find_column(option: str, name: str, columns: Mapping[str, Column]) -> Column:
    """Return the column with a name.

    Raises:
        CliError: When it does not exist, with similar names.
    """
    if name in columns:
        return columns[name]
    folded = {each.lower(): each for each in columns}
    near = [folded[each] for each in get_close_matches(name.lower(), folded, n=3)]
    fix = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the columns are: {', '.join(columns)}"
    raise CliError(f"{option} {name!r}: the file", "has no such column", fix=fix)


def check_target(column: Column, problem: str | None, columns: Mapping[str, Column]) -> None:
    """Refuse a column that cannot be a target of this kind of problem.

    Raises:
        CliError: When it cannot, with what it holds.
    """
    said = explain_unfit_target(column, None if problem == REGRESSION else problem)
    if said and not column.known:
        raise CliError(f"--target {column.name!r} {said}", expected="the outcomes")
    if said and column.classes == 1:
        raise CliError(f"--target {column.name!r} {said}", fix="a model needs two outcomes to learn from")
    if said and column.kind == "number" and column.odd:
        raise CliError(f"--target {column.name!r} {said}", fix="correct the file, or name another column")
    if said and problem != REGRESSION:
        two = [each.name for each in columns.values() if each.classes == 2]
        hint = f"columns with two: {', '.join(two)}" if two else "no column has two"
        amount = (
            ", or --problem regression"
            if column.kind in ("integer", "number")
            else ", or turn it into a yes-or-no column"
        )
        raise CliError(
            f"--target {column.name!r} {said}", fix=f"a binary problem has two ({hint}): name another column{amount}"
        )
    if problem == REGRESSION and column.kind not in ("integer", "number"):
        row, value = column.odd or (1, column.kind)
        raise CliError(
            f"--target {column.name!r}",
            f"holds {column.kind}, row {row} is {value!r}",
            fix="a regression needs numbers: correct the file, or name another column",
        )


def check_key(column: Column) -> None:
    """Refuse a key that has missing values, or whose type cannot identify events.

    Raises:
        CliError: When it does, with what it holds.
    """
    if column.missing:
        raise CliError(
            f"--key {column.name!r}",
            f"is missing in {column.missing:,} of {column.rows:,} rows",
            expected="a value in every row",
            fix="name another column, or give --key none to use the row number",
        )
    if column.kind not in ("text", "integer", "time"):
        raise CliError(f"--key {column.name!r}", f"holds {column.kind}", expected="text or whole numbers")
