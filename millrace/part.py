"""The base class of every part of a declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from millrace import deprecations
from millrace.errors import DeclarationError, diagnose


class Part(BaseModel):
    """A frozen part of a declaration: an unknown field is an error, never ignored, and numbers are finite.

    A field's old name is accepted for one minor version, with a warning: `millrace/deprecations.py` lists them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def __init__(self, **fields: Any) -> None:
        fields = deprecations.rename_fields(type(self).__name__, self._named(fields), fields)
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise DeclarationError(self._named(fields), diagnose(error, type(self))) from error

    # Hidden from the type checker, which would otherwise accept any name as an attribute.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            new = deprecations.find_current_name(type(self).__name__, self._named(self.__dict__), name)
            return super().__getattr__(name) if new is None else getattr(self, new)

    @classmethod
    def _named(cls, fields: dict[str, Any]) -> str:
        """Return the part's name in error messages, e.g. `Gate('roc_auc')`."""
        first = next((repr(fields[name]) for name in ("name", "metric", "column") if name in fields), "…")
        return f"{cls.__name__}({first})"
