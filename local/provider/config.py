"""The provider's configuration: the region of resources and the tags that all of them get."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from local.provider.errors import Failure
from local.provider.values import UNKNOWN, Values
from local.regions import describe_invalid_region, is_region

#: Settings of the official provider for endpoint and caller; ignored, because both are fixed here.
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
class Session:
    """One configured provider of one run of the engine."""

    region: str
    default_tags: dict[str, str] = field(default_factory=dict)
    accounts: frozenset[str] = frozenset()
    refused_accounts: frozenset[str] = frozenset()
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def settings(self) -> tuple[str, dict[str, str]]:
        """The settings that make two sessions interchangeable if they are equal."""
        return self.region, self.default_tags


def parse_setting(value: Any) -> Any:
    """Return a configuration value, parsed if the engine passed a list or object as JSON text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def parse_region(peer: str) -> str:
    """Return the region of the environment that an engine runs in, empty if it has none.

    Args:
        peer: The address of the engine's connection, which ends with ``@`` and the region.
    """
    return peer.rpartition("@")[2] if "@" in peer else ""


def check_config(config: Values, around: str) -> Iterator[Failure]:
    """Yield what is wrong with a configuration.

    ``around`` is the region of the engine's environment, used if none is configured.
    """
    for name, value in config.items():
        if name not in _OURS | _CONNECTION and value not in ("", None):
            known = ", ".join(sorted(_OURS))
            yield Failure(name, f"aws:{name} is not supported on this machine; supported: {known}")
    region = config.get("region")
    if region is None and not around:
        reason = "aws:region is not set: pulumi config set aws:region <region>, e.g. eu-west-1, or set AWS_REGION"
        yield Failure("region", reason)
    elif region is None and not is_region(around):
        yield Failure("region", f"aws:region is not set, and the environment's {describe_invalid_region(around)}")
    elif region not in (None, UNKNOWN) and not is_region(region):
        yield Failure("region", f"aws:region {describe_invalid_region(region)}")
    tags = parse_setting(config.get("defaultTags"))
    if tags not in (None, UNKNOWN, "") and not isinstance(tags, dict):
        yield Failure("defaultTags", f"{tags!r} is not an object such as {{'tags': {{'team': 'search'}}}}")


def create_session(config: Values) -> Session:
    """Return the session for a checked configuration."""
    tags = parse_setting(config.get("defaultTags")) or {}
    return Session(
        region=str(config["region"]),
        default_tags={name: str(value) for name, value in (tags.get("tags") or {}).items()},
        accounts=frozenset(parse_setting(config.get("allowedAccountIds")) or ()),
        refused_accounts=frozenset(parse_setting(config.get("forbiddenAccountIds")) or ()),
    )
