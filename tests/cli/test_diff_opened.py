"""Tests of risks from permissions that are open too widely."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.previewed import ACCOUNT, comment_on, diff_preview, diff_steps, find_risks, make_preview, make_step

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
        # A wildcard on a service without power over others counts too.
        (allow("sagemaker:*"), "sagemaker:* on every resource"),
        # A condition does not narrow the grant.
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
def test_wildcard_grants_to_a_role_are_risks(statement: dict[str, Any], said: str | None) -> None:
    found = diff_steps(make_step("update", "RolePolicy", "p", policy(), policy(statement)))["risks"]

    assert [each["kind"] for each in found] == ([] if said is None else ["opened"])
    assert said is None or said in found[0]["title"]


def test_permissions_that_existed_before_are_no_risk() -> None:
    old, more = allow("iam:*"), allow("s3:GetObject", LAKE)

    assert find_risks(make_step("update", "RolePolicy", "p", policy(old), policy(old, more))) == []
    # Less than before.
    assert find_risks(make_step("update", "RolePolicy", "p", policy(old), policy(allow("iam:PassRole")))) == []


def test_attaching_a_broad_managed_policy_is_a_risk() -> None:
    def attached(name: str) -> list[tuple[str, str]]:
        inputs = {"policyArn": f"arn:aws:iam::aws:policy/{name}", "role": "job"}
        return find_risks(make_step("create", "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "m", None, inputs))

    assert attached("AdministratorAccess") == attached("AmazonSageMakerFullAccess") == [("opened", "job")]
    assert attached("service-role/AmazonECSTaskExecutionRolePolicy") == []


def test_a_key_policy_for_the_own_account_is_no_risk() -> None:
    mine = allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})

    assert find_risks(make_step("update", "Key", "k", policy(), policy(mine))) == []


@pytest.mark.parametrize(
    "principal",
    [STRANGER, f"arn:aws:iam::{STRANGER}:root", f"arn:aws:iam::{STRANGER}:role/x", f"arn:aws:sts::{STRANGER}:a/b/c"],
)
@pytest.mark.parametrize(
    "kind", ["Role", "BucketPolicy", "Key", "aws:kms/grant:Grant", "aws:lambda/permission:Permission"]
)
def test_grants_to_another_account_are_risks(kind: str, principal: str) -> None:
    def given(who: str) -> dict[str, Any]:
        statement = allow("kms:Decrypt", Principal={"AWS": [f"arn:aws:iam::{ACCOUNT}:root", who]})
        return {
            "Role": {"assumeRolePolicy": policy({**statement, "Action": "sts:AssumeRole"})["policy"]},
            "aws:kms/grant:Grant": {"granteePrincipal": who, "operations": ["Decrypt"], "keyId": "key"},
            "aws:lambda/permission:Permission": {"principal": who, "action": "lambda:InvokeFunction"},
        }.get(kind, policy(statement))

    mine = given(f"arn:aws:iam::{ACCOUNT}:role/job")
    [risk] = diff_steps(make_step("update", kind, "it", mine, given(principal)))["risks"]

    assert (risk["kind"], risk["name"]) == ("opened", "it")
    assert risk["title"].startswith(f"Allows account {STRANGER} to do ")
    assert find_risks(make_step("update", kind, "it", given(principal), mine)) == []


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:PrincipalAccount": STRANGER}},
        {"StringEquals": {"kms:CallerAccount": [ACCOUNT, STRANGER]}},
        {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{STRANGER}:role/*"}},
    ],
)
def test_conditions_that_admit_another_account_are_risks(condition: dict[str, Any]) -> None:
    theirs = allow("kms:Decrypt", Principal="*", Condition=condition)

    [risk] = diff_steps(make_step("update", "Key", "k", policy(), policy(theirs)))["risks"]

    assert risk["title"] == f"Allows account {STRANGER} to do kms:Decrypt:"


def test_an_account_is_a_risk_where_the_own_account_is_unknown() -> None:
    made = make_step(
        "create", "Key", "k", None, policy(allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))
    )

    [risk] = diff_preview({**make_preview(), "steps": [made]})["risks"]

    assert risk["kind"] == "opened"
    assert "does not show" in risk["consequence"]


EVERYBODY = [
    ({}, True),
    ({"Bool": {"aws:SecureTransport": "true"}}, True),
    ({"StringEquals": {"s3:x-amz-acl": "private"}}, True),
    # These conditions are also met by strangers, for example by requests without the key.
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
def test_grants_to_everybody_are_risks_unless_a_condition_narrows_them(
    kept: tuple[dict[str, Any], ...], principal: Any, condition: dict[str, Any], is_risk: bool
) -> None:
    public = allow("s3:GetObject", LAKE, Principal=principal, **({"Condition": condition} if condition else {}))

    found = find_risks(make_step("update", "BucketPolicy", "p", policy(*kept), policy(*kept, public)))

    assert found == ([("opened", "p")] if is_risk else [])


def test_not_principal_counts_as_everybody() -> None:
    public = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": LAKE, "NotPrincipal": {"AWS": ACCOUNT}}

    assert find_risks(make_step("update", "BucketPolicy", "p", policy(), policy(public))) == [("opened", "p")]


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
def test_losing_the_source_condition_of_a_service_is_a_risk(
    before: dict[str, Any], after: dict[str, Any], is_risk: bool
) -> None:
    found = diff_steps(make_step("update", "Role", "job", trust(before), trust(after)))["risks"]

    assert [each["kind"] for each in found] == (["condition-lost"] if is_risk else [])


def test_a_lost_condition_is_described_in_words() -> None:
    text = comment_on(make_step("update", "Role", "job", trust(MINE), trust({})))

    assert "**No longer checks on whose behalf sagemaker.amazonaws.com acts:** `job`" in text
    assert f"Until now only if aws:SourceAccount is {ACCOUNT}." in text
    assert f"no longer requires `aws:SourceAccount is {ACCOUNT}`" in text


def test_a_role_that_everybody_may_assume_is_a_risk() -> None:
    found = find_risks(make_step("update", "Role", "job", trust(MINE), trust({}, {"AWS": "*"})))

    assert ("opened", "job") in found


@pytest.mark.parametrize("condition", ["now", ["a"], {"Bool": "true"}, {"StringEquals": {"aws:SourceAccount": []}}])
def test_malformed_conditions_narrow_nothing(condition: Any) -> None:
    changed = make_step(
        "update", "BucketPolicy", "p", policy(), policy(allow("s3:Get*", LAKE, Principal="*", Condition=condition))
    )

    assert find_risks(changed) == [("opened", "p")]
    assert "Allows everybody to do" in comment_on(changed)


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
        # Types without rules of their own.
        ("aws:opensearch/domain:Domain", {}, {"accessPolicies": policy(allow("es:*", Principal="*"))["policy"]}, True),
        ("aws-native:sqs:QueuePolicy", {}, {"policyDocument": {"Statement": allow("sqs:*", Principal="*")}}, True),
    ],
)
def test_broad_grants_in_inputs_of_other_types_are_risks(
    kind: str, old: dict[str, Any] | None, new: dict[str, Any], is_risk: bool
) -> None:
    changed = make_step("update" if old is not None else "create", kind, "it", old, new)

    assert find_risks(changed) == ([("opened", "it")] if is_risk else [])
    assert diff_steps(changed)["permissions"]


def test_each_target_of_a_policy_attachment_is_a_risk() -> None:
    inputs = {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess", "roles": ["job"], "users": ["eve"]}

    found = find_risks(make_step("create", "aws:iam/policyAttachment:PolicyAttachment", "m", None, inputs))

    assert found == [("opened", "job"), ("opened", "eve")]


def test_removing_a_permissions_boundary_is_a_risk() -> None:
    bound = {"permissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/boundary"}
    taken = make_step("update", "Role", "job", bound, {})

    assert find_risks(taken) == [("weakened", "job")]
    assert f"loses denies `all but what arn:aws:iam::{ACCOUNT}:policy/boundary allows`" in comment_on(taken)
    assert find_risks(make_step("update", "Role", "job", {}, bound)) == []


# -- federated identities ----------------------------------------------------------------------------------------------

GITHUB = "token.actions.githubusercontent.com"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"


def make_federated_trust(provider: str, operator: str = "", **keys: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": provider}}
    said = {f"{provider.rpartition('oidc-provider/')[2]}:{key}": value for key, value in keys.items()}
    if said:
        statement["Condition"] = {operator: said}
    return {"assumeRolePolicy": json.dumps({"Statement": [statement]})}


@pytest.mark.parametrize(
    ("now", "whom"),
    [
        (make_federated_trust("accounts.google.com"), "accounts.google.com"),
        (make_federated_trust("accounts.google.com", "StringEquals", aud="app"), "accounts.google.com"),
        (make_federated_trust("accounts.google.com", "StringEquals", aud="app", sub="1234"), None),
        (make_federated_trust(PROVIDER), f"iam: oidc-provider/{GITHUB}"),
        (make_federated_trust(PROVIDER, "StringEquals", aud="sts.amazonaws.com"), f"iam: oidc-provider/{GITHUB}"),
        (make_federated_trust(PROVIDER, "StringLike", sub="*"), f"iam: oidc-provider/{GITHUB}"),
        (make_federated_trust(PROVIDER, "StringLike", sub="repo:*"), f"iam: oidc-provider/{GITHUB}"),
        (make_federated_trust(PROVIDER, "StringLike", sub=["repo:me/it:*", "repo:o*"]), f"iam: oidc-provider/{GITHUB}"),
        (make_federated_trust(PROVIDER, "StringLikeIfExists", sub="repo:me/it:*"), f"iam: oidc-provider/{GITHUB}"),
        (make_federated_trust(PROVIDER, "StringLike", sub="repo:me/it:*"), None),
        (make_federated_trust(PROVIDER, "StringEquals", sub="repo:me/it:environment:prod"), None),
        (make_federated_trust("cognito-identity.amazonaws.com", "StringEquals", aud="eu-west-1:pool"), None),
    ],
)
def test_federated_roles_without_a_narrow_subject_are_risks(now: dict[str, Any], whom: str | None) -> None:
    before = make_federated_trust(PROVIDER, "StringEquals", sub="repo:me/it:ref:refs/heads/main")

    found = diff_steps(make_step("update", "Role", "deploy", before, now))["risks"]

    assert [(each["kind"], each["name"]) for each in found] == ([] if whom is None else [("opened", "deploy")])
    if whom is not None:
        assert found[0]["title"] == f"Allows anyone signed in by {whom} to do sts:AssumeRoleWithWebIdentity:"
        assert "No condition on the subject" in found[0]["consequence"]
