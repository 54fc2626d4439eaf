"""The functions of a use case, found by name in its package; their results are checked and converted to columns."""

from __future__ import annotations

import importlib
import importlib.util
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from millrace import FeatureTable, UseCase
from millrace.errors import DataError, DeclarationError, Diagnosis, MillraceError, OwnCodeError
from millrace.metrics import Problem
from training.columns import (
    Array,
    Columns,
    convert_identifiers,
    find_kind,
    is_missing,
    make_feature_name,
    normalise,
    select_rows,
)

#: The default model on fewer rows than this: scikit-learn's own learns them by heart, and is then sure of what it
#: cannot know. On made data, the squared error is about a tenth lower.
_FEW_ROWS = 5000
_OF_FEW_ROWS = {"learning_rate": 0.05, "max_leaf_nodes": 7, "l2_regularization": 1.0}
#: Modules in which a function is looked up, in this order; the empty name is the package itself.
MODULES = ("", "data", "features", "model")
#: The column that `labels` returns next to key and target: the time at which a label became known.
KNOWN_AT = "known_at"
#: How far before the first event the rows of a table without `max_age` are requested.
REACH = np.timedelta64(30, "D")


class Functions:
    """The functions of a use case. Spans are half-open, [since, until), in UTC."""

    def __init__(self, use_case: UseCase, modules: Sequence[ModuleType]) -> None:
        self.use_case = use_case
        self._modules = modules
        if self._find("events") is None:
            self._refuse("events", "what is predicted, with key, event time, entities and request-time columns")
        for table in use_case.tables:
            if self._find(table.name) is None:
                self._refuse(table.name, f"the rows of the table: {table.entity}, {table.event_time} and values")

    @classmethod
    def load(cls, use_case: UseCase) -> Functions:
        """Import the use case's package and those of its modules that exist.

        Args:
            use_case: The declaration.

        Returns:
            Its functions.

        Raises:
            DeclarationError: When `events` or the function of a table is missing.
        """
        package = f"stacks.{use_case.package}"
        names = [package, *(f"{package}.{name}" for name in MODULES[1:])]
        return cls(use_case, [importlib.import_module(name) for name in names if importlib.util.find_spec(name)])

    def events(self, since: np.datetime64, until: np.datetime64) -> dict[str, Array]:
        """Return the events of the span, sorted by time and key; they hold the target unless `labels` gives it.

        Args:
            since: The start of the span, inclusive.
            until: Its end, exclusive.

        Raises:
            DataError: When a column is missing or of the wrong kind, or the target is not in exactly one of events and
                labels.
        """
        case = self.use_case
        columns = self._call("events", since, until, {case.key, *(table.entity for table in case.tables)})
        self._need(columns, "events", [case.key, *{table.entity: None for table in case.tables}], "text")
        self._need(columns, "events", [case.event_time], "time")
        if self._find("labels") is None:
            if case.target not in columns:
                raise DataError(
                    "events()",
                    f"has no column {case.target!r}, and the function labels() does not exist",
                    fix=(
                        f"return the target in events, or write labels(since, until) in stacks/{case.package}/data.py"
                    ),
                )
        elif case.target in columns:
            raise DataError(
                "events()",
                f"contains the target {case.target!r}, which labels() also returns",
                fix="return it in only one of them",
            )
        self._refuse_unknown_missing(columns)
        columns = _within(columns, case.event_time, since, until)
        return select_rows(columns, np.lexsort((columns[case.key].astype(str), columns[case.event_time])))

    def _refuse_unknown_missing(self, events: Columns) -> None:
        case = self.use_case
        of_tables = {make_feature_name(table.name, column) for table in case.tables for column in table.columns}
        if unknown := sorted(set(case.missing) - set(events) - of_tables - {case.target}):
            raise DataError(
                "the declaration",
                f"names missing values of {unknown}, and neither events() nor a table has such a column",
                fix=f"choose one of {sorted({*events, *of_tables})}",
            )

    def labels(self, since: np.datetime64, until: np.datetime64, events: Columns) -> dict[str, Array]:
        """Return key, target and `known_at` of the span's events.

        Args:
            since: The start of the span, inclusive.
            until: Its end, exclusive.
            events: The span's events; without a function `labels`, the labels are taken from them.

        Returns:
            One row per label, also those that become known after the span.

        Raises:
            DataError: When a column is missing or of the wrong kind.
        """
        case = self.use_case
        if self._find("labels") is None:
            known = ~is_missing(events[case.target])
            columns = {case.key: events[case.key], case.target: events[case.target], KNOWN_AT: events[case.event_time]}
            return select_rows(columns, known)
        columns = self._call("labels", since, until, {case.key})
        self._need(columns, "labels", [case.key], "text")
        self._need(columns, "labels", [case.target], "number")
        self._need(columns, "labels", [KNOWN_AT], "time")
        columns = {name: columns[name] for name in (case.key, case.target, KNOWN_AT)}
        return select_rows(columns, np.argsort(columns[case.key].astype(str), kind="stable"))

    def table(self, table: FeatureTable, since: np.datetime64, until: np.datetime64) -> dict[str, Array]:
        """Return the rows of a table that became known in the span, sorted by time and entity.

        Args:
            table: The declared table.
            since: The start of the span, inclusive.
            until: Its end, exclusive.

        Raises:
            DataError: When a column is missing, not declared or of the wrong kind.
        """
        columns = self._call(table.name, since, until, {table.entity}, of=f"{table.name}_")
        self._need(columns, table.name, [table.entity], "text")
        self._need(columns, table.name, [table.event_time], "time")
        values = {name for name in columns if name not in (table.entity, table.event_time)}
        if table.columns and values != set(table.columns):
            raise DataError(
                f"{table.name}()",
                f"returned the values {sorted(values)}",
                expected=f"{sorted(table.columns)}, as the table declares",
                fix="correct one of the two",
            )
        for name, kind in table.columns.items():
            self._need(columns, table.name, [name], kind)
        known = columns[table.event_time]
        # The feature store keeps milliseconds; rounding up ensures that no row counts as known too early.
        columns[table.event_time] = _ceil_to_milliseconds(known)
        columns = _within(columns, table.event_time, since, until)
        return select_rows(columns, np.lexsort((columns[table.entity].astype(str), columns[table.event_time])))

    def features(self, columns: Columns) -> dict[str, Array]:
        """Return the features of columns; without a function `features`, all but key, event time and target.

        Args:
            columns: The columns of n joined rows.

        Returns:
            Feature → n numbers or texts.

        Raises:
            DataError: When the function reads a column that does not exist, or returns times.
        """
        case = self.use_case
        transform = self._find("features")
        if transform is None:
            return {name: columns[name] for name in columns if name not in (case.key, case.event_time, case.target)}
        try:
            result = _run_own("features", transform, columns, passes=(KeyError,))
        except KeyError as error:
            raise DataError(
                "features()",
                f"reads the column {error.args[0]!r}, which does not exist",
                fix=f"choose one of {sorted(columns)}",
            ) from error
        checked = self._checked(result, "features")
        for name, values in checked.items():
            if find_kind(values) == "time":
                raise DataError(
                    "features()", f"returned times for {name!r}", expected="numbers or text", fix="derive them"
                )
        return checked

    def complete_parameters(self, params: Mapping[str, Any], rows: int) -> dict[str, Any]:
        """Return hyperparameters with those of the default model, where the use case has no function `model`.

        They are decided once for all fits of a training: fits of one model are alike, whatever rows they leave out.

        Args:
            params: Hyperparameters by name.
            rows: The rows of the training set.
        """
        is_default = self._find("model") is None
        return {**(_OF_FEW_ROWS if is_default and rows < _FEW_ROWS else {}), **params}

    def model(self, params: Mapping[str, Any]) -> Any:
        """Return the unfitted estimator; without a function `model`, gradient boosting.

        It is fitted on one float32 matrix: features sorted by name, texts as codes of the categories, NaN for missing.

        Args:
            params: Hyperparameters by name.

        Returns:
            An estimator as in scikit-learn.

        Raises:
            DeclarationError: When the default model does not have one of the hyperparameters.
        """
        build = self._find("model")
        if build is not None:
            return _run_own("model", build, dict(params))
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        binary = self.use_case.problem is Problem.BINARY
        kind = HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor
        known = kind().get_params()
        if unknown := sorted(set(params) - set(known)):
            raise DeclarationError(
                f"use case {self.use_case.name!r}",
                [
                    Diagnosis(
                        f"parameters: {name!r}",
                        "is not known to the default model",
                        f"one of {', '.join(sorted(known))}",
                    )
                    for name in unknown
                ],
            )
        # Off: its random split of time-ordered rows would let later rows decide when to stop.
        return kind(**{"early_stopping": False, **params})

    def _find(self, name: str) -> Callable[..., Any] | None:
        for module in self._modules:
            found = vars(module).get(name)
            if callable(found):
                return found  # type: ignore[no-any-return]
        return None

    def _refuse(self, function: str, purpose: str) -> None:
        raise DeclarationError(
            f"use case {self.use_case.name!r}",
            [
                Diagnosis(
                    f"function {function}(since, until)",
                    "is missing",
                    fix=f"write it in stacks/{self.use_case.package}/data.py: {purpose}",
                )
            ],
        )

    def _call(
        self, name: str, since: np.datetime64, until: np.datetime64, ids: Collection[str], of: str = ""
    ) -> dict[str, Array]:
        """Call a function of the use case and return its checked result.

        Args:
            name: The function's name.
            since: The start of the requested span, inclusive.
            until: Its end, exclusive.
            ids: Columns that hold identifiers.
            of: The prefix of its columns' names in requests.
        """
        function = self._find(name)
        assert function is not None
        missing = self.use_case.missing_in
        return self._checked(_run_own(name, function, since, until), name, ids, lambda column: missing(f"{of}{column}"))

    def _checked(
        self,
        result: Any,
        function: str,
        ids: Collection[str] = (),
        missing: Callable[[str], Collection[str]] = lambda _: (),
    ) -> dict[str, Array]:
        if not isinstance(result, Mapping):
            raise DataError(
                f"{function}()", f"returned {type(result).__name__}", expected="a mapping of column name to array"
            )
        columns = {}
        for name, values in result.items():
            where = f"{function}() column {name!r}"
            if name in ids:
                columns[name] = convert_identifiers(values, where)
            elif name == self.use_case.target and np.asarray(values).dtype.kind in "fiub":
                columns[name] = np.asarray(values, dtype=np.float64)
            else:
                columns[name] = normalise(values, where, missing(name))
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"{function}()", f"returned columns of unequal lengths: {lengths}")
        return columns

    def _need(self, columns: dict[str, Array], function: str, names: Sequence[str], kind: str) -> None:
        """Check that columns exist and have the given kind."""
        for name in names:
            if name not in columns:
                raise DataError(f"{function}()", f"has no column {name!r}", fix=f"it returned {sorted(columns)}")
            found = find_kind(columns[name])
            if found == kind:
                continue
            raise DataError(
                f"{function}() column {name!r}", f"holds {found} ({columns[name].dtype})", expected=f"{kind}"
            )


def _run_own(name: str, function: Callable[..., Any], *arguments: Any, passes: tuple[type[Exception], ...] = ()) -> Any:
    """Call a function of the use case; an error of it is named with its file and line.

    Args:
        name: The function's name.
        function: The function.
        arguments: What it is called with.
        passes: Errors that the caller explains.
    """
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        if isinstance(error, (MillraceError, *passes)):
            raise
        # What ends the process would look like success to whoever started it.
        places = [frame for frame in traceback.extract_tb(error.__traceback__) if "/stacks/" in frame.filename]
        where = f"stacks/{places[-1].filename.rpartition('/stacks/')[2]}, line {places[-1].lineno}" if places else name
        message = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise OwnCodeError(f"{name}()", f"failed in {where}: {message}", fix="correct it there") from error


def _within(columns: Columns, time: str, since: np.datetime64, until: np.datetime64) -> dict[str, Array]:
    """Drop rows outside the span; keep rows without a time, which the validator reports."""
    times = columns[time]
    return select_rows(columns, np.isnat(times) | ((times >= since) & (times < until)))


def get_lookback(table: FeatureTable) -> np.timedelta64:
    """Return how long before an event a row of the table may have become known and still count.

    Args:
        table: The table; one without `max_age` has the lookback :data:`REACH`.
    """
    return REACH if table.max_age is None else np.timedelta64(table.max_age, "us")


def _ceil_to_milliseconds(times: Array) -> Array:
    down = times.astype("datetime64[ms]").astype("datetime64[us]")
    return np.where(times > down, down + np.timedelta64(1, "ms"), down)
