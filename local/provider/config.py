"""The provider's configuration: where resources go and which tags all of them get."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from local.provider.values import UNKNOWN, Values

#: What tells the official provider where AWS is and who calls. Here the endpoint and the caller are given.
_CONNECTION = frozenset(
    {
        "accessKey",
        "customCaBundle",
        "ec2MetadataServiceEndpoint",
        "ec2MetadataServiceEndpointMode",
        "endpoints",
        "httpProxy",
        "httpsProxy",
        "insecure",
        "maxRetries",
        "noProxy",
        "profile",
        "retryMode",
        "s3UsEast1RegionalEndpoint",
        "s3UsePathStyle",
        "secretKey",
        "sharedConfigFiles",
        "sharedCredentialsFiles",
        "skipCredentialsValidation",
        "skipMetadataApiCheck",
        "skipRegionValidation",
        "skipRequestingAccountId",
        "stsRegion",
        "token",
        "useDualstackEndpoint",
        "useFipsEndpoint",
        "version",
        "pluginDownloadURL",
    }
)
_OURS = frozenset({"region", "defaultTags", "allowedAccountIds", "forbiddenAccountIds"})


@dataclass(frozen=True)
class ConfigFailure:
    """What is wrong with one configuration value."""

    property: str
    reason: str


@dataclass(frozen=True)
class Session:
    """One configured provider of one run of the engine."""

    region: str
    default_tags: dict[str, str] = field(default_factory=dict)
    accounts: frozenset[str] = frozenset()
    refused_accounts: frozenset[str] = frozenset()
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def settings(self) -> tuple[str, dict[str, str]]:
        """What two sessions must have in common to do the same."""
        return self.region, self.default_tags


def structured(value: Any) -> Any:
    """A configuration value; the engine passes lists and objects on as JSON text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def check(config: Values) -> Iterator[ConfigFailure]:
    """What is wrong with a configuration."""
    for name, value in config.items():
        if name not in _OURS | _CONNECTION and value not in ("", None):
            known = ", ".join(sorted(_OURS))
            yield ConfigFailure(name, f"aws:{name} is not supported on this machine; these are: {known}")
    if config.get("region") is None:
        yield ConfigFailure("region", "aws:region is not set: pulumi config set aws:region <region>, e.g. eu-west-1")
    elif config["region"] is not UNKNOWN and not isinstance(config["region"], str):
        yield ConfigFailure("region", f"aws:region {config['region']!r} is not a region's name, e.g. eu-west-1")
    tags = structured(config.get("defaultTags"))
    if tags not in (None, UNKNOWN, "") and not isinstance(tags, dict):
        yield ConfigFailure("defaultTags", f"{tags!r} is not an object such as {{'tags': {{'team': 'search'}}}}")


def session(config: Values) -> Session:
    """The session that a checked configuration makes."""
    tags = structured(config.get("defaultTags")) or {}
    return Session(
        region=str(config["region"]),
        default_tags={name: str(value) for name, value in (tags.get("tags") or {}).items()},
        accounts=frozenset(structured(config.get("allowedAccountIds")) or ()),
        refused_accounts=frozenset(structured(config.get("forbiddenAccountIds")) or ()),
    )
