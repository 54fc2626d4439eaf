"""Data that are kept for a shorter time than before."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.previewed import UNKNOWN, risks, step, told

SOON, LATER = "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"


def lifecycle(days: int, status: str = "Enabled", **more: Any) -> dict[str, Any]:
    rule = {"id": "expire", "status": status, "noncurrentVersionExpiration": {"noncurrentDays": days}, **more}
    return {"bucket": "lake", "rules": [rule]}


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        (lifecycle(365), lifecycle(30), ["kept-shorter"]),
        (lifecycle(30), lifecycle(365), []),
        (lifecycle(30), lifecycle(30), []),
        # Data themselves expire, where they were kept for ever.
        (lifecycle(30), lifecycle(30, expiration={"days": 10}), ["kept-shorter"]),
        (lifecycle(365), lifecycle(30, status="Disabled"), []),
        (lifecycle(30), lifecycle(30, expiration={"date": SOON}), ["kept-shorter"]),
        (lifecycle(30, expiration={"days": 400}), lifecycle(30, expiration={"date": LATER}), ["kept-shorter"]),
        (lifecycle(30, expiration={"date": LATER}), lifecycle(30, expiration={"date": SOON}), ["kept-shorter"]),
        (lifecycle(30, expiration={"date": SOON}), lifecycle(30, expiration={"date": LATER}), []),
        (lifecycle(30, expiration={"date": SOON}), lifecycle(30, expiration={"date": SOON}), []),
        (lifecycle(30, expiration={"date": SOON}), lifecycle(30), []),
    ],
)
def test_data_that_are_kept_for_a_shorter_time(old: dict[str, Any], new: dict[str, Any], kinds: list[str]) -> None:
    found = told(step("update", "Lifecycle", "l", old, new))["risks"]

    assert [each["kind"] for each in found] == kinds


def test_a_day_on_which_all_go_is_named() -> None:
    changed = step("update", "Lifecycle", "l", lifecycle(30), lifecycle(30, expiration={"date": SOON}))

    assert f"Kept for ever until now, from then on until {SOON}" in told(changed)["risks"][0]["consequence"]


def test_a_key_that_is_turned_off_locks_all_that_it_encrypts() -> None:
    def turned(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str]]:
        return risks(step("update", "Key", "lake-key", old, new))

    on, off = {"isEnabled": True}, {"isEnabled": False}
    assert turned(on, off) == turned({}, off) == [("key-off", "lake-key")]
    assert turned(off, on) == turned(off, off) == turned(on, {}) == []


def test_logs_messages_and_keys_that_are_kept_for_a_shorter_time() -> None:
    steps = [
        step("update", "LogGroup", "a", {"retentionInDays": 0}, {"retentionInDays": 7}),
        step("update", "LogGroup", "b", {"retentionInDays": 7}, {"retentionInDays": 30}),
        step("update", "Queue", "c", {"messageRetentionSeconds": 9}, {"messageRetentionSeconds": 3}),
        step("update", "Key", "d", {"deletionWindowInDays": 30}, {"deletionWindowInDays": 7}),
    ]

    assert risks(*steps) == [("kept-shorter", name) for name in ("a", "c", "d")]


# -- rule by rule ------------------------------------------------------------------------------------------------------


def rules(*given: dict[str, Any]) -> dict[str, Any]:
    return {"bucket": "lake", "rules": [{"id": f"r{n}", "status": "Enabled", **each} for n, each in enumerate(given)]}


def old_versions(days: int, **scope: Any) -> dict[str, Any]:
    return {"noncurrentVersionExpiration": {"noncurrentDays": days}, **scope}


def objects(days: int, **scope: Any) -> dict[str, Any]:
    return {"expiration": {"days": days}, **scope}


def at(prefix: str) -> dict[str, Any]:
    return {"filter": {"prefix": prefix}}


TAGGED = {"filter": {"and": {"prefix": "a/", "tags": {"draft": "yes"}}}}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # One more rule, and one under another name.
        ([old_versions(365)], [old_versions(365), old_versions(1)], "Kept 365 days until now, from then on 1 day"),
        ([old_versions(365)], [old_versions(30, id="new")], "Kept 365 days until now, from then on 30 days"),
        ([old_versions(30)], [old_versions(365, id="new")], None),
        ([], [old_versions(30)], "Kept for ever until now, from then on 30 days"),
        # A wider filter.
        ([objects(30, **at("quarantine/"))], [objects(30, **at(""))], "Kept for ever until now, from then on 30 days"),
        ([objects(30, **at("quarantine/"))], [objects(30)], "Kept for ever until now, from then on 30 days"),
        ([objects(30, **at("a/")), objects(90)], [objects(60, **at("a/")), objects(90)], None),
        # A narrower one beside a wider one; the older form of a filter.
        ([objects(30)], [objects(30), objects(7, prefix="a/")], "Kept 30 days until now, from then on 7 days"),
        ([objects(30)], [objects(30), objects(90, **at("a/"))], None),
        ([objects(30, **at("a/"))], [objects(30, prefix="a/")], None),
        # A filter by more than the prefix.
        ([objects(30, **TAGGED)], [objects(30, **at("a/"))], "Kept for ever until now, from then on 30 days"),
        ([objects(30, **at("a/"))], [objects(30, **TAGGED)], None),
        ([objects(30, **at("a/"))], [objects(7, **TAGGED)], "Kept 30 days until now, from then on 7 days"),
        # Taken away.
        ([objects(30), objects(7, **at("a/"))], [objects(30)], None),
    ],
)
def test_how_long_data_are_kept_is_compared_by_what_a_rule_is_for(
    old: list[dict[str, Any]], new: list[dict[str, Any]], said: str | None
) -> None:
    found = told(step("update", "Lifecycle", "l", rules(*old), rules(*new)))["risks"]

    assert [each["kind"] for each in found] == ([] if said is None else ["kept-shorter"])
    assert said is None or found[0]["consequence"].startswith(f"{said}: ")


def test_a_rule_for_a_part_of_the_bucket_says_for_which() -> None:
    [risk] = told(step("update", "Lifecycle", "l", rules(), rules(objects(7, **at("runs/")))))["risks"]

    assert (risk["title"], risk["name"]) == ("Shortens the retention of data: lifecycle rule for runs/", "lake")


def test_the_first_rules_of_a_bucket() -> None:
    made = step("create", "Lifecycle", "l", None, rules(objects(7)))
    bucket = step("create", "Bucket", "b", None, {"bucket": "lake"})
    elsewhere = step("create", "Bucket", "c", None, {"bucket": "other"})
    drawn = step(
        "create", "Lifecycle", "l", None, {**rules(objects(7)), "bucket": UNKNOWN},
        after={"propertyDependencies": {"bucket": [bucket["urn"]]}},
    )  # fmt: skip

    assert risks(made) == risks(made, elsewhere) == [("kept-shorter", "lake")]
    # Nothing lies in it yet.
    assert risks(made, bucket) == risks(drawn, bucket) == []
