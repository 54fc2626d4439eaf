"""Tests that `millrace diff` reports each kind of risk when it exists, and only then."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cli.diff import document, preview
from cli.prices import Prices
from tests.cli.hosts import zip_corruptly
from tests.cli.previewed import UNKNOWN, comment_on, diff_steps, find_risks, make_preview, make_step

# -- lost resources ----------------------------------------------------------------------------------------------------

#: Kind, inputs, words that the consequence must contain.
HOLDS = [
    ("Bucket", {"bucket": "lake"}, "snapshots, training data, models"),
    ("Key", {"deletionWindowInDays": 30}, "30 days"),
    ("FeatureGroup", {"featureGroupName": "weather"}, "online store is "),
    ("ModelGroup", {"modelPackageGroupName": "flights"}, "history of all models"),
    ("Endpoint", {"name": "flights"}, "Serving stops"),
    ("Config", {"name": "flights-config-1"}, "roll"),
    ("Model", {"name": "flights-model-1"}, "roll"),
    ("Queue", {"name": "letters"}, "Undelivered triggers"),
    ("Topic", {"name": "flights"}, ""),
    ("Role", {"name": "job"}, ""),
    ("Pipeline", {"pipelineName": "training"}, "execution history"),
    ("LogGroup", {"name": "/aws/sagemaker/x"}, "logs are deleted"),
    ("Versioning", {"bucket": "lake"}, "cannot be restored"),
    ("PublicAccess", {"bucket": "lake"}, "open the bucket"),
]


@pytest.mark.parametrize(("kind", "inputs", "consequence"), HOLDS, ids=[each[0] for each in HOLDS])
@pytest.mark.parametrize("op", ["delete", "replace"])
def test_deleting_or_replacing_a_stateful_resource_is_a_risk(
    op: str, kind: str, inputs: dict[str, Any], consequence: str
) -> None:
    new = None if op == "delete" else {**inputs, "region": "elsewhere"}
    document = diff_steps(make_step(op, kind, "it", inputs, new, because=["region"] if new else None))

    [risk] = document["risks"]
    assert risk["kind"] == f"{op}d"
    assert consequence in risk["consequence"]
    assert risk["because"] == ("`region` changes" if new else "it is no longer declared")
    assert risk["fix"]
    assert document["verdict"] == "risky changes"


def test_resources_retained_at_aws_are_no_risk() -> None:
    kept = {"retainOnDelete": True}

    assert find_risks(make_step("replace", "Config", "c", {}, {}, because=["productionVariants"], before=kept)) == []
    assert find_risks(make_step("delete", "Model", "m", {}, before=kept)) == []


def test_deleting_a_stateless_resource_is_no_risk() -> None:
    assert (
        find_risks(make_step("delete", "RolePolicy", "p", {"policy": "{}"}), make_step("delete", "Parameter", "p", {}))
        == []
    )


def test_an_unknown_type_counts_as_stateful() -> None:
    gone = make_step("delete", "aws:dynamodb/table:Table", "orders", {"name": "orders"})

    assert find_risks(gone) == [("deleted", "orders")]


@pytest.mark.parametrize(
    ("kind", "custom", "is_risk"),
    [
        ("aws-native:kms:Key", True, True),
        ("postgresql:index/database:Database", True, True),
        ("pulumi:providers:aws", True, False),
        ("millrace:index:DataLake", False, False),
        # A component of another package; its children are reported separately.
        ("acme:index:Shop", False, False),
    ],
)
def test_resources_of_other_providers_count_as_stateful(kind: str, custom: bool, is_risk: bool) -> None:
    gone = make_step("delete", kind, "it", {"name": "it"}, before={"custom": custom})

    assert find_risks(gone) == ([("deleted", "it")] if is_risk else [])


def test_a_replacement_in_several_steps_counts_once() -> None:
    """Merge the steps that `--show-replacement-steps` lists."""
    old, new = {"featureGroupName": "weather", "description": "a"}, {"featureGroupName": "weather", "description": "b"}
    steps = [
        make_step("create-replacement", "FeatureGroup", "w", old, new, because=["description"]),
        make_step("delete-replaced", "FeatureGroup", "w", old),
        make_step("replace", "FeatureGroup", "w", old, new, because=["description"]),
    ]

    document = diff_steps(*steps)

    assert [(each["kind"], each["name"]) for each in document["risks"]] == [("replaced", "weather")]
    assert document["counts"] == {"replace": 1}


def test_the_worst_risk_comes_first() -> None:
    steps = [make_step("delete", kind, kind, {}) for kind in ("LogGroup", "Endpoint", "Key", "Bucket")]

    assert [name for _, name in find_risks(*steps)] == ["Bucket", "Key", "Endpoint", "LogGroup"]


def test_a_risk_uses_the_name_before_the_change() -> None:
    gone = make_step("delete", "aws:s3/bucketObjectv2:BucketObjectv2", "clock", {"bucket": "lake", "key": "clock.json"})
    moved = make_step("replace", "Endpoint", "e", {"name": "flights"}, {"name": "flights-2"}, because=["name"])

    assert find_risks(moved, gone) == [("replaced", "flights"), ("deleted", "clock.json")]
    assert "`flights` is replaced: serving stops until the new one is in service" in comment_on(moved)


# -- lost protection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["same", "update"])
def test_removing_protection_is_a_risk_even_without_other_changes(op: str) -> None:
    changed = {"policy": "b"} if op == "update" else {"policy": "a"}
    taken = make_step(op, "Key", "key", {"policy": "a"}, changed, before={"protect": True})
    document = diff_steps(taken)

    assert [each["kind"] for each in document["risks"]] == ["unprotected"]
    assert document["resources"][0]["operation"] == ("unprotect" if op == "same" else "update")


def test_kept_protection_is_no_risk() -> None:
    kept = {"protect": True}

    assert find_risks(make_step("update", "Key", "key", {"a": 1}, {"a": 2}, before=kept, after=kept)) == []


def test_turning_on_force_destroy_is_a_risk() -> None:
    def turned(old: Any, new: Any) -> list[tuple[str, str]]:
        return find_risks(
            make_step("update", "Bucket", "b", {"forceDestroy": old, "bucket": "lake"}, {"forceDestroy": new})
        )

    assert turned(False, True) == [("force-destroy", "lake")]
    assert turned(None, True) == [("force-destroy", "lake")]
    assert turned(True, False) == turned(True, True) == []


# -- less data capture -------------------------------------------------------------------------------------------------


def config(percent: int, enabled: bool = True) -> dict[str, Any]:
    return {"dataCaptureConfig": {"enableCapture": enabled, "initialSamplingPercentage": percent}}


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        (config(100), config(100, enabled=False), ["capture-off"]),
        (config(100), {}, ["capture-off"]),
        (config(100), config(10), ["capture-less"]),
        (config(10), config(100), []),
        ({}, config(100), []),
    ],
)
def test_capturing_fewer_requests_is_a_risk(old: dict[str, Any], new: dict[str, Any], kinds: list[str]) -> None:
    kept = {"retainOnDelete": True}
    found = diff_steps(make_step("replace", "Config", "c", old, new, because=["dataCaptureConfig"], before=kept))[
        "risks"
    ]

    assert [each["kind"] for each in found] == kinds


def make_capture_config(*modes: str, **more: Any) -> dict[str, Any]:
    return {"dataCaptureConfig": {**config(100)["dataCaptureConfig"], **more, "captureOptions": [
        {"captureMode": mode} for mode in modes
    ]}}  # fmt: skip


@pytest.mark.parametrize(
    ("new", "kinds"),
    [
        (make_capture_config("Input", kmsKeyId="k"), ["capture-less"]),
        (make_capture_config("Output", kmsKeyId="k"), ["capture-less"]),
        (make_capture_config("Input", "Output"), ["weakened"]),
        (make_capture_config("Output", "Input", kmsKeyId="other"), []),
        # It is reported once.
        (config(0, enabled=False), ["capture-off"]),
    ],
)
def test_capturing_less_of_a_request_is_a_risk(new: dict[str, Any], kinds: list[str]) -> None:
    old = make_capture_config("Input", "Output", kmsKeyId="k")
    found = diff_steps(make_step("replace", "Config", "c", old, new, because=["x"], before={"retainOnDelete": True}))[
        "risks"
    ]

    assert [each["kind"] for each in found] == kinds


# -- weaker security ---------------------------------------------------------------------------------------------------


def rules(algorithm: str) -> dict[str, Any]:
    return {"bucket": "lake", "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": algorithm}}]}


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"bucket": "lake", "policy": json.dumps({"Version": "2012-10-17", "Statement": list(statements)})}


TLS_ONLY = {
    "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::lake", "arn:aws:s3:::lake/*"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}  # fmt: skip
SOME = {
    "Effect": "Allow",
    "Principal": {"Service": "logs"},
    "Action": "s3:PutObject",
    "Resource": "arn:aws:s3:::lake/*",
}


@pytest.mark.parametrize(
    "changed",
    [
        make_step("update", "Encryption", "x", rules("aws:kms"), rules("AES256")),
        make_step("update", "Key", "x", {"enableKeyRotation": True}, {"enableKeyRotation": False}),
        make_step("update", "Queue", "x", {"sqsManagedSseEnabled": True}, {"sqsManagedSseEnabled": False}),
        make_step("update", "PublicAccess", "x", {"blockPublicPolicy": True}, {"blockPublicPolicy": False}),
        make_step(
            "update", "Versioning", "x",
            {"versioningConfiguration": {"status": "Enabled"}}, {"versioningConfiguration": {"status": "Suspended"}},
        ),
        make_step("update", "BucketPolicy", "x", policy(TLS_ONLY, SOME), policy(SOME)),
        make_step("delete", "BucketPolicy", "x", policy(TLS_ONLY)),
    ],
    ids=["encryption", "rotation", "queue", "public", "versioning", "tls", "policy"],
)  # fmt: skip
def test_weaker_settings_are_risks(changed: dict[str, Any]) -> None:
    assert [kind for kind, _ in find_risks(changed)] == ["weakened"]


def test_settings_that_are_not_weaker_are_no_risk() -> None:
    steps = [
        make_step("update", "Encryption", "a", rules("AES256"), rules("aws:kms")),
        make_step("update", "BucketPolicy", "b", policy(TLS_ONLY), policy(TLS_ONLY, SOME)),
        # Known only after the bucket is created.
        make_step("update", "BucketPolicy", "c", policy(TLS_ONLY), {"policy": UNKNOWN}),
        make_step("update", "PublicAccess", "d", {"blockPublicPolicy": False}, {"blockPublicPolicy": True}),
    ]

    assert find_risks(*steps) == []


def test_jobs_without_volume_encryption_are_a_risk() -> None:
    def pipeline(**cluster: str) -> dict[str, Any]:
        arguments = {"ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", **cluster}}}
        steps = [{"Name": "Ingest", "Type": "Processing", "Arguments": arguments}]
        return {"pipelineName": "training", "pipelineDefinition": json.dumps({"Steps": steps})}

    bare, encrypted = pipeline(), pipeline(VolumeKmsKeyId="arn:key")
    assert find_risks(make_step("update", "Pipeline", "p", encrypted, bare)) == [("weakened", "training")]
    assert find_risks(make_step("update", "Pipeline", "p", bare, encrypted)) == []


# -- decisions about models --------------------------------------------------------------------------------------------


def make_model_inputs(promotion: str) -> dict[str, Any]:
    return {"primaryContainer": {"environment": {"MILLRACE_PROMOTION": promotion}}}


def test_switching_to_automatic_promotion_is_a_risk() -> None:
    kept = {"retainOnDelete": True}

    def promoted(old: str, new: str) -> list[tuple[str, str]]:
        return find_risks(
            make_step(
                "replace", "Model", "m", make_model_inputs(old), make_model_inputs(new), because=["x"], before=kept
            )
        )

    assert promoted("manual", "automatic") == [("promotion-automatic", "flights-local")]
    assert promoted("automatic", "manual") == promoted("manual", "manual") == []


def make_measuring_pipeline(code: str, *metrics: str) -> dict[str, Any]:
    """Return a pipeline whose training step reports these metrics and runs the code of this name."""
    definitions = [{"Name": f"holdout_{metric}", "Regex": "x"} for metric in metrics]
    arguments = {
        "AlgorithmSpecification": {"MetricDefinitions": definitions}, "Source": f"s3://lake/code/{code}.pyz",
    }  # fmt: skip
    steps = [{"Name": "Train", "Type": "Training", "Arguments": arguments}]
    return {"pipelineName": "training", "pipelineDefinition": json.dumps({"Steps": steps})}


def test_a_metric_removed_from_the_pipeline_is_a_risk() -> None:
    both, one = make_measuring_pipeline("code", "roc_auc", "ece"), make_measuring_pipeline("code", "ece")

    found = diff_steps(make_step("update", "Pipeline", "p", both, one))["risks"]

    assert [(each["kind"], each["consequence"]) for each in found] == [
        ("gate-loosened", "Models are no longer evaluated by roc_auc.")
    ]
    assert find_risks(make_step("update", "Pipeline", "p", one, both)) == []


GATED: dict[str, Any] = {
    "name": "flights",
    "gates": [
        {"metric": "roc_auc", "at_least": 0.65, "at_most": None},
        {"metric": "ece", "at_most": 0.05, "confidence": 0.9},
    ],
    "slices": [{"column": "origin", "max_tpr_gap": None}, {"column": "carrier", "max_tpr_gap": 0.2}],
    "champion": {"better_by": 0.0005},
}


def make_bundle_inputs(folder: Path, use_case: Any) -> dict[str, Any]:
    """Write a bundle; return the inputs of its object, with the bundle as an asset of the preview."""
    folder.mkdir(exist_ok=True)
    draft = folder / "draft.pyz"
    with zipfile.ZipFile(draft, "w") as archive:
        archive.writestr("contract.json", json.dumps({"version": 1, "use_case": use_case}))
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    bundle = draft.rename(folder / f"millrace-flights-{digest[:16]}.pyz")
    signature = {"4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17"}
    return {"key": f"code/{bundle.name}", "source": {**signature, "hash": digest, "path": str(bundle)}}


def replace_bundle(folder: Path, before: Any, after: Any) -> dict[str, Any]:
    return make_step(
        "replace",
        "aws:s3/bucketObjectv2:BucketObjectv2",
        "code",
        make_bundle_inputs(folder, before),
        make_bundle_inputs(folder, after),
        because=["key"],
        before={"retainOnDelete": True},
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gates": GATED["gates"][1:]}, ["The gate on roc_auc is removed."]),
        (
            {"gates": [{"metric": "roc_auc", "at_least": 0.6}, {"metric": "ece", "at_most": 0.08, "confidence": 0.9}]},
            [
                "The gate on ece required at most 0.05, now at most 0.08.",
                "The gate on roc_auc required at least 0.65, now at least 0.6.",
            ],
        ),
        (
            {"gates": [{"metric": "roc_auc", "at_least": 0.7}, {"metric": "ece", "at_most": 0.01, "confidence": 0.9}]},
            [],
        ),
        ({"slices": GATED["slices"][:1]}, ["The audit of carrier is removed."]),
        ({"slices": GATED["slices"][1:]}, []),
        (
            {"champion": {"better_by": 0.0}},
            ["The champion rule required better by at least 0.0005, now at least 0."],
        ),
        (
            {"gates": [GATED["gates"][0], {"metric": "ece", "at_most": 0.05, "confidence": 0.5}]},
            ["The gate on ece required confidence at least 0.9, now at least 0.5."],
        ),
        ({"gates": [GATED["gates"][0], {"metric": "ece", "at_most": 0.05, "confidence": 0.95}]}, []),
        (
            {"near_perfect": "it is a sum"},
            ["Near_perfect is now set: a model whose score is near perfect is no longer refused."],
        ),
        ({}, []),
    ],
)
def test_a_loosened_gate_is_found_in_the_bundles(tmp_path: Path, change: dict[str, Any], said: list[str]) -> None:
    found = diff_steps(replace_bundle(tmp_path, GATED, {**GATED, **change, "threshold": 0.4}))

    assert [each["consequence"] for each in found["risks"] if each["kind"] == "gate-loosened"] == said
    assert found["model"]["declaration_known"]
    assert {"path": "threshold", "before": None, "after": 0.4} in found["model"]["declaration"]


WATCHED: dict[str, Any] = {
    "name": "flights", "problem": "binary", "target": "late", "key": "flight_id", "trusted": ["origin"],
    "expectations": [
        {"column": "temp", "table": "weather", "at_least": -60.0, "at_most": 60.0, "one_of": [], "max_missing": 0.1,
         "max_bad": 0.0},
        {"column": "origin", "table": "events", "one_of": ["EWR", "JFK"], "max_missing": 0.0, "max_bad": 0.0},
    ],
    "slices": [
        {"column": "carrier", "max_tpr_gap": 0.2, "min_rows": 500}, {"column": "origin", "min_rows": 500},
    ],
    "retraining": {"on": ["drift", "calibration"]},
    "monitoring": {
        "every": "P1D", "window": "P28D", "informational": ["month"], "psi_alarm": 0.25, "labels_alarm": 0.8,
    },
}  # fmt: skip
TEMP, ORIGIN = WATCHED["expectations"]


def change_monitoring(**change: Any) -> dict[str, Any]:
    return {"monitoring": {**WATCHED["monitoring"], **change}}


def find_declaration_risks(folder: Path, change: dict[str, Any]) -> list[tuple[str, str]]:
    found = diff_steps(replace_bundle(folder, WATCHED, {**WATCHED, **change}))["risks"]
    return [(each["kind"], each["consequence"]) for each in found]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_monitoring(psi_alarm=0.5), "Monitoring.psi_alarm changes from 0.25 to 0.5: its alarm fires later"),
        (change_monitoring(psi_alarm=0.1), None),
        (change_monitoring(labels_alarm=0.5), "Monitoring.labels_alarm changes from 0.8 to 0.5: its alarm fires later"),
        (change_monitoring(labels_alarm=0.9), None),
        (change_monitoring(informational=["hour", "month"]), "Monitoring.informational now contains hour"),
        (change_monitoring(informational=[]), None),
        (change_monitoring(window="P7D"), "Monitoring.window changes from 28 days to 7 days"),
        (change_monitoring(window="P35D"), None),
        (change_monitoring(every="P2DT12H"), "Monitoring.every changes from 1 day to 2.5 days"),
        (change_monitoring(every="PT1H"), None),
        ({"retraining": {"on": ["drift"]}}, "Retraining.on no longer contains calibration"),
        ({"retraining": {"on": ["calibration", "drift"]}}, None),
        (
            {"slices": [{**WATCHED["slices"][0], "min_rows": 5000}, WATCHED["slices"][1]]},
            "The min_rows of the slice carrier changes from 500 to 5000",
        ),
        # This slice is only reported, without a gate.
        ({"slices": [WATCHED["slices"][0], {"column": "origin", "min_rows": 5000}]}, None),
    ],
)
def test_less_monitoring_in_the_declaration_is_a_risk(tmp_path: Path, change: dict[str, Any], said: str | None) -> None:
    found = find_declaration_risks(tmp_path, change)

    assert [kind for kind, _ in found] == ([] if said is None else ["watched-less"])
    assert said is None or found[0][1].startswith(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expectations": [ORIGIN]}, ["The expectation on weather.temp is removed."]),
        # Their order does not matter.
        ({"expectations": [ORIGIN, TEMP]}, []),
        ({"expectations": [{"column": "wind", "table": "weather", "at_least": 0.0}, TEMP, ORIGIN]}, []),
        (
            {"expectations": [{**TEMP, "at_least": -90.0, "at_most": None}, ORIGIN]},
            [
                "The expectation on weather.temp required at least -60, now at least -90.",
                "The expectation on weather.temp required at most 60, now nothing.",
            ],
        ),
        (
            {"expectations": [{**TEMP, "max_missing": 1.0, "max_bad": 0.5}, ORIGIN]},
            [
                "The expectation on weather.temp required max missing at most 0.1, now at most 1.",
                "The expectation on weather.temp required max bad at most 0, now at most 0.5.",
            ],
        ),
        (
            {"expectations": [TEMP, {**ORIGIN, "one_of": ["JFK", "LGA", "EWR"]}]},
            ["The expectation on events.origin also accepts LGA."],
        ),
        (
            {"expectations": [TEMP, {**ORIGIN, "one_of": []}]},
            ["The expectation on events.origin required one of EWR, JFK, now it accepts any value."],
        ),
        ({"expectations": [{**TEMP, "at_least": -10.0, "max_missing": 0.0}, {**ORIGIN, "one_of": ["JFK"]}]}, []),
        # A column of the same name in another table.
        ({"expectations": [{**TEMP, "table": "events"}, ORIGIN]}, ["The expectation on weather.temp is removed."]),
        (
            {"trusted": ["carrier", "origin"]},
            ["Carrier is now trusted: training no longer stops if this column alone predicts the outcome."],
        ),
        ({"trusted": []}, []),
    ],
)
def test_loosened_expectations_are_risks(tmp_path: Path, change: dict[str, Any], said: list[str]) -> None:
    assert find_declaration_risks(tmp_path, change) == [("expectation-loosened", each) for each in said]


def test_lists_of_the_declaration_are_compared_by_name(tmp_path: Path) -> None:
    wind = {"column": "wind", "table": "weather", "at_least": 0.0}
    after = {**WATCHED, "expectations": [wind, TEMP, ORIGIN], "trusted": ["carrier", "origin"]}

    changed = diff_steps(replace_bundle(tmp_path, WATCHED, after))["model"]["declaration"]

    assert [each["path"] for each in changed] == ["expectations.weather.wind", "trusted.carrier"]


@pytest.mark.parametrize(
    ("field", "now"), [("problem", "regression"), ("target", "cancelled"), ("key", "leg_id")], ids=str
)
def test_another_problem_target_or_key_is_a_risk(tmp_path: Path, field: str, now: str) -> None:
    [(kind, consequence)] = find_declaration_risks(tmp_path, {field: now})

    assert kind == "another-model"
    assert consequence.startswith(f"Its {field} changes from {WATCHED[field]} to {now}. The champion rule")


def test_a_bundle_is_read_only_when_its_hash_matches(tmp_path: Path) -> None:
    changed = replace_bundle(tmp_path, GATED, {**GATED, "gates": []})
    Path(changed["newState"]["inputs"]["source"]["path"]).write_bytes(b"something else")

    assert not diff_steps(changed)["model"]["declaration_known"]


@pytest.mark.parametrize("kind", ["data", "encrypted", "method"])
def test_a_bundle_that_cannot_be_unpacked_counts_as_unknown(tmp_path: Path, kind: str) -> None:
    changed = replace_bundle(tmp_path, GATED, {**GATED, "gates": []})
    source = changed["newState"]["inputs"]["source"]
    corrupt = zip_corruptly({"contract.json": json.dumps({"version": 1, "use_case": GATED})}, kind)
    Path(source["path"]).write_bytes(corrupt)
    source["hash"] = hashlib.sha256(corrupt).hexdigest()

    assert not diff_steps(changed)["model"]["declaration_known"]


def test_the_deployed_bundle_is_fetched_from_the_lake(tmp_path: Path) -> None:
    changed = replace_bundle(tmp_path, GATED, {**GATED, "gates": []})
    old = Path(changed["oldState"]["inputs"]["source"]["path"])
    held = {old.name: old.read_bytes()}
    old.unlink()
    context = document.Context("flights", "local", "", "eu-west-1", Prices.load(), fetch=held.get)

    found = document.make_document(preview.parse_preview(make_preview(changed), "preview"), context)

    assert [each["kind"] for each in found["risks"]] == ["gate-loosened", "gate-loosened"]


@pytest.mark.parametrize("unreadable", ["oldState", "newState"])
def test_a_removed_gate_is_found_with_only_one_readable_bundle(tmp_path: Path, unreadable: str) -> None:
    """Find the gate although one bundle is missing, as for a preview role that may not use the lake's key."""
    changed = replace_bundle(tmp_path, GATED, {**GATED, "gates": GATED["gates"][1:]})
    bundles = {side: Path(changed[side]["inputs"]["source"]["path"]) for side in ("oldState", "newState")}
    old, new = [make_measuring_pipeline(bundles[side].stem, *metrics) for side, metrics in (
        ("oldState", ("ece", "roc_auc")), ("newState", ("ece",)),
    )]  # fmt: skip
    bundles[unreadable].unlink()
    steps = [changed, make_step("update", "Pipeline", "p", old, new)]

    found, text = diff_steps(*steps), comment_on(*steps)

    assert [each["consequence"] for each in found["risks"]] == ["Models are no longer evaluated by roc_auc."]
    assert text.index("**The declaration could not be compared.**") < text.index("Check this first")


def test_removed_features_are_a_risk_where_no_hook_refuses_them() -> None:
    def schema(*names: str) -> dict[str, Any]:
        value = json.dumps(dict.fromkeys(names, "Fractional"))
        return {"name": "/millrace/flights-local/weather/schema", "insecureValue": value}

    assert find_risks(make_step("update", "Parameter", "s", schema("temp", "wind"), schema("temp"))) == [
        ("feature-removed", "weather")
    ]
    assert find_risks(make_step("update", "Parameter", "s", schema("temp"), schema("temp", "wind"))) == []


def test_equal_risks_are_grouped() -> None:
    text = comment_on(*(make_step("delete", "LogGroup", name, {"name": name}) for name in ("one", "two")))

    assert "1. **Deletes the log group** `one`, `two`" in text
    assert "**⚠ 2 risks**" in text
