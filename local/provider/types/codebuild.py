"""CodeBuild: projects."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.provider.api import Context
from local.provider.documents import is_same_key
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.schema import Tagging
from local.provider.values import Values


class Project(Resource):
    """``aws:codebuild/project:Project``: its tags have no operations of their own; an update sends all of them."""

    token = "aws:codebuild/project:Project"
    service = "codebuild"
    create_by, read_by, update_by, delete_by = "CreateProject", "BatchGetProjects", "UpdateProject", "DeleteProject"
    answer = "projects.0"
    id = "{arn}"
    members = {
        "buildTimeout": "timeoutInMinutes",
        "queuedTimeout": "queuedTimeoutInMinutes",
        "logsConfig.cloudwatchLogs": "cloudWatchLogs",
        "buildBatchConfig.restrictions.computeTypesAlloweds": "computeTypesAllowed",
    }
    omit = frozenset(
        {
            "artifacts.sourceIdentifier",
            "buildBatchConfig.batchReportMode",
            "buildBatchConfig.restrictions.fleetsAllowed",
            "environment.computeConfiguration",
            "environment.dockerServer.status",
            "source.sourceIdentifier",
        }
    )
    created = {"arn": "project.arn"}
    outputs = {"arn": "arn", "badgeUrl": "badge.badgeRequestUrl", "publicProjectAlias": "publicProjectAlias"}
    auto_name = ("name", AutoName(255))
    replaces = frozenset({"name"})
    defaults = {
        "badgeEnabled": False,
        "buildTimeout": 60,
        "queuedTimeout": 480,
        "environment.imagePullCredentialsType": "CODEBUILD",
        "environment.privilegedMode": False,
        "environment.environmentVariables.type": "PLAINTEXT",
    }
    computed = frozenset(
        {"autoRetryLimit", "cache", "description", "encryptionKey", "environment.hostKernel", "logsConfig"}
    )
    unread = frozenset({"badgeEnabled"})
    unordered = frozenset({"vpcConfig.subnets", "vpcConfig.securityGroupIds"})
    same = {"encryptionKey": is_same_key}
    tagging = Tagging("UpdateProject", "UpdateProject", "BatchGetProjects", "name", "name")

    def build_params(self, context: Context, operation: str, values: Values) -> dict[str, Any]:
        """Return the parameters for an operation; the read operation takes names, or ARNs."""
        if operation == self.read_by:
            return {"names": [values.get("arn") or values["name"]]}
        params = super().build_params(context, operation, values)
        # UpdateProject removes the limit of a project that is declared without one by this value.
        return {"concurrentBuildLimit": -1, **params} if operation == self.update_by else params

    def add_tags(self, context: Context, known: Values, tags: dict[str, str]) -> None:
        """Set these tags beside those that there are."""
        self._put_tags(context, known, {**self.show_tags(context, known), **tags})

    def remove_tags(self, context: Context, known: Values, names: list[str]) -> None:
        """Remove the tags of these names."""
        left = {name: value for name, value in self.show_tags(context, known).items() if name not in names}
        self._put_tags(context, known, left)

    def show_tags(self, context: Context, known: Values) -> dict[str, str]:
        """Return the tags of the project."""
        found = self.describe(context, known) or {}
        return {tag["key"]: tag["value"] for tag in found.get("tags", ())}

    def _put_tags(self, context: Context, known: Values, tags: Mapping[str, str]) -> None:
        pairs = [{"key": name, "value": value} for name, value in tags.items()]
        self.call(context, "UpdateProject", {"name": known["name"], "tags": pairs})


TYPES = (Project,)
