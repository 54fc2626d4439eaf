"""The environment in which a use case runs: one per stack, read from the stack's configuration."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from millrace import deprecations
from millrace.config_files import make_file_name
from millrace.errors import DeclarationError, Diagnosis, InvalidValueError
from millrace.names import Names
from millrace.part import Part
from millrace.rollout import Rollout, Traffic

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=12)]

_INSTANCE = re.compile(r"ml\.[a-z][a-z0-9-]*\.(medium|large|\d*xlarge)")
#: Registry with its port, repository, then a tag, a digest or both. A first part without dot or port is not a registry.
_IMAGE = re.compile(
    r"([a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?|[a-z0-9-]+:\d+)(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
    r"(:\w[\w.-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})",
    re.ASCII,
)


def _of_sagemaker(instance: str) -> str:
    if not _INSTANCE.fullmatch(instance):
        raise InvalidValueError(
            f"{instance!r}",
            "is not an instance type of SageMaker",
            expected="ml.<family>.<size>, e.g. ml.m5.large",
            fix="correct it",
        )
    return instance


def _of_a_registry(image: str) -> str:
    if not _IMAGE.fullmatch(image):
        raise InvalidValueError(
            f"{image!r}",
            "is not an image of a registry",
            expected="<registry>/<repository> with :<tag> or @sha256:<64 digits>",
            fix="correct it",
        )
    return image


def _written_as_text(time: Any) -> datetime | None:
    """Parse a time given as a text; refuse a number, which would silently count as seconds since 1970."""
    try:
        return None if time is None else datetime.fromisoformat(time)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"{time!r}", "is not a time", expected="text such as '2013-04-01T00:00:00Z'", fix="write it as quoted text"
        ) from error


Instance = Annotated[str, AfterValidator(_of_sagemaker)]

#: The prefix of names of environments that exist only as long as a pull request.
REVIEW = "pr-"

#: Prefixes of variables that are set by SageMaker, the SDKs or Millrace itself.
RESERVED = ("AWS_", "SAGEMAKER_", "SM_", "MILLRACE_")


class ApprovalMode(StrEnum):
    """The way in which a registered model is approved for serving."""

    MANUAL = "manual"
    AUTOMATIC = "automatic"


#: Minutes in which a build installs what it needs, and previews.
_PREPARING = 25


class Deployer(StrEnum):
    """What deploys a model once it is approved, and the one before it once it is rejected."""

    PERSON = "person"
    BUILD = "build"


class Promotion(Part):
    """The way from a registered model to one that serves; `promotion: automatic` stands for `approval: automatic`."""

    approval: ApprovalMode = ApprovalMode.MANUAL
    """Manual by default: a person checks a model before it decides about people."""
    by: Deployer = Deployer.PERSON
    """A person, with `millrace deploy`, or a CodeBuild project that the decision starts."""
    build_image: str = Field(default="aws/codebuild/amazonlinux-x86_64-standard:5.0", min_length=1)
    """The image of the builds: one of CodeBuild's with Python 3.11, or the team's own."""
    build_compute: str = Field(default="BUILD_GENERAL1_MEDIUM", pattern=r"^BUILD_GENERAL1_(SMALL|MEDIUM|LARGE)$")
    """Their compute type; Pulumi and its providers need about 4 GB."""
    build_minutes: int = Field(default=120, ge=90, le=2160)
    """Their timeout: preparing takes some minutes, a rollout up to an hour, and the rest is for waiting for others."""
    build_secrets: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(default_factory=dict)
    """Environment variable of the builds → SSM parameter that holds its value, such as PULUMI_CONFIG_PASSPHRASE."""
    build_keys: tuple[Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:kms:")], ...] = ()
    """The KMS keys that open these parameters and the stack's own secrets."""

    def patience_minutes(self, rollout: Rollout) -> int:
        """Return how long a build may wait for other updates of the stack, so that it can still roll out then.

        Args:
            rollout: The rollout of the endpoint.
        """
        return max(5, self.build_minutes - _PREPARING - -(-rollout.max_seconds // 60))


def _read_promotion(value: Any) -> Any:
    return {"approval": value} if isinstance(value, str) else value


class Lake(StrEnum):
    """The ownership of the bucket that holds the data of a use case."""

    OWN = "own"
    SHARED = "shared"


class Environment(Part):
    """One place to run a use case: an account and region with its sizes and rules."""

    name: Name
    """`local`, `dev`, `staging`, `prod`, or a name of the team's own."""
    region: str = Field(default="eu-west-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    image: Annotated[str, AfterValidator(_of_a_registry)] = (
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/millrace:local"
    )
    """The runtime image of jobs and endpoints; outside `local`, pinned by digest."""
    promotion: Annotated[Promotion, BeforeValidator(_read_promotion)] = Promotion()
    """Who approves a model, and what deploys it then."""
    job_instance: Instance = "ml.m5.large"
    endpoint_instance: Instance = "ml.m5.large"
    endpoint_count: int = Field(default=1, ge=1, le=100)
    rollout: Rollout = Rollout()
    capture_percent: int = Field(default=100, ge=0, le=100)
    """Share of requests captured for the monitor; drift cannot be measured on requests that are not kept."""
    lake: Lake = Lake.OWN
    """Own: deleting a use case deletes its data and those of no other. Shared: a folder in the bucket of the
    stack `platform-<environment>`, under one key, for many small use cases in one account."""
    retention_days: int = Field(default=365, ge=1)
    """Noncurrent object versions and captured data are kept this long, days."""
    variables: dict[
        Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Annotated[str, Field(max_length=256)]
    ] = Field(default_factory=dict, max_length=80)
    """Environment variables of every job and of the endpoint, for the use case's own functions."""
    notify: tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")], ...] = ()
    """E-mail addresses that are notified of every alarm; each must confirm its subscription once."""
    replay_from: Annotated[datetime | None, BeforeValidator(_written_as_text)] = None
    """Data time starts here and is moved by replays, instead of following the wall clock. For demos and tests."""
    force_destroy: bool = False
    """Whether `pulumi destroy` may delete buckets that hold data. Only `local` and `pr-…` may set it."""

    @property
    def is_ephemeral(self) -> bool:
        """True if nothing in it needs to be kept: the local environment, and those of pull requests."""
        return self.name == "local" or self.name.startswith(REVIEW)

    def make_names(self, use_case: str, account: str) -> Names:
        """Return all computed names of a use case in this environment.

        Args:
            use_case: The use case's name, as declared.
            account: The AWS account, twelve digits.
        """
        return Names(use_case, self.name, account, self.region, shared_lake=self.lake is Lake.SHARED)

    @field_validator("notify")
    @classmethod
    def _each_is_told_once(cls, notify: tuple[str, ...]) -> tuple[str, ...]:
        seen: set[str] = set()
        for address in notify:
            if address.lower() in seen:
                raise InvalidValueError(
                    f"{address!r}", "is listed twice", expected="each address once", fix="remove one"
                )
            seen.add(address.lower())
        return notify

    @model_validator(mode="after")
    def _is_safe(self) -> Environment:
        if self.force_destroy and not self.is_ephemeral:
            raise InvalidValueError(
                "force_destroy=True",
                f"deletes data, which only the environments 'local' and '{REVIEW}…' may",
                fix="remove it",
            )
        if self.name != "local" and "@sha256:" not in self.image:
            raise InvalidValueError(
                f"image={self.image!r}",
                "is a mutable tag",
                expected="an image pinned by its digest (<repository>@sha256:…)",
                fix="set `environment.image` in the stack's configuration",
            )
        if taken := sorted(name for name in self.variables if name.startswith(RESERVED)):
            raise InvalidValueError(
                f"variables: {', '.join(taken)}",
                f"would be overwritten: names must not start with {', '.join(RESERVED)}",
                fix="rename it",
            )
        if self.rollout.traffic is not Traffic.ALL_AT_ONCE and self.endpoint_count < 2:
            raise InvalidValueError(
                f"endpoint_count={self.endpoint_count}",
                f"cannot be split for traffic '{self.rollout.traffic.value}'",
                expected="at least 2",
                fix="add an instance or shift all at once",
            )
        if self.replay_from is not None and self.replay_from.tzinfo is None:
            raise InvalidValueError(
                f"replay_from={self.replay_from.isoformat()!r}", "has no time zone", fix="add 'Z' for UTC"
            )
        if self.replay_from is not None and self.replay_from > datetime.now(UTC):
            raise InvalidValueError(
                f"replay_from={self.replay_from.isoformat()!r}",
                "is in the future",
                expected="a time in the past, for which data exist",
                fix="correct it",
            )
        return self

    @classmethod
    def from_stack(cls, stack: str, configured: Any, region: str | None) -> Self:
        """Create the environment that a stack's configuration describes.

        Args:
            stack: `<use case>-<environment>`.
            configured: The object under `millrace:environment`.
            region: The value of `aws:region`, which the provider uses, so everything does; None where it is not set.

        Returns:
            The environment, in the region of `aws:region`.

        Raises:
            DeclarationError: The configuration is not valid.
        """
        where = f"stack {stack!r}, millrace:environment"
        if not isinstance(configured, dict):
            raise DeclarationError(
                where, [Diagnosis("the value", f"is {configured!r}", expected="an object with at least `name`")]
            )
        configured = dict(configured)
        if region is None:
            raise DeclarationError(
                f"stack {stack!r}", [Diagnosis("aws:region:", "is missing", expected="a region", fix="add it")]
            )
        if configured.setdefault("region", region) != region:
            raise DeclarationError(
                where,
                [
                    Diagnosis(
                        f"region = {configured['region']!r}",
                        f"differs from aws:region, which is {region!r}",
                        expected="the region in one place",
                        fix="remove this",
                    )
                ],
            )
        try:
            with deprecations.name_place(where, make_file_name(stack)):
                environment = cls(**configured)
        except DeclarationError as error:
            raise DeclarationError(where, error.problems) from error
        if not stack.endswith(f"-{environment.name}"):
            raise DeclarationError(
                where,
                [
                    Diagnosis(
                        f"name={environment.name!r}",
                        f"does not match the stack's name {stack!r}",
                        expected=f"<use case>-{environment.name}",
                    )
                ],
            )
        return environment
