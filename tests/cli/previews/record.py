"""Script that records the previews in this folder with the real engine: `python -m tests.cli.previews.record`.

It deploys one stack, then makes, previews and reverts each change. It drops fields that differ between runs or that no
reader of a preview needs. It takes a minute or two; run it again after larger changes to the program.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local import client
from tests.e2e.stand import STACK, Stand

HERE = Path(__file__).parent

#: The fields of a resource's state that are kept.
_STATE = (
    "urn", "custom", "id", "type", "inputs", "parent", "protect", "retainOnDelete", "delete", "propertyDependencies",
)  # fmt: skip
#: The unchanged resources that are kept: those with a price, and those that an endpoint consists of.
_SAMES = re.compile(r":(Key|MetricAlarm|Dashboard|Endpoint|EndpointConfiguration|Model|Role)$")

Change = Callable[[Stand], None]


def edit(path: str, old: str, new: str) -> Change:
    """Return a change that replaces a text occurring exactly once in a file."""

    def change(stand: Stand) -> None:
        file = stand.folder / path
        text = file.read_text()
        assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
        file.write_text(text.replace(old, new))

    return change


CONFIG, DECLARATION = f"stacks/Pulumi.{STACK}.yaml", "stacks/flights/__init__.py"
ROLLOUT = "    rollout:\n      bake_seconds: 60\n"

CHANGES: dict[str, list[Change]] = {
    "rollout": [
        edit(CONFIG, ROLLOUT, ROLLOUT.replace("60", "120") + "      traffic: linear\n      step_percent: 30\n"),
    ],
    "feature": [edit(DECLARATION, '"visib": "number"}', '"visib": "number", "pressure": "number"}')],
    "role": [
        edit(
            "components/access.py",
            '["sagemaker:DescribeFeatureGroup", "sagemaker:PutRecord", "sagemaker:GetRecord"]',
            '["sagemaker:DescribeFeatureGroup", "sagemaker:PutRecord", "sagemaker:DeleteRecord"]',
        )
    ],
    "instance": [
        edit(CONFIG, ROLLOUT, f"    endpoint_instance: ml.m5.xlarge\n    job_instance: ml.m5.2xlarge\n{ROLLOUT}"),
    ],
    "group": [edit("components/feature_store.py", '"table_format": "Glue"', '"table_format": "Iceberg"')],
    "failed": [edit(DECLARATION, ', "visib": "number"}', "}")],
    "same": [],
}


def approve_second_version(stand: Stand) -> None:
    """Register and approve a second version of the serving model."""
    [package] = stand.packages()
    sagemaker = stand.client("sagemaker")
    sagemaker.create_model_package(
        ModelPackageGroupName=STACK,
        ModelApprovalStatus="Approved",
        InferenceSpecification=package["InferenceSpecification"],
        CustomerMetadataProperties=package["CustomerMetadataProperties"],
    )


def trim_preview(document: dict[str, Any]) -> dict[str, Any]:
    """Return a preview without fields that differ between runs."""
    steps = []
    for step in document["steps"]:
        if step["op"] == "same" and not _SAMES.search(step["urn"].split("::")[2]):
            continue
        kept = {key: value for key, value in step.items() if key != "provider"}
        for state in ("oldState", "newState"):
            if kept.get(state):
                kept[state] = {key: value for key, value in kept[state].items() if key in _STATE}
        steps.append(kept)
    kept = {**document, "steps": sorted(steps, key=lambda step: step["urn"]), "duration": 0}
    text = re.sub(r'"path": "[^"]*/bundles/', '"path": "bundles/', json.dumps(kept, indent=1))
    result: dict[str, Any] = json.loads(text)
    return result


def run_preview(stand: Stand, *options: str) -> dict[str, Any]:
    """Return the engine's preview, whether it succeeds or fails."""
    command = ["preview", "--json", "--show-sames", *options]
    text = stand.pulumi(*command, code=None)
    return dict(json.JSONDecoder().raw_decode(text[text.index("{") :])[0])


def write(name: str, document: dict[str, Any]) -> None:
    (HERE / f"{name}.json").write_text(json.dumps(trim_preview(document), indent=1) + "\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        checkout.mkdir()
        stand = Stand(checkout, 60.0)
        edit(CONFIG, ROLLOUT, f"    endpoint_count: 2\n{ROLLOUT}")(stand)
        stand.git("commit", "--quiet", "--all", "--message", "two servers")
        stand.start()
        try:
            write("new", _preview_new_stack(stand))
            stand.millrace("up", "flights", "--no-observe")
            for name, changes in CHANGES.items():
                for change in changes:
                    change(stand)
                write(name, run_preview(stand))
                stand.git("checkout", "--quiet", ".")
            approve_second_version(stand)
            write("model", run_preview(stand))
        finally:
            client.stop(stand.state)


def _preview_new_stack(stand: Stand) -> dict[str, Any]:
    stand.pulumi("stack", "init")
    return run_preview(stand)


if __name__ == "__main__":
    main()
