"""ECR: repositories."""

# ruff: noqa: RUF012 -- the class attributes are table entries; Resource declares them as ClassVar.

from __future__ import annotations

from local.provider.api import Context
from local.provider.documents import is_same_key
from local.provider.naming import AutoName
from local.provider.resources import Resource
from local.provider.schema import Tagging
from local.provider.shapes import boolean_property
from local.provider.values import Values


class Repository(Resource):
    """``aws:ecr/repository:Repository``: a repository with images is only deleted with ``forceDelete``."""

    token = "aws:ecr/repository:Repository"
    service = "ecr"
    create_by, read_by, delete_by = "CreateRepository", "DescribeRepositories", "DeleteRepository"
    answer = "repositories.0"
    members = {"name": "repositoryName", "encryptionConfigurations": "encryptionConfiguration[]"}
    omit = frozenset({"registryId"})
    own = {"forceDelete": boolean_property(unread=True)}
    outputs = {"arn": "repositoryArn", "registryId": "registryId", "repositoryUrl": "repositoryUri"}
    auto_name = ("name", AutoName(255))
    replaces = frozenset({"name", "encryptionConfigurations"})
    defaults = {"imageTagMutability": "MUTABLE", "encryptionConfigurations.encryptionType": "AES256"}
    computed = frozenset({"encryptionConfigurations", "imageScanningConfiguration"})
    same = {"encryptionConfigurations.kmsKey": is_same_key}
    tagging = Tagging("TagResource", "UntagResource", "ListTagsForResource", "resourceArn")

    def build_params(self, context: Context, operation: str, values: Values) -> dict[str, object]:
        """Return the parameters for an operation; the read operation takes a list of names."""
        if operation == self.read_by:
            return {"repositoryNames": [values["name"]]}
        return super().build_params(context, operation, values)

    def update(self, context: Context, known: Values, changed: frozenset[str]) -> None:
        """Apply changed tag mutability and image scanning, each with its own call."""
        if changed & {"imageTagMutability", "imageTagMutabilityExclusionFilters"}:
            self.call(context, "PutImageTagMutability", self.build_params(context, "PutImageTagMutability", known))
        if "imageScanningConfiguration" in changed:
            params = {"repositoryName": known["name"], "imageScanningConfiguration": {"scanOnPush": False}}
            params |= self.build_params(context, "PutImageScanningConfiguration", known)
            self.call(context, "PutImageScanningConfiguration", params)

    def delete(self, context: Context, known: Values) -> None:
        """Delete the repository, with its images if ``forceDelete`` is set; it is no error if it no longer exists."""
        repository = {"repositoryName": known["name"], "force": bool(known.get("forceDelete"))}
        self.ignore_not_found(lambda: self.call(context, self.delete_by, repository))


TYPES = (Repository,)
