"""Leftovers of a stack that no model which may still serve needs: configurations, models, objects in its lake.

Reproducibility comes first: everything that a registered package refers to is kept, whatever its approval. When a
package does not record what it refers to, everything that it may refer to is kept.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from cli.aws import model_packages, pipelines
from cli.aws.model_packages import Package
from cli.console.errors import CliError
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from millrace.inventory import PIPELINE_KINDS
from millrace.names import CODE, DATASETS, MODELS, QUARANTINE, SNAPSHOTS
from queries.client import is_not_found
from queries.endpoints import IN_SERVICE, find_endpoint, find_endpoint_config, find_model, get_container
from queries.pipelines import RUNNING, find_pipeline

#: The kinds of items, in order of deletion: a configuration before the model that it names.
CONFIG, MODEL, OBJECTS, UPLOAD = "endpoint configuration", "model", "objects", "incomplete upload"
KINDS = (CONFIG, MODEL, OBJECTS, UPLOAD)
#: The kind of something kept that is a whole prefix of the lake.
PREFIX = "prefix"
#: An older upload counts as abandoned, whatever minimum age was asked for.
_BROKEN_OFF = timedelta(days=1)
#: The maximum number of objects that S3 deletes in one request.
_BATCH = 1000
#: The suffix of names that Pulumi generates: seven hexadecimal digits after the logical name.
_AUTOMATIC = r"-[0-9a-f]{7}"


@dataclass(frozen=True)
class Item:
    """Something that can be deleted."""

    kind: str
    name: str
    """A name, or the key or key prefix in the lake."""
    since: datetime
    why: str
    size: int = 0
    """Bytes; 0 for configurations and models."""
    keys: tuple[str, ...] = field(default=(), repr=False)
    upload: str = ""

    def dump(self) -> dict[str, Any]:
        """Return the item as a dictionary, for JSON output."""
        return {
            "kind": self.kind,
            "name": self.name,
            "since": self.since,
            "bytes": self.size,
            "objects": len(self.keys),
            "why": self.why,
        }


class Reason(StrEnum):
    """The reason why something that looks like garbage is kept."""

    SERVES = "serves"
    NEWEST = "newest"
    ROLLBACK = "rollback"
    TOO_YOUNG = "too_young"
    ORIGIN_UNKNOWN = "origin_unknown"


_REASONS = {
    Reason.SERVES: "the endpoint uses it",
    Reason.NEWEST: "the last one that Pulumi created",
    Reason.ROLLBACK: "a rollback would need it",
    Reason.TOO_YOUNG: "younger than --older-than",
    Reason.ORIGIN_UNKNOWN: "{detail}",
}


@dataclass(frozen=True)
class Kept:
    """Something that looks like garbage and is kept.

    Attributes:
        kind: Its kind; `prefix` for everything below a prefix of the lake.
        name: Its name, key or prefix.
        reason: Why it is kept.
        detail: For an unknown origin: which package does not record what it was made from.
    """

    kind: str
    name: str
    reason: Reason
    detail: str = ""

    @property
    def text(self) -> str:
        """The sentence for people."""
        subject = {PREFIX: f"everything under {self.name}/", OBJECTS: self.name}.get(
            self.kind, f"{self.kind} {self.name}"
        )
        return f"{subject}: {_REASONS[self.reason].format(detail=self.detail)}"

    def dump(self) -> dict[str, Any]:
        """Return the kept thing as a dictionary, for JSON output."""
        return {"kind": self.kind, "name": self.name, "reason": self.reason.value, "text": self.text}


@dataclass
class Inventory:
    """The items that can be deleted, and those that are kept although they look like garbage."""

    items: list[Item] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)


def collect_garbage(target: Target, keep: int, older_than: timedelta) -> Inventory:
    """Collect everything that can be deleted, and what is kept.

    Args:
        target: The stack.
        keep: How many versions, other than the serving one, keep the configuration that a rollback needs.
        older_than: The minimum age of an item; younger ones are kept.

    Returns:
        The items in the order of their deletion, by kind and name, and what is kept.

    Raises:
        CliError: The endpoint is not in service: it may still need any of its configurations.
    """
    found = Inventory()
    before = datetime.now(UTC) - older_than
    live = _collect_serving(target, found, keep, before)
    _collect_lake(target, found, live, before)
    # A running execution may be uploading.
    busy = any(pipelines.find_running(target, kind) for kind in PIPELINE_KINDS)
    found.items += _uploads(target, datetime.now(UTC) - (_BROKEN_OFF if busy else min(older_than, _BROKEN_OFF)))
    found.items.sort(key=lambda item: (KINDS.index(item.kind), item.name))
    return found


# -- configurations and models -----------------------------------------------------------------------------------------


def list_configs_and_models(target: Target) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return this stack's endpoint configurations and models with names that Pulumi generated, newest first.

    Args:
        target: The stack.

    Returns:
        The summaries of ListEndpointConfigs, and those of ListModels.
    """
    name = re.escape(target.names.endpoint)
    configs = _listed(target, "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName")
    models = _listed(target, "list_models", "Models", "ModelName")
    return (
        [each for each in configs if re.fullmatch(f"{name}-config{_AUTOMATIC}", each["EndpointConfigName"])],
        [each for each in models if re.fullmatch(f"{name}-model{_AUTOMATIC}", each["ModelName"])],
    )


def _listed(target: Target, operation: str, key: str, name: str) -> list[dict[str, Any]]:
    pages = target.sagemaker.get_paginator(operation).paginate(
        NameContains=target.names.endpoint, SortBy="CreationTime", SortOrder="Descending"
    )
    found = [each for page in pages for each in page[key]]
    return sorted(found, key=lambda each: (each["CreationTime"], each[name]), reverse=True)


def find_live_config(target: Target) -> str | None:
    """Return the configuration that the endpoint runs; None when there is no endpoint.

    Args:
        target: The stack.

    Raises:
        CliError: When the endpoint is not in service: it may still need any of its configurations.
    """
    endpoint = find_endpoint(target.sagemaker, target.names.endpoint)
    if endpoint is None:
        return None
    if (status := endpoint["EndpointStatus"]) != IN_SERVICE:
        raise CliError(
            f"endpoint {target.names.endpoint}",
            f"is {status}: it may be rolled back to any of its configurations",
            fix=f"run this again when `millrace status {render_arguments(target)}` shows InService",
        )
    return str(endpoint["EndpointConfigName"])


def _collect_serving(target: Target, found: Inventory, keep: int, before: datetime) -> set[str]:
    """Add the leftovers of rollouts, and return the ARNs of the packages behind all models that are kept."""
    live = find_live_config(target)
    configs, models = list_configs_and_models(target)
    described = {each["EndpointConfigName"]: _models_of(target, each["EndpointConfigName"]) for each in configs}
    packages = {each["ModelName"]: _package_of(target, each["ModelName"]) for each in models}
    stays: dict[str, Reason] = {}
    if live:
        stays[live] = Reason.SERVES
    if configs:
        # Pulumi's state names the newest one, whether the endpoint accepted it or was rolled back.
        stays.setdefault(configs[0]["EndpointConfigName"], Reason.NEWEST)
    versions = {packages.get(model, "") for name in stays for model in described.get(name, ())}
    for each in configs:
        mine = {packages.get(model, "") for model in described[each["EndpointConfigName"]]}
        if len(versions - {""}) <= keep and mine - versions - {""}:
            versions |= mine
            stays.setdefault(each["EndpointConfigName"], Reason.ROLLBACK)
    needed = {model for name in stays for model in described.get(name, _models_of(target, name))}
    if models:
        needed.add(models[0]["ModelName"])
    for kind, key, every, kept in (
        (CONFIG, "EndpointConfigName", configs, set(stays)),
        (MODEL, "ModelName", models, needed),
    ):
        for each in every:
            young = each["CreationTime"] > before
            if each[key] not in kept and not young:
                found.items.append(Item(kind, each[key], each["CreationTime"], "no rollback needs it"))
            elif young and each[key] not in kept:
                found.kept.append(Kept(kind, each[key], Reason.TOO_YOUNG))
    found.kept += [Kept(CONFIG, name, why) for name, why in stays.items()]
    return {packages.get(name) or _package_of(target, name) for name in needed} - {""}


def _models_of(target: Target, config: str) -> tuple[str, ...]:
    described = find_endpoint_config(target.sagemaker, config) or {}
    return tuple(each["ModelName"] for each in described.get("ProductionVariants", ()))


def _package_of(target: Target, model: str) -> str:
    """Return the ARN of a model's package; empty when it has none or does not exist."""
    return str(get_container(find_model(target.sagemaker, model) or {}).get("ModelPackageName", ""))


# -- the lake ----------------------------------------------------------------------------------------------------------


@dataclass
class _Needed:
    """Everything that packages, pipelines and running executions refer to."""

    executions: set[str] = field(default_factory=set)
    """IDs in lower case, which are the names of the executions' folders."""
    uris: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    """Reasons why no execution's folder may be deleted."""
    code: list[str] = field(default_factory=list)
    """Reasons why no code may be deleted."""

    def refers_to(self, uri: str) -> bool:
        """Return True if something refers to an object, or to a folder that contains it."""
        return any(uri == each or uri.startswith(f"{each.rstrip('/')}/") for each in self.uris)


def _needed(target: Target, live: set[str]) -> _Needed:
    needed = _Needed()
    packages = model_packages.list_group_packages(target)
    for package in packages:
        _add_needs(package, needed)
    for arn in live - {package.arn for package in packages}:
        needed.unknown.append(f"package {arn} of a kept model was deleted, so what the model needs is unknown")
    for kind in PIPELINE_KINDS:
        for execution in pipelines.list_newest_executions(target, kind, 100):
            if execution["PipelineExecutionStatus"] in RUNNING:
                needed.executions.add(execution["PipelineExecutionArn"].rpartition("/")[2].lower())
        definition = find_pipeline(target.sagemaker, target.names.pipeline(kind))
        if definition is None:
            continue
        text = definition["PipelineDefinition"]
        needed.uris |= set(re.findall(r"s3://[^\"\\ ]+\.pyz", text))
        # A pipeline may join the parts of an address only when it runs, so file names alone count, too.
        needed.uris |= {target.names.uri(CODE, each) for each in re.findall(r"[A-Za-z0-9-]+\.pyz", text)}
    return needed


def _add_needs(package: Package, needed: _Needed) -> None:
    needed.uris |= {uri for uri in (package.model_data, package.evaluation_uri, package.code_uri) if uri}
    needed.uris |= {value for value in package.metadata.values() if value.startswith("s3://")}
    execution = package.execution or _execution_in(package.model_data)
    if execution is None:
        needed.unknown.append(f"version {package.version} does not record which execution made it")
    else:
        needed.executions.add(execution.lower())
    if package.code_uri is None:
        needed.code.append(f"version {package.version} does not record which code made it")


def _execution_in(uri: str | None) -> str | None:
    """Return the ID of the execution in the address of an archive, `…/models/<execution>/…`."""
    found = re.search(rf"/{MODELS}/([a-z0-9]+)/", uri or "")
    return found[1] if found else None


def _collect_lake(target: Target, found: Inventory, live: set[str], before: datetime) -> None:
    """Add the objects in the lake that nothing refers to."""
    if not target.is_provisioned():
        return
    needed = _needed(target, live)
    for prefix in (SNAPSHOTS, DATASETS, MODELS):
        if needed.unknown:
            found.kept.append(Kept(PREFIX, prefix, Reason.ORIGIN_UNKNOWN, needed.unknown[0]))
            continue
        for item in _folders(target, prefix, "no registered model was made from it"):
            folder = item.name.rstrip("/").rpartition("/")[2].lower()
            if folder not in needed.executions and not any(needed.refers_to(_uri(target, key)) for key in item.keys):
                _add(found, item, before)
    if needed.code:
        found.kept.append(Kept(PREFIX, CODE, Reason.ORIGIN_UNKNOWN, needed.code[0]))
    else:
        for item in _each_object(target, CODE, "no registered model and no pipeline uses it"):
            if not needed.refers_to(_uri(target, item.name)):
                _add(found, item, before)
    for item in _folders(target, QUARANTINE, "a rejected batch"):
        _add(found, item, before)


def _add(found: Inventory, item: Item, before: datetime) -> None:
    if item.since <= before:
        found.items.append(item)
    else:
        found.kept.append(Kept(OBJECTS, item.name, Reason.TOO_YOUNG))


def _uri(target: Target, key: str) -> str:
    return f"s3://{target.names.lake}/{key}"


def _objects(target: Target, prefix: str) -> Iterator[dict[str, Any]]:
    pages = (
        target.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket=target.names.lake, Prefix=f"{target.names.key(prefix)}/")
    )
    for page in pages:
        yield from page.get("Contents", [])


def _folders(target: Target, prefix: str, why: str) -> list[Item]:
    """Return the folders under a prefix, one for each execution or job, as items."""
    start = f"{target.names.key(prefix)}/"
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in _objects(target, prefix):
        folder, slash, _ = each["Key"].removeprefix(start).partition("/")
        if slash:
            grouped[f"{start}{folder}/"].append(each)
    return [_item(name, objects, why) for name, objects in grouped.items()]


def _each_object(target: Target, prefix: str, why: str) -> list[Item]:
    return [_item(each["Key"], [each], why) for each in _objects(target, prefix)]


def _item(name: str, objects: list[dict[str, Any]], why: str) -> Item:
    newest = max(each["LastModified"] for each in objects)
    size, keys = sum(each["Size"] for each in objects), tuple(each["Key"] for each in objects)
    return Item(OBJECTS, name, newest, why, size, keys)


def _uploads(target: Target, before: datetime) -> Iterable[Item]:
    """Yield the multipart uploads that were never completed: they cost money, and no listing of objects shows them."""
    if not target.is_provisioned():
        return
    s3 = target.client("s3")
    prefix = target.names.key("") if target.names.shared_lake else ""
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=target.names.lake, Prefix=prefix)
    for page in pages:
        for each in page.get("Uploads", []):
            if each["Initiated"] > before:
                continue
            where = {"Bucket": target.names.lake, "Key": each["Key"], "UploadId": each["UploadId"]}
            parts = s3.get_paginator("list_parts").paginate(**where)
            size = sum(part["Size"] for page_ in parts for part in page_.get("Parts", []))
            why = "an upload that was never completed"
            yield Item(UPLOAD, each["Key"], each["Initiated"], why, size, (each["Key"],), each["UploadId"])


# -- deleting --------------------------------------------------------------------------------------------------------


def delete_item(target: Target, item: Item) -> None:
    """Delete an item; do nothing when it no longer exists.

    Args:
        target: The stack.
        item: The item, of any kind of `KINDS`.

    Raises:
        CliError: When objects cannot be deleted, with the first reason.
    """
    try:
        if item.kind == CONFIG:
            target.sagemaker.delete_endpoint_config(EndpointConfigName=item.name)
        elif item.kind == MODEL:
            target.sagemaker.delete_model(ModelName=item.name)
        elif item.kind == UPLOAD:
            where = {"Bucket": target.names.lake, "Key": item.keys[0]}
            target.client("s3").abort_multipart_upload(**where, UploadId=item.upload)
        else:
            _delete_objects(target, item)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchUpload" and not is_not_found(error):
            raise


def _delete_objects(target: Target, item: Item) -> None:
    for start in range(0, len(item.keys), _BATCH):
        batch = [{"Key": key} for key in item.keys[start : start + _BATCH]]
        answer = target.client("s3").delete_objects(Bucket=target.names.lake, Delete={"Objects": batch, "Quiet": True})
        for error in answer.get("Errors", []):
            raise CliError(
                f"{error['Key']} in {target.names.lake}",
                f"could not be deleted: {error.get('Message') or error['Code']}",
                fix="fix this and run the command again; finished work is kept",
            )
