"""The changes that a deployment would make, as `millrace diff` reports them, for commands that ask first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.console.output import say
from cli.console.progress import Progress
from cli.pulumi import previews
from cli.stack import deployable
from cli.stack.deployable import Deployable
from cli.stack.target import Target
from engine import bootstrap
from millrace.inventory import JobVariable

#: The maximum number of changes that are listed by name.
_NAMED = 6
#: The component that exists only while a package is approved, as it is named in a URN.
_COMPONENT = "$millrace:index:BlueGreenEndpoint$"
_ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
#: The properties that differ when only the model is new, by type. The model and its configuration get new names.
_BY_MODEL = {
    "aws:sagemaker/model:Model": {
        "name",
        "primaryContainer.modelPackageName",
        f"primaryContainer.environment.{JobVariable.MODEL_PACKAGE}",
    },
    "aws:sagemaker/endpointConfiguration:EndpointConfiguration": {"name", "productionVariants[0].modelName"},
    _ENDPOINT: {"endpointConfigName"},
}


def describe_preview(target: Deployable, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of `millrace diff` for a preview of the stack.

    Args:
        target: The stack.
        asked: The document of `pulumi preview --json`.
    """
    from cli import prices
    from cli.diff import document, lookups, preview

    environment = target.environment
    # Costs do not matter here, so the bundled table is used: an invalid table of the user must not cause an error.
    table = prices.Prices.load(Path(prices.__file__).with_suffix(".toml"))
    extras = lookups.make_lookups(target) if isinstance(target, Target) else {}
    context = document.Context(deployable.get_name(target), environment.name, "", environment.region, table, **extras)
    return document.make_document(preview.parse_preview(asked, f"preview of {target.stack}"), context)


def format_risks(risks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line for each risk.

    Args:
        risks: The risks in a `millrace diff` document.
    """
    return [f"{each['title']}: {each['name']}. {each['consequence']}" for each in risks]


# -- changes other than the model --------------------------------------------------------------------------------------


def find_other_changes(target: Target, *, quiet: bool) -> list[str]:
    """Return the logical names of what a deployment from this checkout would change other than the serving model.

    Args:
        target: The stack.
        quiet: Whether progress goes to standard error.

    Raises:
        CliError: When the preview fails; nothing was changed.
    """
    with Progress(err=quiet).stage("preview") as stage:
        bootstrap.ensure_cli(stage.print_line)
        found = list(find_changes_besides_model(describe_preview(target, previews.preview_stack(target, stage.note))))
        stage.result = f"in addition to the model: {_count_changes(found)}" if found else "nothing else changes"
    return found


def find_changes_besides_model(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the changes in a `millrace diff` document that a new model alone does not explain."""
    whole = {each["operation"] for each in document["resources"] if each["type"] == _ENDPOINT} & {"create", "delete"}
    for each in document["resources"]:
        paths = {part["path"] for part in each["properties"]}
        by_model = each["operation"] in ("update", "replace") and paths <= _BY_MODEL.get(each["type"], set())
        # The endpoint and its alarms are created with the first approved package and deleted with the last one.
        if _COMPONENT in each["urn"] and (by_model or each["operation"] in whole):
            continue
        yield each["name"]


def format_names(found: Sequence[str]) -> str:
    """Return the names of changes for a sentence; of many, the first ones.

    Args:
        found: The logical names of the changed resources.
    """
    return ", ".join(found[:_NAMED]) + (", …" if len(found) > _NAMED else "")


def print_changes(target: Target, found: Sequence[str]) -> None:
    """Print a note on the other changes, if there are any.

    Args:
        target: The stack.
        found: The logical names of the changed resources, from `find_other_changes`.
    """
    if not found:
        return
    named = format_names(found)
    say(f"  note: this checkout differs from what is deployed; deploying it makes {_count_changes(found)}: {named}")
    say(
        f"        millrace diff {deployable.render_arguments(target)} shows them; check out what is deployed to "
        "leave them out"
    )


def format_other_changes(found: Sequence[str]) -> str:
    """Return the other changes as the end of a question; empty when there are none.

    Args:
        found: The logical names of the changed resources, from `find_other_changes`.
    """
    return f", with {_count_changes(found)}" if found else ""


def _count_changes(found: Sequence[str]) -> str:
    return f"{len(found)} other change{'s' if len(found) > 1 else ''}"
