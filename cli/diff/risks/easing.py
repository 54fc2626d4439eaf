"""Requirements of a declaration that are relaxed: on models, on data, on monitoring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeGuard

from cli.diff.declared import UseCase, key_lists
from millrace.metrics import AUDITED

Sides = tuple[Mapping[str, Any], Mapping[str, Any]]


class Code(StrEnum):
    """The way in which a requirement is relaxed."""

    GONE = "gone"
    BOUND = "bound"
    ANY_VALUE = "any_value"
    MORE_VALUES = "more_values"
    TRUSTED = "trusted"
    NEAR_PERFECT = "near_perfect"
    INFORMATIONAL = "informational"
    NUMBER = "number"
    TIME = "time"
    TRIGGER = "trigger"
    ANOTHER = "another"


#: The main clause of a sentence for each code, with the names of its fields.
_CLAUSES = {
    Code.GONE: "{what} is removed",
    Code.BOUND: "{what} required {asked}{words} {before:g}, now {after}",
    Code.ANY_VALUE: "{what} required one of {values}, now it accepts any value",
    Code.MORE_VALUES: "{what} also accepts {values}",
    Code.TRUSTED: "{what} is now trusted: training no longer stops if this column alone predicts the outcome",
    Code.NEAR_PERFECT: "{what} is now set: a model whose score is near perfect is no longer refused",
    Code.INFORMATIONAL: "monitoring.informational now contains {what}: its drift is reported but raises no alarm",
    Code.NUMBER: "{what} changes from {before:g} to {after:g}: {consequence}",
    Code.TIME: "{what} changes from {before} to {after}: {consequence}",
    Code.TRIGGER: "retraining.on no longer contains {what}: it starts no training",
    Code.ANOTHER: "its {what} changes from {before} to {after}",
}

#: The sizes from which what the monitor finds matters: where one rises, less matters.
_SIZES = ("psi_alarm", "calibration_alarm", "quality_alarm", "skew_alarm", "volume_alarm", "refusals_alarm")


@dataclass(frozen=True)
class Easing:
    """A requirement of a declaration that is relaxed.

    Attributes:
        code: How it is relaxed.
        what: The field, gate, slice or column that it is about.
        fields: The requirement before and after, by the names in the code's clause.
    """

    code: Code
    what: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The main clause of a sentence."""
        return _CLAUSES[self.code].format(what=self.what, **self.fields)

    def dump(self) -> dict[str, Any]:
        """Return the easing as JSON data."""
        return {"code": self.code.value, "what": self.what, "fields": dict(self.fields)}


def list_model_easings(before: UseCase | None, after: UseCase | None) -> list[Easing]:
    """Return the relaxed requirements on models."""
    if before is None or after is None:
        return []
    old, new = key_lists(before), key_lists(after)
    found: list[Easing] = []
    for metric, gate in sorted((old.get("gates") or {}).items()):
        now = (new.get("gates") or {}).get(metric)
        found += _bounds(f"the gate on {metric}", gate, now, ("at_least", "confidence"), ("at_most",))
    for column, each in _audits(old):
        found += _bounds(f"the audit of {column}", each, (new.get("slices") or {}).get(column), (), _GAPS)
    champion = ((before.get("champion") or {}), (after.get("champion") or {}))
    found += _bounds("the champion rule", champion[0], champion[1], ("better_by",), ())
    if new.get("near_perfect") and not old.get("near_perfect"):
        found.append(Easing(Code.NEAR_PERFECT, "near_perfect"))
    return found


def list_data_easings(before: UseCase | None, after: UseCase | None) -> list[Easing]:
    """Return the relaxed requirements on data."""
    if before is None or after is None:
        return []
    old, new = key_lists(before), key_lists(after)
    found: list[Easing] = []
    for column, rule in sorted((old.get("expectations") or {}).items()):
        now = (new.get("expectations") or {}).get(column)
        what = f"the expectation on {column}"
        found += _bounds(what, rule, now, ("at_least",), ("at_most", "max_missing", "max_bad"))
        if now is not None:
            found += _values(what, rule.get("one_of") or {}, now.get("one_of") or {})
    found += [Easing(Code.TRUSTED, column) for column in _gained(old, new, "trusted")]
    return found


def list_monitoring_easings(before: UseCase | None, after: UseCase | None) -> list[Easing]:
    """Return the relaxed requirements on monitoring, with the sizes from which something matters."""
    if before is None or after is None:
        return []
    old, new = key_lists(before), key_lists(after)
    sides = (old.get("monitoring") or {}, new.get("monitoring") or {})
    found = [Easing(Code.INFORMATIONAL, column) for column in _gained(*sides, "informational")]
    later = "its alarm fires later"
    for size in _SIZES:
        found += _numbers(sides, size, f"monitoring.{size}", later)
    found += _numbers(sides, "labels_alarm", "monitoring.labels_alarm", later, falls=True)
    found += _times(sides, "window", "monitoring.window", "fewer requests are compared", is_less=_shorter)
    found += _times(sides, "every", "monitoring.every", "problems are detected later", is_less=_longer)
    starts = [(side.get("retraining") or {}).get("on") or {} for side in (old, new)]
    if starts[1]:
        # When none is left, the deleted rule is reported as a risk of its own.
        found += [Easing(Code.TRIGGER, str(alarm)) for alarm in starts[0] if alarm not in starts[1]]
    for column, each in _audits(old):
        now = (new.get("slices") or {}).get(column)
        if now is not None:
            found += _numbers(
                (each, now), "min_rows", f"the min_rows of the slice {column}", "smaller groups are no longer judged"
            )
    return found


def list_identity_changes(before: UseCase | None, after: UseCase | None) -> list[Easing]:
    """Return the changes that make it a model of something else: its problem, target or key."""
    if before is None or after is None:
        return []
    return [
        Easing(Code.ANOTHER, name, {"before": before[name], "after": after[name]})
        for name in ("problem", "target", "key")
        if before.get(name) and after.get(name) and before[name] != after[name]
    ]


# -- bounds ------------------------------------------------------------------------------------------------------------

_GAPS = tuple(f"max_{rate}_gap" for rates in AUDITED.values() for rate in rates)


def _audits(use_case: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the slices that are judged, not only reported."""
    slices = sorted((use_case.get("slices") or {}).items())
    return [(column, each) for column, each in slices if any(each.get(gap) is not None for gap in _GAPS)]


def _bounds(
    what: str, old: Mapping[str, Any], new: Mapping[str, Any] | None, lowest: tuple[str, ...], highest: tuple[str, ...]
) -> list[Easing]:
    if new is None:
        return [Easing(Code.GONE, what)]
    found = []
    for names, sign, words in ((lowest, -1, "at least"), (highest, 1, "at most")):
        for name in names:
            bound, now = old.get(name), new.get(name)
            if _is_number(bound) and (now is None or (_is_number(now) and sign * now > sign * bound)):
                called = name.replace("_", " ")
                asked = "" if called == words else f"{called} "
                after = "nothing" if now is None else f"{words} {now:g}"
                fields = {"asked": asked, "words": words, "before": bound, "after": after}
                found.append(Easing(Code.BOUND, what, fields))
    return found


def _values(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Easing]:
    """Yield the relaxation of a rule that lists the allowed values."""
    if old and not new:
        yield Easing(Code.ANY_VALUE, what, {"values": ", ".join(old)})
    elif old and (more := [value for value in new if value not in old]):
        yield Easing(Code.MORE_VALUES, what, {"values": ", ".join(more)})


def _gained(old: Mapping[str, Any], new: Mapping[str, Any], field: str) -> list[str]:
    before, after = old.get(field), new.get(field)
    return sorted({*(after or ())} - {*(before or ())}) if isinstance(before, Mapping) else []


def _numbers(sides: Sides, field: str, name: str, consequence: str, *, falls: bool = False) -> Iterator[Easing]:
    """Yield the easing of a number: that it rises, or that it falls."""
    old, new = (side.get(field) for side in sides)
    if _is_number(old) and _is_number(new) and (new < old if falls else new > old):
        yield Easing(Code.NUMBER, name, {"before": old, "after": new, "consequence": consequence})


def _times(sides: Sides, field: str, name: str, consequence: str, *, is_less: Any) -> Iterator[Easing]:
    old, new = (_time(side.get(field)) for side in sides)
    if old is not None and new is not None and is_less(new, old):
        yield Easing(Code.TIME, name, {"before": _span(old), "after": _span(new), "consequence": consequence})


def _time(value: Any) -> timedelta | None:
    """Return a duration from its JSON form, e.g. `P28D`; None when it is not one."""
    from pydantic import TypeAdapter, ValidationError

    if value is None:
        return None
    try:
        return TypeAdapter(timedelta).validate_python(value)
    except ValidationError:
        return None


def _span(value: timedelta) -> str:
    seconds = value.total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            number = round(seconds / length, 2)
            return f"{number:g} {unit}{'' if number == 1 else 's'}"
    return f"{seconds:g} seconds"


def _shorter(now: timedelta, before: timedelta) -> bool:
    return now < before


def _longer(now: timedelta, before: timedelta) -> bool:
    return now > before


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
