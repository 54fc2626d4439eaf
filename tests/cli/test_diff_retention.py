"""Tests of risks from data that is kept for a shorter time than before."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.previewed import UNKNOWN, diff_steps, find_risks, make_step

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
        # Current objects expire, which were kept forever before.
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
def test_a_shorter_lifecycle_is_a_risk(old: dict[str, Any], new: dict[str, Any], kinds: list[str]) -> None:
    found = diff_steps(make_step("update", "Lifecycle", "l", old, new))["risks"]

    assert [each["kind"] for each in found] == kinds


def test_a_fixed_expiration_date_is_named() -> None:
    changed = make_step("update", "Lifecycle", "l", lifecycle(30), lifecycle(30, expiration={"date": SOON}))

    assert f"Kept for ever until now, from then on until {SOON}" in diff_steps(changed)["risks"][0]["consequence"]


def test_disabling_a_key_is_a_risk() -> None:
    def turned(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str]]:
        return find_risks(make_step("update", "Key", "lake-key", old, new))

    on, off = {"isEnabled": True}, {"isEnabled": False}
    assert turned(on, off) == turned({}, off) == [("key-off", "lake-key")]
    assert turned(off, on) == turned(off, off) == turned(on, {}) == []


def test_shorter_retention_of_logs_messages_and_keys_is_a_risk() -> None:
    steps = [
        make_step("update", "LogGroup", "a", {"retentionInDays": 0}, {"retentionInDays": 7}),
        make_step("update", "LogGroup", "b", {"retentionInDays": 7}, {"retentionInDays": 30}),
        make_step("update", "Queue", "c", {"messageRetentionSeconds": 9}, {"messageRetentionSeconds": 3}),
        make_step("update", "Key", "d", {"deletionWindowInDays": 30}, {"deletionWindowInDays": 7}),
    ]

    assert find_risks(*steps) == [("kept-shorter", name) for name in ("a", "c", "d")]


# -- rule by rule ------------------------------------------------------------------------------------------------------


def rules(*given: dict[str, Any]) -> dict[str, Any]:
    return {"bucket": "lake", "rules": [{"id": f"r{n}", "status": "Enabled", **each} for n, each in enumerate(given)]}


def expire_old_versions(days: int, **scope: Any) -> dict[str, Any]:
    return {"noncurrentVersionExpiration": {"noncurrentDays": days}, **scope}


def expire_objects(days: int, **scope: Any) -> dict[str, Any]:
    return {"expiration": {"days": days}, **scope}


def filter_by_prefix(prefix: str) -> dict[str, Any]:
    return {"filter": {"prefix": prefix}}


TAGGED = {"filter": {"and": {"prefix": "a/", "tags": {"draft": "yes"}}}}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # One more rule, and one under another name.
        (
            [expire_old_versions(365)],
            [expire_old_versions(365), expire_old_versions(1)],
            "Kept 365 days until now, from then on 1 day",
        ),
        (
            [expire_old_versions(365)],
            [expire_old_versions(30, id="new")],
            "Kept 365 days until now, from then on 30 days",
        ),
        ([expire_old_versions(30)], [expire_old_versions(365, id="new")], None),
        ([], [expire_old_versions(30)], "Kept for ever until now, from then on 30 days"),
        # A wider filter.
        (
            [expire_objects(30, **filter_by_prefix("quarantine/"))],
            [expire_objects(30, **filter_by_prefix(""))],
            "Kept for ever until now, from then on 30 days",
        ),
        (
            [expire_objects(30, **filter_by_prefix("quarantine/"))],
            [expire_objects(30)],
            "Kept for ever until now, from then on 30 days",
        ),
        (
            [expire_objects(30, **filter_by_prefix("a/")), expire_objects(90)],
            [expire_objects(60, **filter_by_prefix("a/")), expire_objects(90)],
            None,
        ),
        # A narrower rule in addition to a wider one; the older form of a filter.
        (
            [expire_objects(30)],
            [expire_objects(30), expire_objects(7, prefix="a/")],
            "Kept 30 days until now, from then on 7 days",
        ),
        ([expire_objects(30)], [expire_objects(30), expire_objects(90, **filter_by_prefix("a/"))], None),
        ([expire_objects(30, **filter_by_prefix("a/"))], [expire_objects(30, prefix="a/")], None),
        # A filter by more than the prefix.
        (
            [expire_objects(30, **TAGGED)],
            [expire_objects(30, **filter_by_prefix("a/"))],
            "Kept for ever until now, from then on 30 days",
        ),
        ([expire_objects(30, **filter_by_prefix("a/"))], [expire_objects(30, **TAGGED)], None),
        (
            [expire_objects(30, **filter_by_prefix("a/"))],
            [expire_objects(7, **TAGGED)],
            "Kept 30 days until now, from then on 7 days",
        ),
        # A removed rule.
        ([expire_objects(30), expire_objects(7, **filter_by_prefix("a/"))], [expire_objects(30)], None),
    ],
)
def test_retention_is_compared_by_the_filter_of_a_rule(
    old: list[dict[str, Any]], new: list[dict[str, Any]], said: str | None
) -> None:
    found = diff_steps(make_step("update", "Lifecycle", "l", rules(*old), rules(*new)))["risks"]

    assert [each["kind"] for each in found] == ([] if said is None else ["kept-shorter"])
    assert said is None or found[0]["consequence"].startswith(f"{said}: ")


def test_a_rule_with_a_prefix_is_named_with_its_prefix() -> None:
    [risk] = diff_steps(
        make_step("update", "Lifecycle", "l", rules(), rules(expire_objects(7, **filter_by_prefix("runs/"))))
    )["risks"]

    assert (risk["title"], risk["name"]) == ("Shortens the retention of data: lifecycle rule for runs/", "lake")


def test_first_rules_are_a_risk_only_for_existing_buckets() -> None:
    made = make_step("create", "Lifecycle", "l", None, rules(expire_objects(7)))
    bucket = make_step("create", "Bucket", "b", None, {"bucket": "lake"})
    elsewhere = make_step("create", "Bucket", "c", None, {"bucket": "other"})
    drawn = make_step(
        "create", "Lifecycle", "l", None, {**rules(expire_objects(7)), "bucket": UNKNOWN},
        after={"propertyDependencies": {"bucket": [bucket["urn"]]}},
    )  # fmt: skip

    assert find_risks(made) == find_risks(made, elsewhere) == [("kept-shorter", "lake")]
    # A new bucket is empty.
    assert find_risks(made, bucket) == find_risks(drawn, bucket) == []
