"""A request to a model, and its reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """A client's request to a model."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    target_variant: str | None = None
    inference_id: str | None = None
    custom_attributes: str | None = None


@dataclass(frozen=True)
class Reply:
    """The reply of a model."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    variant: str
