"""Tests of gained and lost actions against handwritten expectations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.diff.permissions import Permission, compare_permissions, read_policy
from tests.cli.previewed import UNKNOWN, comment_on, diff_steps, make_step


def allow(action: Any, resource: Any = "arn:aws:s3:::lake/*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def make_policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def compare_statements(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Return the gained and the lost permissions as `effect action resource`."""
    old, new = read_policy(make_policy(*before)), read_policy(make_policy(*after))
    assert old is not None
    assert new is not None
    gained, lost = compare_permissions(old, new)
    return tuple([f"{each.effect} {each.action} {each.resource}" for each in side] for side in (gained, lost))  # type: ignore[return-value]


LAKE, OTHER = "arn:aws:s3:::lake/*", "arn:aws:s3:::other/*"


@pytest.mark.parametrize(
    ("before", "after", "gained", "lost"),
    [
        ([allow("s3:GetObject")], [allow(["s3:GetObject", "s3:PutObject"])], [f"Allow s3:PutObject {LAKE}"], []),
        ([allow(["s3:GetObject", "s3:PutObject"])], [allow("s3:GetObject")], [], [f"Allow s3:PutObject {LAKE}"]),
        # The same permissions written differently.
        ([allow(["s3:GetObject", "s3:PutObject"])], [allow("s3:PutObject"), allow("s3:GetObject")], [], []),
        # Narrower than before: something is lost and nothing gained.
        ([allow("s3:*")], [allow("s3:GetObject")], [], [f"Allow s3:* {LAKE}"]),
        ([allow("s3:GetObject")], [allow("s3:Get*")], [f"Allow s3:Get* {LAKE}"], []),
        # Actions are case-insensitive.
        ([allow("S3:getobject")], [allow("s3:GetObject")], [], []),
        ([allow("s3:GetObject", LAKE)], [allow("s3:GetObject", [LAKE, OTHER])], [f"Allow s3:GetObject {OTHER}"], []),
        # Removing a condition grants more, adding one grants less.
        (
            [allow("s3:GetObject", Condition={"Bool": {"aws:SecureTransport": "true"}})],
            [allow("s3:GetObject")],
            [f"Allow s3:GetObject {LAKE}"],
            [],
        ),
        (
            [allow("s3:GetObject")],
            [allow("s3:GetObject", Condition={"Bool": {"aws:SecureTransport": "true"}})],
            [],
            [f"Allow s3:GetObject {LAKE}"],
        ),
        (
            [{"Effect": "Deny", "Action": "s3:*", "Resource": LAKE}],
            [],
            [],
            [f"Deny s3:* {LAKE}"],
        ),
        (
            [],
            [{"Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "Resource": "*"}],
            ["Allow all but iam:*, sts:* *"],
            [],
        ),
        # The first statement of an empty policy.
        ([], [allow("s3:GetObject")], [f"Allow s3:GetObject {LAKE}"], []),
    ],
)
def test_gained_and_lost_permissions(
    before: list[dict[str, Any]], after: list[dict[str, Any]], gained: list[str], lost: list[str]
) -> None:
    assert compare_statements(before, after) == (gained, lost)


def test_a_single_statement_and_invalid_policies_are_read() -> None:
    assert read_policy(json.dumps({"Statement": allow("s3:GetObject")})) == {Permission("Allow", "s3:GetObject", LAKE)}
    assert read_policy("{}") == set()
    assert read_policy("known later") is None
    assert read_policy(None) is None


@pytest.mark.parametrize(
    ("statement", "is_wildcard"),
    [
        (allow("s3:GetObject"), False),
        # An action that ends in a star is bounded by its prefix.
        (allow("kms:GenerateDataKey*", "arn:aws:kms:eu-west-1:1:key/2"), False),
        (allow("s3:*"), True),
        (allow("*"), True),
        (allow("ecr:GetAuthorizationToken", "*"), True),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": LAKE}, True),
        ({"Effect": "Allow", "Action": "s3:GetObject", "NotResource": LAKE}, True),
        (allow("s3:GetObject", Principal="*"), True),
        (allow("s3:GetObject", Principal={"AWS": "arn:aws:iam::1:root"}), False),
        ({"Effect": "Deny", "Action": "*", "Resource": "*"}, False),
    ],
)
def test_wildcards_are_marked(statement: dict[str, Any], is_wildcard: bool) -> None:
    changed = make_step("update", "RolePolicy", "p", {"policy": make_policy()}, {"policy": make_policy(statement)})
    [entry] = diff_steps(changed)["permissions"]

    assert [each["wildcard"] for each in entry["gained"]] == [is_wildcard]
    assert ("**wildcard**" in comment_on(changed)) == is_wildcard


def test_permissions_are_grouped_by_role_or_guarded_resource() -> None:
    role = make_step("same", "Role", "job-role", {"assumeRolePolicy": "{}"}, {"assumeRolePolicy": "{}"})
    attached = make_step("update", "RolePolicy", "job-policy", {"policy": make_policy(), "role": "job-12"},
                    {"policy": make_policy(allow("s3:GetObject")), "role": "job-12"},
                    after={"propertyDependencies": {"role": [role["urn"]]}})  # fmt: skip
    bare = make_step(
        "create", "RolePolicy", "bare", None, {"policy": make_policy(allow("s3:GetObject")), "role": "some-role"}
    )
    managed = make_step("create", "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "m", None,
                   {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess", "role": "some-role"})  # fmt: skip
    guarded = make_step(
        "update",
        "BucketPolicy",
        "lake-policy",
        {"policy": make_policy(allow("s3:GetObject", Principal="*"))},
        {"policy": make_policy()},
    )

    found = {
        (each["of"], each["name"]): each for each in diff_steps(role, attached, bare, managed, guarded)["permissions"]
    }

    assert set(found) == {("role", "job-role"), ("role", "some-role"), ("resource", "lake-policy")}
    assert {tuple(each["actions"]) for each in found["role", "some-role"]["gained"]} == {
        ("s3:GetObject",), ("policy arn:aws:iam::aws:policy/AdministratorAccess",),
    }  # fmt: skip
    assert [each["principal"] for each in found["resource", "lake-policy"]["lost"]] == ["*"]


def test_a_changed_trust_policy_is_described() -> None:
    def trust(*services: str) -> dict[str, Any]:
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": list(services)},
                     "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}}  # fmt: skip
        return {"assumeRolePolicy": make_policy(statement)}

    changed = make_step("update", "Role", "r", trust("sagemaker.amazonaws.com"), trust("lambda.amazonaws.com"))
    [entry] = diff_steps(changed)["permissions"]
    text = comment_on(changed)

    assert entry["of"] == "trust"
    assert [each["principal"] for each in entry["gained"]] == ["lambda.amazonaws.com"]
    assert [each["principal"] for each in entry["lost"]] == ["sagemaker.amazonaws.com"]
    assert "Who may use the role `r`" in text
    assert "gains `sts:AssumeRole` by `lambda.amazonaws.com` if `aws:SourceAccount is 123456789012`" in text


def test_a_policy_known_after_deployment_is_mentioned() -> None:
    changed = make_step("update", "RolePolicy", "p", {"policy": make_policy()}, {"policy": UNKNOWN})

    assert "Known after deployment: what `p` allows" in comment_on(changed)


def test_actions_on_the_same_resource_are_grouped() -> None:
    policy = make_policy(allow(["s3:PutObject", "s3:GetObject"]), allow("s3:ListBucket", OTHER))
    changed = make_step("create", "RolePolicy", "p", None, {"policy": policy})
    [entry] = diff_steps(changed)["permissions"]

    assert [(each["actions"], each["resources"]) for each in entry["gained"]] == [
        (["s3:GetObject", "s3:PutObject"], [LAKE]), (["s3:ListBucket"], [OTHER]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("aws:ram/principalAssociation:PrincipalAssociation", {"principal": "1"}, {"principal": "2"}),
        ("aws:s3/bucketAcl:BucketAcl", {}, {"accessControlPolicy": {"grants": []}}),
        ("acme:store:Box", {"policy": "mine alone"}, {"policy": "everybody"}),
    ],
)
def test_permissions_that_cannot_be_read_are_mentioned(kind: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    text = comment_on(make_step("update", kind, "it", old, new))

    assert "Cannot be read here, so check yourself what `it` allows" in text
    assert "permissions" not in text.partition("Unchanged: ")[2]


def test_policies_that_are_no_permissions_are_not_mentioned() -> None:
    rule = json.dumps({"rules": [{"rulePriority": 1}]})
    images = make_step("update", "aws:ecr/lifecyclePolicy:LifecyclePolicy", "it", {"policy": "{}"}, {"policy": rule})

    assert (
        diff_steps(
            images, make_step("update", "acme:store:Box", "b", {"policy": "a", "n": 1}, {"policy": "a", "n": 2})
        )["permissions"]
        == []
    )
