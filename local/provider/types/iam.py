"""IAM: roles, their inline policies, managed policies and attachments. IAM is global: no type has a region."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from typing import Any

from local.provider.api import Context
from local.provider.documents import is_same_policy
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.schema import ALL, Tagging
from local.provider.shapes import boolean_property
from local.provider.values import Values


class Role(Resource):
    """``aws:iam/role:Role``; policies are attached by ``RolePolicy`` and ``RolePolicyAttachment`` only."""

    token = "aws:iam/role:Role"
    service = "iam"
    regional = False
    create_by, read_by = "CreateRole", "GetRole"
    answer = "Role"
    members = {"name": "RoleName", "assumeRolePolicy": "AssumeRolePolicyDocument"}
    places = {"permissionsBoundary": "PermissionsBoundary.PermissionsBoundaryArn"}
    own = {"forceDetachPolicies": boolean_property(unread=True)}
    outputs = {"arn": "Arn", "createDate": "CreateDate", "uniqueId": "RoleId"}
    auto_name = ("name", AutoName(64))
    name_prefix = True
    replaces = frozenset({"name", "path"})
    defaults = {"forceDetachPolicies": False, "maxSessionDuration": 3600, "path": "/"}
    same = {"assumeRolePolicy": is_same_policy}
    tagging = Tagging("TagRole", "UntagRole", "ListRoleTags", "RoleName", by="name")

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Apply the changed properties, each with its own call."""
        role = {"RoleName": known["name"]}
        if "assumeRolePolicy" in changed:
            self.call(context, "UpdateAssumeRolePolicy", {**role, "PolicyDocument": known["assumeRolePolicy"]})
        if changed & {"description", "maxSessionDuration"}:
            rest = {"Description": known.get("description", ""), "MaxSessionDuration": known["maxSessionDuration"]}
            self.call(context, "UpdateRole", {**role, **rest})
        if "permissionsBoundary" in changed:
            boundary = known.get("permissionsBoundary")
            if boundary:
                self.call(context, "PutRolePermissionsBoundary", {**role, "PermissionsBoundary": boundary})
            else:
                self.call(context, "DeleteRolePermissionsBoundary", role)

    def delete(self, context: Context, known: Values) -> None:
        """Delete the role and, with ``forceDetachPolicies``, first detach its policies; it may no longer exist."""
        role = {"RoleName": known["name"]}

        def remove() -> None:
            if known.get("forceDetachPolicies"):
                for attached in self.call(context, "ListAttachedRolePolicies", role)["AttachedPolicies"]:
                    self.call(context, "DetachRolePolicy", {**role, "PolicyArn": attached["PolicyArn"]})
            self.call(context, "DeleteRole", role)

        self.ignore_not_found(remove)


class Policy(Resource):
    """``aws:iam/policy:Policy``: an update creates a new default version and deletes the oldest of five."""

    token = "aws:iam/policy:Policy"
    service = "iam"
    regional = False
    create_by, read_by = "CreatePolicy", "GetPolicy"
    answer = "Policy"
    id = "{arn}"
    members = {"name": "PolicyName", "policy": "PolicyDocument"}
    created = {"arn": "Policy.Arn"}
    identity = {"PolicyArn": "arn"}
    outputs = {"arn": "Arn", "policyId": "PolicyId", "attachmentCount": "AttachmentCount"}
    auto_name = ("name", AutoName(255))
    name_prefix = True
    replaces = frozenset({"name", "path", "description"})
    defaults = {"path": "/"}
    same = {"policy": is_same_policy}
    tagging = Tagging("TagPolicy", "UntagPolicy", "ListPolicyTags", "PolicyArn")

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the API's description of the policy and the document of its default version, or None."""
        found = super().describe(context, known)
        if found is not None:
            version = {"PolicyArn": known["arn"], "VersionId": found["DefaultVersionId"]}
            found["PolicyDocument"] = self.call(context, "GetPolicyVersion", version)["PolicyVersion"]["Document"]
        return found

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Create a new default version; delete the oldest other one if there are five."""
        if "policy" not in changed:
            return
        policy = {"PolicyArn": known["arn"]}
        spare = self._spare_versions(context, policy)
        if len(spare) >= 4:
            self.call(context, "DeletePolicyVersion", {**policy, "VersionId": spare[0]})
        self.call(context, "CreatePolicyVersion", {**policy, "PolicyDocument": known["policy"], "SetAsDefault": True})

    def delete(self, context: Context, known: Values) -> None:
        """Delete the policy and all its versions; it is no error if it no longer exists."""
        policy = {"PolicyArn": known["arn"]}

        def remove() -> None:
            for version in self._spare_versions(context, policy):
                self.call(context, "DeletePolicyVersion", {**policy, "VersionId": version})
            self.call(context, "DeletePolicy", policy)

        self.ignore_not_found(remove)

    def _spare_versions(self, context: Context, policy: dict[str, str]) -> list[str]:
        """Return the versions that are not the default one, oldest first."""
        versions = self.call(context, "ListPolicyVersions", policy)["Versions"]
        spare = [version["VersionId"] for version in versions if not version["IsDefaultVersion"]]
        return sorted(spare, key=lambda version: int(version.lstrip("v")))


class RolePolicy(Resource):
    """``aws:iam/rolePolicy:RolePolicy``: a policy inside a role."""

    token = "aws:iam/rolePolicy:RolePolicy"
    service = "iam"
    regional = False
    create_by = update_by = "PutRolePolicy"
    read_by, delete_by = "GetRolePolicy", "DeleteRolePolicy"
    id = "{role}:{name}"
    members = {"name": "PolicyName", "role": "RoleName", "policy": "PolicyDocument"}
    auto_name = ("name", AutoName(255))
    name_prefix = True
    replaces = frozenset({"name", "role"})
    same = {"policy": is_same_policy}


class RolePolicyAttachment(Resource):
    """``aws:iam/rolePolicyAttachment:RolePolicyAttachment``."""

    token = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    service = "iam"
    regional = False
    create_by, delete_by = "AttachRolePolicy", "DetachRolePolicy"
    id = "{role}/{policyArn}"
    members = {"role": "RoleName"}
    replaces = frozenset({ALL})
    delete_before_replace = True

    def describe(self, context: Context, known: Values) -> dict[str, Any] | None:
        """Return the attachment, or None if the policy is not attached to the role."""
        attached = self.call(context, "ListAttachedRolePolicies", {"RoleName": known["role"]})["AttachedPolicies"]
        if all(policy["PolicyArn"] != known["policyArn"] for policy in attached):
            return None
        return {"RoleName": known["role"], "PolicyArn": known["policyArn"]}


TYPES = (Role, Policy, RolePolicy, RolePolicyAttachment)
