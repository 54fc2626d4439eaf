"""Retention of data before and after: objects and their old versions, logs, messages, keys that await deletion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli.diff.preview import Preview, Resource

BUCKETS = ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")
_LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"

#: Type → the property with its retention time, and the unit.
_KEPT = {
    "aws:cloudwatch/logGroup:LogGroup": ("retentionInDays", "days"),
    "aws:sqs/queue:Queue": ("messageRetentionSeconds", "seconds"),
    "aws:kms/key:Key": ("deletionWindowInDays", "days before it is deleted"),
}
#: Subtracted from a date: it applies to objects of any age, so it is ordered before any number of days.
_BEFORE_ALL = 10_000_000.0
#: The kind of expiry → the field with its days.
_EXPIRIES = {"noncurrentVersionExpiration": "noncurrentDays", "expiration": "days"}


@dataclass(frozen=True)
class Shorter:
    """Something that is kept for a shorter time.

    Attributes:
        noun: What holds or deletes it.
        what: The property that says how long.
    """

    resource: Resource
    noun: str
    what: str
    was: str
    now: str


@dataclass(frozen=True)
class _Rule:
    """A rule that deletes objects, or their old versions.

    Attributes:
        only: The conditions on an object, in addition to the prefix.
        days: How long an object is kept; a date becomes a negative number that orders it before all ages.
        date: The date on which all objects are deleted, if the rule has one.
    """

    name: str
    expiry: str
    prefix: str
    only: frozenset[str]
    days: float
    date: str = ""

    def covers(self, other: _Rule) -> bool:
        """Return True if this rule applies to everything that the other one applies to."""
        return self.expiry == other.expiry and other.prefix.startswith(self.prefix) and self.only <= other.only


def list_shorter(preview: Preview) -> Iterator[Shorter]:
    """Yield everything that is kept for a shorter time than before.

    Args:
        preview: The preview of the change.
    """
    for resource in preview.find_resources(_LIFECYCLE):
        if resource.old is not None or not _is_of_a_new_bucket(resource, preview):
            yield from _expiring(resource)
    for token, (key, unit) in _KEPT.items():
        for resource in preview.find_resources(token):
            old, new = resource.before.get(key), resource.after.get(key)
            was_forever = resource.old is not None and not old and key == "retentionInDays"
            if isinstance(new, int | float) and (was_forever or (isinstance(old, int | float) and 0 < new < old)):
                was = "for ever" if was_forever else f"{old:g} {unit}"
                yield Shorter(resource, resource.kind, key, was, f"{new:g} {unit}")


def _is_of_a_new_bucket(resource: Resource, preview: Preview) -> bool:
    return any(
        bucket.operation == "create"
        and (bucket.urn in resource.sources.get("bucket", ()) or bucket.after.get("bucket") == resource.after["bucket"])
        for bucket in preview.find_resources(*BUCKETS)
        if resource.after.get("bucket")
    )


def _expiring(resource: Resource) -> Iterator[Shorter]:
    """Yield the rules that delete sooner than before; without a rule, an object was kept for ever."""
    before = list(_rules(resource.before))
    for rule in sorted(_rules(resource.after), key=lambda each: (each.name, each.expiry)):
        was = min((each for each in before if each.covers(rule)), key=lambda each: each.days, default=None)
        if was is None or rule.days < was.days:
            noun = f"lifecycle rule for {rule.prefix}" if rule.prefix else "lifecycle rule"
            yield Shorter(resource, noun, f"{rule.name} {rule.expiry}", _time(was), _time(rule))


def _time(rule: _Rule | None) -> str:
    if rule is None:
        return "for ever"
    return f"until {rule.date}" if rule.date else f"{rule.days:g} day{'' if rule.days == 1 else 's'}"


def _rules(inputs: Mapping[str, Any]) -> Iterator[_Rule]:
    """Yield the rules that are on."""
    rules = inputs.get("rules")
    for place, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, Mapping) or rule.get("status") != "Enabled":
            continue
        given = rule.get("filter") or {}
        scope = {**given, **(given.get("and") or {})}
        only = frozenset(f"{key}={value}" for key, value in scope.items() if key not in ("prefix", "and") and value)
        prefix = str(scope.get("prefix") or rule.get("prefix") or "")
        for expiry, key in _EXPIRIES.items():
            said = rule.get(expiry) or {}
            days, date = said.get(key), str(said.get("date") or "")
            if isinstance(days, int | float):
                yield _Rule(str(rule.get("id", place)), expiry, prefix, only, float(days))
            elif date:
                yield _Rule(str(rule.get("id", place)), expiry, prefix, only, _ordinal(date) - _BEFORE_ALL, date)


def _ordinal(date: str) -> float:
    try:
        return float(datetime.fromisoformat(date).toordinal())
    except ValueError:
        return 0.0
