"""What `millrace diff` says of permissions that open more than anybody can oversee."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.previewed import ACCOUNT, comment, of, risks, step, told, whole

STRANGER = "999999999999"
LAKE = "arn:aws:s3:::lake/*"
TLS_ONLY = {
    "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::lake", LAKE],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}  # fmt: skip


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"policy": json.dumps({"Version": "2012-10-17", "Statement": list(statements)})}


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (allow("*"), "everything"),
        (allow("*:*"), "everything"),
        (allow("*", LAKE), "everything"),
        (allow("iam:*"), "iam:* on every resource"),
        (allow(["sts:*", "kms:*"]), "kms:*, sts:* on every resource"),
        (allow("S3:*"), "s3:* on every resource"),
        (allow("s3:*", "arn:aws:s3:::*"), "s3:* on every resource"),
        (allow("secretsmanager:*"), "secretsmanager:* on every resource"),
        # A service that gives no power over others is one all the same.
        (allow("sagemaker:*"), "sagemaker:* on every resource"),
        # A condition makes it no smaller.
        (allow("iam:*", Condition={"Bool": {"aws:SecureTransport": "true"}}), "iam:* on every resource"),
        (allow("iam:PassRole"), "iam:PassRole on every resource"),
        (allow("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/*"), "iam:PassRole on every resource"),
        (allow("iam:Pass*"), "iam:Pass* on every resource"),
        (allow(["sts:AssumeRole", "s3:GetObject"]), "sts:AssumeRole on every resource"),
        (allow("iam:SetDefaultPolicyVersion"), "iam:SetDefaultPolicyVersion on every resource"),
        (allow("iam:AddUserToGroup"), "iam:AddUserToGroup on every resource"),
        (allow("iam:DeleteRolePermissionsBoundary"), "iam:DeleteRolePermissionsBoundary on every resource"),
        (allow("iam:CreateLoginProfile"), "iam:CreateLoginProfile on every resource"),
        (allow(["secretsmanager:Get*", "s3:GetObject"]), "secretsmanager:Get* on every resource"),
        (allow("kms:Decrypt"), "kms:Decrypt on every resource"),
        (allow("kms:Decrypt", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1"), None),
        (allow("kms:DescribeKey"), None),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, "all but iam:*"),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": LAKE}, "all but iam:*"),
        ({"Effect": "Allow", "Action": "s3:GetObject", "NotResource": LAKE}, "s3:GetObject on all but"),
        ({"Effect": "Deny", "Action": "*", "Resource": "*"}, None),
        (allow("s3:*", LAKE), None),
        (allow("ecr:GetAuthorizationToken"), None),
        (allow("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/flights-job"), None),
        (allow("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/flights-*"), None),
    ],
)
def test_more_than_can_be_overseen_to_a_role(statement: dict[str, Any], said: str | None) -> None:
    found = told(step("update", "RolePolicy", "p", policy(), policy(statement)))["risks"]

    assert [each["kind"] for each in found] == ([] if said is None else ["opened"])
    assert said is None or said in found[0]["title"]


def test_what_was_allowed_before_is_no_risk() -> None:
    old, more = allow("iam:*"), allow("s3:GetObject", LAKE)

    assert risks(step("update", "RolePolicy", "p", policy(old), policy(old, more))) == []
    # Less than before.
    assert risks(step("update", "RolePolicy", "p", policy(old), policy(allow("iam:PassRole")))) == []


def test_a_managed_policy_that_allows_everything() -> None:
    def attached(name: str) -> list[tuple[str, str]]:
        inputs = {"policyArn": f"arn:aws:iam::aws:policy/{name}", "role": "job"}
        return risks(step("create", "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "m", None, inputs))

    assert attached("AdministratorAccess") == attached("AmazonSageMakerFullAccess") == [("opened", "job")]
    assert attached("service-role/AmazonECSTaskExecutionRolePolicy") == []


def test_a_key_that_its_own_account_may_use_is_not_open() -> None:
    mine = allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})

    assert risks(step("update", "Key", "k", policy(), policy(mine))) == []


@pytest.mark.parametrize(
    "principal",
    [STRANGER, f"arn:aws:iam::{STRANGER}:root", f"arn:aws:iam::{STRANGER}:role/x", f"arn:aws:sts::{STRANGER}:a/b/c"],
)
@pytest.mark.parametrize(
    "kind", ["Role", "BucketPolicy", "Key", "aws:kms/grant:Grant", "aws:lambda/permission:Permission"]
)
def test_another_account(kind: str, principal: str) -> None:
    def given(who: str) -> dict[str, Any]:
        statement = allow("kms:Decrypt", Principal={"AWS": [f"arn:aws:iam::{ACCOUNT}:root", who]})
        return {
            "Role": {"assumeRolePolicy": policy({**statement, "Action": "sts:AssumeRole"})["policy"]},
            "aws:kms/grant:Grant": {"granteePrincipal": who, "operations": ["Decrypt"], "keyId": "key"},
            "aws:lambda/permission:Permission": {"principal": who, "action": "lambda:InvokeFunction"},
        }.get(kind, policy(statement))

    mine = given(f"arn:aws:iam::{ACCOUNT}:role/job")
    [risk] = told(step("update", kind, "it", mine, given(principal)))["risks"]

    assert (risk["kind"], risk["name"]) == ("opened", "it")
    assert risk["title"].startswith(f"Allows account {STRANGER} to do ")
    assert risks(step("update", kind, "it", given(principal), mine)) == []


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:PrincipalAccount": STRANGER}},
        {"StringEquals": {"kms:CallerAccount": [ACCOUNT, STRANGER]}},
        {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{STRANGER}:role/*"}},
    ],
)
def test_everybody_of_another_account(condition: dict[str, Any]) -> None:
    theirs = allow("kms:Decrypt", Principal="*", Condition=condition)

    [risk] = told(step("update", "Key", "k", policy(), policy(theirs)))["risks"]

    assert risk["title"] == f"Allows account {STRANGER} to do kms:Decrypt:"


def test_an_account_is_told_where_the_preview_does_not_say_which_is_the_stacks_own() -> None:
    made = step("create", "Key", "k", None, policy(allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})))

    [risk] = of({**whole(), "steps": [made]})["risks"]

    assert risk["kind"] == "opened"
    assert "does not show" in risk["consequence"]


EVERYBODY = [
    ({}, True),
    ({"Bool": {"aws:SecureTransport": "true"}}, True),
    ({"StringEquals": {"s3:x-amz-acl": "private"}}, True),
    # Met by everybody who does not say where they come from.
    ({"StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT}}, True),
    ({"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-1"}}, True),
    ({"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}, True),
    ({"StringLike": {"aws:PrincipalOrgID": "*"}}, True),
    ({"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:topic"}}, True),
    ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/0"]}}, True),
    ({"StringEquals": {"aws:SourceAccount": ACCOUNT}}, False),
    ({"StringEquals": {"AWS:PrincipalOrgId": "o-1"}}, False),
    ({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-1/r-1/*"}}, False),
    ({"ArnLike": {"aws:SourceArn": f"arn:aws:sns:*:{ACCOUNT}:*"}}, False),
    ({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::lake-*"}}, False),
    ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
    ({"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {"aws:SourceVpce": "vpce-1"}}, False),
]


@pytest.mark.parametrize(("condition", "is_risk"), EVERYBODY)
@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}])
@pytest.mark.parametrize("kept", [(), (TLS_ONLY,)], ids=["bare", "denied"])
def test_something_to_everybody(
    kept: tuple[dict[str, Any], ...], principal: Any, condition: dict[str, Any], is_risk: bool
) -> None:
    public = allow("s3:GetObject", LAKE, Principal=principal, **({"Condition": condition} if condition else {}))

    found = risks(step("update", "BucketPolicy", "p", policy(*kept), policy(*kept, public)))

    assert found == ([("opened", "p")] if is_risk else [])


def test_everybody_but_one_is_everybody() -> None:
    public = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": LAKE, "NotPrincipal": {"AWS": ACCOUNT}}

    assert risks(step("update", "BucketPolicy", "p", policy(), policy(public))) == [("opened", "p")]


def trust(condition: dict[str, Any], principal: Any = None) -> dict[str, Any]:
    statement = {
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal or {"Service": "sagemaker.amazonaws.com"},
        **({"Condition": condition} if condition else {}),
    }  # fmt: skip
    return {"assumeRolePolicy": policy(statement)["policy"]}


MINE = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
OURS = {"ArnLike": {"aws:SourceArn": f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:*"}}


@pytest.mark.parametrize(
    ("before", "after", "is_risk"),
    [
        (MINE, {}, True),
        (OURS, {}, True),
        (MINE, {"Bool": {"aws:SecureTransport": "true"}}, True),
        (MINE, {"StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT}}, True),
        (MINE, OURS, False),
        ({**MINE, **OURS}, MINE, False),
        ({}, MINE, False),
        ({}, {}, False),
    ],
)
def test_a_service_that_may_act_for_a_stranger(before: dict[str, Any], after: dict[str, Any], is_risk: bool) -> None:
    found = told(step("update", "Role", "job", trust(before), trust(after)))["risks"]

    assert [each["kind"] for each in found] == (["condition-lost"] if is_risk else [])


def test_a_condition_that_is_lost_is_told_in_words() -> None:
    text = comment(step("update", "Role", "job", trust(MINE), trust({})))

    assert "**No longer checks on whose behalf sagemaker.amazonaws.com acts:** `job`" in text
    assert f"Until now only if aws:SourceAccount is {ACCOUNT}." in text
    assert f"no longer requires `aws:SourceAccount is {ACCOUNT}`" in text


def test_a_role_that_everybody_may_take() -> None:
    found = risks(step("update", "Role", "job", trust(MINE), trust({}, {"AWS": "*"})))

    assert ("opened", "job") in found


@pytest.mark.parametrize("condition", ["now", ["a"], {"Bool": "true"}, {"StringEquals": {"aws:SourceAccount": []}}])
def test_a_condition_that_is_none_narrows_nothing(condition: Any) -> None:
    changed = step(
        "update", "BucketPolicy", "p", policy(), policy(allow("s3:Get*", LAKE, Principal="*", Condition=condition))
    )

    assert risks(changed) == [("opened", "p")]
    assert "Allows everybody to do" in comment(changed)


LAMBDA = {"action": "lambda:InvokeFunction", "function": "f", "principal": "*"}


@pytest.mark.parametrize(
    ("kind", "old", "new", "is_risk"),
    [
        ("Queue", {}, policy(allow("sqs:SendMessage", Principal="*")), True),
        ("Topic", {}, policy(allow("sns:Publish", Principal="*")), True),
        ("Bucket", {}, policy(allow("s3:GetObject", LAKE, Principal="*")), True),
        ("Bucket", {"acl": "private"}, {"acl": "public-read"}, True),
        ("Bucket", {"acl": "public-read"}, {"acl": "private"}, False),
        ("aws:s3/bucketAcl:BucketAcl", {}, {"acl": "public-read-write"}, True),
        ("aws:s3/bucketAcl:BucketAcl", {}, {"acl": "log-delivery-write"}, False),
        ("aws:lambda/permission:Permission", None, LAMBDA, True),
        ("aws:lambda/permission:Permission", None, {**LAMBDA, "sourceAccount": ACCOUNT}, False),
        ("aws:lambda/permission:Permission", None, {**LAMBDA, "principalOrgId": "o-1"}, False),
        ("aws:iam/userPolicy:UserPolicy", {}, policy(allow("*")), True),
        ("aws:iam/groupPolicy:GroupPolicy", {}, policy(allow("iam:*")), True),
        # A type that nobody here knows.
        ("aws:opensearch/domain:Domain", {}, {"accessPolicies": policy(allow("es:*", Principal="*"))["policy"]}, True),
        ("aws-native:sqs:QueuePolicy", {}, {"policyDocument": {"Statement": allow("sqs:*", Principal="*")}}, True),
    ],
)
def test_what_lies_in_other_inputs(kind: str, old: dict[str, Any] | None, new: dict[str, Any], is_risk: bool) -> None:
    changed = step("update" if old is not None else "create", kind, "it", old, new)

    assert risks(changed) == ([("opened", "it")] if is_risk else [])
    assert told(changed)["permissions"]


def test_a_managed_policy_is_attached_to_many_at_once() -> None:
    inputs = {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess", "roles": ["job"], "users": ["eve"]}

    found = risks(step("create", "aws:iam/policyAttachment:PolicyAttachment", "m", None, inputs))

    assert found == [("opened", "job"), ("opened", "eve")]


def test_a_boundary_that_is_taken_away() -> None:
    bound = {"permissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/boundary"}
    taken = step("update", "Role", "job", bound, {})

    assert risks(taken) == [("weakened", "job")]
    assert f"loses denies `all but what arn:aws:iam::{ACCOUNT}:policy/boundary allows`" in comment(taken)
    assert risks(step("update", "Role", "job", {}, bound)) == []


# -- who is signed in elsewhere ----------------------------------------------------------------------------------------

GITHUB = "token.actions.githubusercontent.com"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"


def signed_in(provider: str, operator: str = "", **keys: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": provider}}
    said = {f"{provider.rpartition('oidc-provider/')[2]}:{key}": value for key, value in keys.items()}
    if said:
        statement["Condition"] = {operator: said}
    return {"assumeRolePolicy": json.dumps({"Statement": [statement]})}


@pytest.mark.parametrize(
    ("now", "whom"),
    [
        (signed_in("accounts.google.com"), "accounts.google.com"),
        (signed_in("accounts.google.com", "StringEquals", aud="app"), "accounts.google.com"),
        (signed_in("accounts.google.com", "StringEquals", aud="app", sub="1234"), None),
        (signed_in(PROVIDER), f"iam: oidc-provider/{GITHUB}"),
        (signed_in(PROVIDER, "StringEquals", aud="sts.amazonaws.com"), f"iam: oidc-provider/{GITHUB}"),
        (signed_in(PROVIDER, "StringLike", sub="*"), f"iam: oidc-provider/{GITHUB}"),
        (signed_in(PROVIDER, "StringLike", sub="repo:*"), f"iam: oidc-provider/{GITHUB}"),
        (signed_in(PROVIDER, "StringLike", sub=["repo:me/it:*", "repo:o*"]), f"iam: oidc-provider/{GITHUB}"),
        (signed_in(PROVIDER, "StringLikeIfExists", sub="repo:me/it:*"), f"iam: oidc-provider/{GITHUB}"),
        (signed_in(PROVIDER, "StringLike", sub="repo:me/it:*"), None),
        (signed_in(PROVIDER, "StringEquals", sub="repo:me/it:environment:prod"), None),
        (signed_in("cognito-identity.amazonaws.com", "StringEquals", aud="eu-west-1:pool"), None),
    ],
)
def test_a_role_for_whoever_is_signed_in_elsewhere(now: dict[str, Any], whom: str | None) -> None:
    before = signed_in(PROVIDER, "StringEquals", sub="repo:me/it:ref:refs/heads/main")

    found = told(step("update", "Role", "deploy", before, now))["risks"]

    assert [(each["kind"], each["name"]) for each in found] == ([] if whom is None else [("opened", "deploy")])
    if whom is not None:
        assert found[0]["title"] == f"Allows whomever {whom} signs in to do sts:AssumeRoleWithWebIdentity:"
        assert "No condition on the subject" in found[0]["consequence"]
