"""The Jinja2 templates of `templates/`, which make texts for people, repositories and delivery pipelines."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).resolve().parents[2] / "templates"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=FileSystemLoader(FOLDER),
        # A name that the caller forgot is an error, never an empty text.
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html.j2", "html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(name: str, **values: Any) -> str:
    """Render a template.

    Args:
        name: Its path under `templates/`, e.g. `ci/github/preview.yml.j2`.
        values: The values that it uses; all of them must be given.

    Returns:
        The text; in an HTML template the values are escaped.

    Raises:
        jinja2.UndefinedError: A value is missing.
        jinja2.TemplateNotFound: The template does not exist.
    """
    return _environment().get_template(name).render(**values)
