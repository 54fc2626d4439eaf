"""What a deployment would do, told as `millrace diff` tells it, for whoever asks a question before one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.console.output import say
from cli.console.progress import Progress
from cli.pulumi import updates
from cli.stack import deployable
from cli.stack.deployable import Deployable
from cli.stack.target import Target
from engine import bootstrap

#: How many changes are named one by one.
_NAMED = 6
#: The component that stands and falls with an approved model, as it is named in a URN.
_COMPONENT = "$millrace:index:BlueGreenEndpoint$"
_ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
#: What differs where another model is all that is new: type → properties. Model and configuration get new names by it.
_BY_MODEL = {
    "aws:sagemaker/model:Model": {"name", "primaryContainer.modelPackageName"},
    "aws:sagemaker/endpointConfiguration:EndpointConfiguration": {"name", "productionVariants[0].modelName"},
    _ENDPOINT: {"endpointConfigName"},
}


def told(target: Deployable, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A preview of the stack as the document of `millrace diff`.

    Args:
        asked: The document of `pulumi preview --json`.
    """
    from cli import prices
    from cli.diff import document, lookups, preview

    environment = target.environment
    # Nobody asks here what it costs: a table of the user's own, which may be wrong, is not to stand in the way.
    table = prices.Prices.load(Path(prices.__file__).with_suffix(".toml"))
    extras = lookups.of(target) if isinstance(target, Target) else {}
    context = document.Context(deployable.name(target), environment.name, "", environment.region, table, **extras)
    return document.of(preview.of(asked, f"preview of {target.stack}"), context)


def lines(risks: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to look at twice, a line each."""
    return [f"{each['title']}: {each['name']}. {each['consequence']}" for each in risks]


# -- what goes along with a model --------------------------------------------------------------------------------------


def others(target: Target, *, quiet: bool) -> list[str]:
    """What a deployment from this checkout would change besides the model that serves, by logical name.

    Args:
        quiet: Whether progress goes to standard error.

    Raises:
        CliError: When the program cannot be deployed as it stands; nothing was changed.
    """
    with Progress(err=quiet).stage("preview") as stage:
        bootstrap.ensure(stage.line)
        found = list(besides_model(told(target, updates.preview(target, stage.note))))
        stage.result = f"besides the model: {_counted(found)}" if found else "nothing else changes"
    return found


def besides_model(document: Mapping[str, Any]) -> Iterator[str]:
    """The changes of a `millrace diff` that another model alone does not explain."""
    whole = {each["operation"] for each in document["resources"] if each["type"] == _ENDPOINT} & {"create", "delete"}
    for each in document["resources"]:
        paths = {part["path"] for part in each["properties"]}
        by_model = each["operation"] in ("update", "replace") and paths <= _BY_MODEL.get(each["type"], set())
        # An endpoint comes with its first approved model and goes with its last one, and its alarms with it.
        if _COMPONENT in each["urn"] and (by_model or each["operation"] in whole):
            continue
        yield each["name"]


def show(target: Target, found: Sequence[str]) -> None:
    """Say what goes along."""
    if not found:
        return
    named = ", ".join(found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
    say(f"  note: this checkout is not what is deployed; deploying it makes {_counted(found)}: {named}")
    say(f"        millrace diff {deployable.named(target)} shows them; check out what is deployed to leave them out")


def along(found: Sequence[str]) -> str:
    """The same within a question."""
    return f", with {_counted(found)}" if found else ""


def _counted(found: Sequence[str]) -> str:
    return f"{len(found)} other change{'s' if len(found) > 1 else ''}"
