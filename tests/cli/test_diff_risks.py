"""Every risk that `millrace diff` knows: told when it is there, and not when it is not."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cli.diff import document, preview
from cli.prices import Prices
from tests.cli.previewed import UNKNOWN, comment, risks, step, told, whole

# -- what is lost ------------------------------------------------------------------------------------------------------

#: Kind, inputs, what the consequence must say.
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
def test_the_end_of_what_holds_something_is_a_risk(
    op: str, kind: str, inputs: dict[str, Any], consequence: str
) -> None:
    new = None if op == "delete" else {**inputs, "region": "elsewhere"}
    document = told(step(op, kind, "it", inputs, new, because=["region"] if new else None))

    [risk] = document["risks"]
    assert risk["kind"] == f"{op}d"
    assert consequence in risk["consequence"]
    assert risk["because"] == ("`region` changes" if new else "it is no longer declared")
    assert risk["fix"]
    assert document["verdict"] == "risky changes"


def test_what_aws_keeps_is_not_lost() -> None:
    kept = {"retainOnDelete": True}

    assert risks(step("replace", "Config", "c", {}, {}, because=["productionVariants"], before=kept)) == []
    assert risks(step("delete", "Model", "m", {}, before=kept)) == []


def test_what_holds_nothing_is_no_risk() -> None:
    assert risks(step("delete", "RolePolicy", "p", {"policy": "{}"}), step("delete", "Parameter", "p", {})) == []


def test_a_type_that_nobody_knows_counts_as_one_that_holds_something() -> None:
    gone = step("delete", "aws:dynamodb/table:Table", "orders", {"name": "orders"})

    assert risks(gone) == [("deleted", "orders")]


@pytest.mark.parametrize(
    ("kind", "custom", "is_risk"),
    [
        ("aws-native:kms:Key", True, True),
        ("postgresql:index/database:Database", True, True),
        ("pulumi:providers:aws", True, False),
        ("millrace:index:DataLake", False, False),
        # Somebody else's component: what it is made of is told by itself.
        ("acme:index:Shop", False, False),
    ],
)
def test_a_resource_of_another_provider_holds_something_too(kind: str, custom: bool, is_risk: bool) -> None:
    gone = step("delete", kind, "it", {"name": "it"}, before={"custom": custom})

    assert risks(gone) == ([("deleted", "it")] if is_risk else [])


def test_a_replacement_in_two_steps_is_one() -> None:
    """As `--show-replacement-steps` tells it."""
    old, new = {"featureGroupName": "weather", "description": "a"}, {"featureGroupName": "weather", "description": "b"}
    steps = [
        step("create-replacement", "FeatureGroup", "w", old, new, because=["description"]),
        step("delete-replaced", "FeatureGroup", "w", old),
        step("replace", "FeatureGroup", "w", old, new, because=["description"]),
    ]

    document = told(*steps)

    assert [(each["kind"], each["name"]) for each in document["risks"]] == [("replaced", "weather")]
    assert document["counts"] == {"replace": 1}


def test_the_worst_comes_first() -> None:
    steps = [step("delete", kind, kind, {}) for kind in ("LogGroup", "Endpoint", "Key", "Bucket")]

    assert [name for _, name in risks(*steps)] == ["Bucket", "Key", "Endpoint", "LogGroup"]


def test_what_goes_is_called_by_the_name_that_goes() -> None:
    gone = step("delete", "aws:s3/bucketObjectv2:BucketObjectv2", "clock", {"bucket": "lake", "key": "clock.json"})
    moved = step("replace", "Endpoint", "e", {"name": "flights"}, {"name": "flights-2"}, because=["name"])

    assert risks(moved, gone) == [("replaced", "flights"), ("deleted", "clock.json")]
    assert "`flights` is replaced: serving stops until the new one is in service" in comment(moved)


# -- what is no longer guarded -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["same", "update"])
def test_a_protection_that_is_taken_away_is_a_risk_though_nothing_else_changes(op: str) -> None:
    changed = {"policy": "b"} if op == "update" else {"policy": "a"}
    taken = step(op, "Key", "key", {"policy": "a"}, changed, before={"protect": True})
    document = told(taken)

    assert [each["kind"] for each in document["risks"]] == ["unprotected"]
    assert document["resources"][0]["operation"] == ("unprotect" if op == "same" else "update")


def test_a_protection_that_stays_is_none() -> None:
    kept = {"protect": True}

    assert risks(step("update", "Key", "key", {"a": 1}, {"a": 2}, before=kept, after=kept)) == []


def test_force_destroy_turned_on() -> None:
    def turned(old: Any, new: Any) -> list[tuple[str, str]]:
        return risks(step("update", "Bucket", "b", {"forceDestroy": old, "bucket": "lake"}, {"forceDestroy": new}))

    assert turned(False, True) == [("force-destroy", "lake")]
    assert turned(None, True) == [("force-destroy", "lake")]
    assert turned(True, False) == turned(True, True) == []


# -- what is watched less ----------------------------------------------------------------------------------------------


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
def test_requests_that_are_no_longer_captured(old: dict[str, Any], new: dict[str, Any], kinds: list[str]) -> None:
    kept = {"retainOnDelete": True}
    found = told(step("replace", "Config", "c", old, new, because=["dataCaptureConfig"], before=kept))["risks"]

    assert [each["kind"] for each in found] == kinds


def kept(*modes: str, **more: Any) -> dict[str, Any]:
    return {"dataCaptureConfig": {**config(100)["dataCaptureConfig"], **more, "captureOptions": [
        {"captureMode": mode} for mode in modes
    ]}}  # fmt: skip


@pytest.mark.parametrize(
    ("new", "kinds"),
    [
        (kept("Input", kmsKeyId="k"), ["capture-less"]),
        (kept("Output", kmsKeyId="k"), ["capture-less"]),
        (kept("Input", "Output"), ["weakened"]),
        (kept("Output", "Input", kmsKeyId="other"), []),
        # It is told once.
        (config(0, enabled=False), ["capture-off"]),
    ],
)
def test_less_of_a_request_is_captured(new: dict[str, Any], kinds: list[str]) -> None:
    old = kept("Input", "Output", kmsKeyId="k")
    found = told(step("replace", "Config", "c", old, new, because=["x"], before={"retainOnDelete": True}))["risks"]

    assert [each["kind"] for each in found] == kinds


# -- what is weaker ----------------------------------------------------------------------------------------------------


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
        step("update", "Encryption", "x", rules("aws:kms"), rules("AES256")),
        step("update", "Key", "x", {"enableKeyRotation": True}, {"enableKeyRotation": False}),
        step("update", "Queue", "x", {"sqsManagedSseEnabled": True}, {"sqsManagedSseEnabled": False}),
        step("update", "PublicAccess", "x", {"blockPublicPolicy": True}, {"blockPublicPolicy": False}),
        step(
            "update", "Versioning", "x",
            {"versioningConfiguration": {"status": "Enabled"}}, {"versioningConfiguration": {"status": "Suspended"}},
        ),
        step("update", "BucketPolicy", "x", policy(TLS_ONLY, SOME), policy(SOME)),
        step("delete", "BucketPolicy", "x", policy(TLS_ONLY)),
    ],
    ids=["encryption", "rotation", "queue", "public", "versioning", "tls", "policy"],
)  # fmt: skip
def test_what_is_weaker_than_before(changed: dict[str, Any]) -> None:
    assert [kind for kind, _ in risks(changed)] == ["weakened"]


def test_what_is_as_strong_as_before() -> None:
    steps = [
        step("update", "Encryption", "a", rules("AES256"), rules("aws:kms")),
        step("update", "BucketPolicy", "b", policy(TLS_ONLY), policy(TLS_ONLY, SOME)),
        # Known only once the bucket is there.
        step("update", "BucketPolicy", "c", policy(TLS_ONLY), {"policy": UNKNOWN}),
        step("update", "PublicAccess", "d", {"blockPublicPolicy": False}, {"blockPublicPolicy": True}),
    ]

    assert risks(*steps) == []


def test_jobs_that_encrypt_less() -> None:
    def pipeline(**cluster: str) -> dict[str, Any]:
        arguments = {"ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", **cluster}}}
        steps = [{"Name": "Ingest", "Type": "Processing", "Arguments": arguments}]
        return {"pipelineName": "training", "pipelineDefinition": json.dumps({"Steps": steps})}

    bare, encrypted = pipeline(), pipeline(VolumeKmsKeyId="arn:key")
    assert risks(step("update", "Pipeline", "p", encrypted, bare)) == [("weakened", "training")]
    assert risks(step("update", "Pipeline", "p", bare, encrypted)) == []


# -- who decides -------------------------------------------------------------------------------------------------------


def served(promotion: str) -> dict[str, Any]:
    return {"primaryContainer": {"environment": {"MILLRACE_PROMOTION": promotion}}}


def test_models_that_serve_without_a_person() -> None:
    kept = {"retainOnDelete": True}

    def promoted(old: str, new: str) -> list[tuple[str, str]]:
        return risks(step("replace", "Model", "m", served(old), served(new), because=["x"], before=kept))

    assert promoted("manual", "automatic") == [("promotion-automatic", "flights-local")]
    assert promoted("automatic", "manual") == promoted("manual", "manual") == []


def judging(code: str, *metrics: str) -> dict[str, Any]:
    """A pipeline whose training measures these, with the code of this name."""
    definitions = [{"Name": f"holdout_{metric}", "Regex": "x"} for metric in metrics]
    arguments = {
        "AlgorithmSpecification": {"MetricDefinitions": definitions}, "Source": f"s3://lake/code/{code}.pyz",
    }  # fmt: skip
    steps = [{"Name": "Train", "Type": "Training", "Arguments": arguments}]
    return {"pipelineName": "training", "pipelineDefinition": json.dumps({"Steps": steps})}


def test_a_metric_that_no_longer_judges_is_seen_in_the_pipeline() -> None:
    both, one = judging("code", "roc_auc", "ece"), judging("code", "ece")

    found = told(step("update", "Pipeline", "p", both, one))["risks"]

    assert [(each["kind"], each["consequence"]) for each in found] == [
        ("gate-loosened", "Models are no longer evaluated by roc_auc.")
    ]
    assert risks(step("update", "Pipeline", "p", one, both)) == []


GATED: dict[str, Any] = {
    "name": "flights",
    "gates": [{"metric": "roc_auc", "at_least": 0.65, "at_most": None}, {"metric": "ece", "at_most": 0.05}],
    "slices": [{"column": "origin", "max_tpr_gap": None}, {"column": "carrier", "max_tpr_gap": 0.2}],
    "champion": {"better_by": 0.0005},
}


def code(folder: Path, use_case: Any) -> dict[str, Any]:
    """A bundle, as an asset of the preview."""
    folder.mkdir(exist_ok=True)
    draft = folder / "draft.pyz"
    with zipfile.ZipFile(draft, "w") as archive:
        archive.writestr("contract.json", json.dumps({"version": 1, "use_case": use_case}))
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    bundle = draft.rename(folder / f"millrace-flights-{digest[:16]}.pyz")
    signature = {"4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17"}
    return {"key": f"code/{bundle.name}", "source": {**signature, "hash": digest, "path": str(bundle)}}


def uploaded(folder: Path, before: Any, after: Any) -> dict[str, Any]:
    return step(
        "replace", "aws:s3/bucketObjectv2:BucketObjectv2", "code", code(folder, before), code(folder, after),
        because=["key"], before={"retainOnDelete": True},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gates": GATED["gates"][1:]}, ["The gate on roc_auc is gone."]),
        (
            {"gates": [{"metric": "roc_auc", "at_least": 0.6}, {"metric": "ece", "at_most": 0.08}]},
            [
                "The gate on ece asked for at most 0.05, now for at most 0.08.",
                "The gate on roc_auc asked for at least 0.65, now for at least 0.6.",
            ],
        ),
        ({"gates": [{"metric": "roc_auc", "at_least": 0.7}, {"metric": "ece", "at_most": 0.01}]}, []),
        ({"slices": GATED["slices"][:1]}, ["The audit of carrier is gone."]),
        ({"slices": GATED["slices"][1:]}, []),
        (
            {"champion": {"better_by": 0.0}},
            ["The champion rule asked for better by at least 0.0005, now for at least 0."],
        ),
        ({}, []),
    ],
)
def test_a_gate_that_is_loosened_is_read_out_of_the_code(
    tmp_path: Path, change: dict[str, Any], said: list[str]
) -> None:
    found = told(uploaded(tmp_path, GATED, {**GATED, **change, "threshold": 0.4}))

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
    "monitoring": {"every": "P1D", "window": "P28D", "informational": ["month"], "min_labels": 500},
}  # fmt: skip
TEMP, ORIGIN = WATCHED["expectations"]


def monitored(**change: Any) -> dict[str, Any]:
    return {"monitoring": {**WATCHED["monitoring"], **change}}


def easier(folder: Path, change: dict[str, Any]) -> list[tuple[str, str]]:
    found = told(uploaded(folder, WATCHED, {**WATCHED, **change}))["risks"]
    return [(each["kind"], each["consequence"]) for each in found]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (monitored(min_labels=5000), "Monitoring.min_labels changes from 500 to 5000: with fewer labels"),
        (monitored(min_labels=50), None),
        (monitored(informational=["hour", "month"]), "Monitoring.informational now contains hour"),
        (monitored(informational=[]), None),
        (monitored(window="P7D"), "Monitoring.window changes from 28 days to 7 days"),
        (monitored(window="P35D"), None),
        (monitored(every="P2DT12H"), "Monitoring.every changes from 1 day to 2.5 days"),
        (monitored(every="PT1H"), None),
        ({"retraining": {"on": ["drift"]}}, "Retraining.on no longer contains calibration"),
        ({"retraining": {"on": ["calibration", "drift"]}}, None),
        (
            {"slices": [{**WATCHED["slices"][0], "min_rows": 5000}, WATCHED["slices"][1]]},
            "The min_rows of the slice carrier changes from 500 to 5000",
        ),
        # It is only reported.
        ({"slices": [WATCHED["slices"][0], {"column": "origin", "min_rows": 5000}]}, None),
    ],
)
def test_watching_that_the_declaration_turns_off(tmp_path: Path, change: dict[str, Any], said: str | None) -> None:
    found = easier(tmp_path, change)

    assert [kind for kind, _ in found] == ([] if said is None else ["watched-less"])
    assert said is None or found[0][1].startswith(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expectations": [ORIGIN]}, ["The expectation on weather.temp is removed."]),
        # Their order says nothing.
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
        # Of another table, though the column is called the same.
        ({"expectations": [{**TEMP, "table": "events"}, ORIGIN]}, ["The expectation on weather.temp is removed."]),
        (
            {"trusted": ["carrier", "origin"]},
            ["Carrier is now trusted: training no longer stops if this column alone predicts the outcome."],
        ),
        ({"trusted": []}, []),
    ],
)
def test_data_that_would_not_have_passed(tmp_path: Path, change: dict[str, Any], said: list[str]) -> None:
    assert easier(tmp_path, change) == [("expectation-loosened", each) for each in said]


def test_lists_of_the_declaration_are_compared_by_what_they_name(tmp_path: Path) -> None:
    wind = {"column": "wind", "table": "weather", "at_least": 0.0}
    after = {**WATCHED, "expectations": [wind, TEMP, ORIGIN], "trusted": ["carrier", "origin"]}

    changed = told(uploaded(tmp_path, WATCHED, after))["model"]["declaration"]

    assert [each["path"] for each in changed] == ["expectations.weather.wind", "trusted.carrier"]


@pytest.mark.parametrize(
    ("field", "now"), [("problem", "regression"), ("target", "cancelled"), ("key", "leg_id")], ids=str
)
def test_another_model(tmp_path: Path, field: str, now: str) -> None:
    [(kind, consequence)] = easier(tmp_path, {field: now})

    assert kind == "another-model"
    assert consequence.startswith(f"Its {field} changes from {WATCHED[field]} to {now}. The champion rule")


def test_code_is_read_only_when_it_is_what_the_preview_says(tmp_path: Path) -> None:
    changed = uploaded(tmp_path, GATED, {**GATED, "gates": []})
    Path(changed["newState"]["inputs"]["source"]["path"]).write_bytes(b"something else")

    assert not told(changed)["model"]["declaration_known"]


def test_code_that_runs_now_is_fetched_from_the_lake(tmp_path: Path) -> None:
    changed = uploaded(tmp_path, GATED, {**GATED, "gates": []})
    old = Path(changed["oldState"]["inputs"]["source"]["path"])
    held = {old.name: old.read_bytes()}
    old.unlink()
    context = document.Context("flights", "local", "", "eu-west-1", Prices.load(), fetch=held.get)

    found = document.make_document(preview.parse_preview(whole(changed), "preview"), context)

    assert [each["kind"] for each in found["risks"]] == ["gate-loosened", "gate-loosened"]


@pytest.mark.parametrize("unreadable", ["oldState", "newState"])
def test_a_gate_that_goes_is_seen_where_only_one_of_the_bundles_can_be_read(tmp_path: Path, unreadable: str) -> None:
    """As by a role for previews that may not use the lake's key."""
    changed = uploaded(tmp_path, GATED, {**GATED, "gates": GATED["gates"][1:]})
    bundles = {side: Path(changed[side]["inputs"]["source"]["path"]) for side in ("oldState", "newState")}
    old, new = [judging(bundles[side].stem, *metrics) for side, metrics in (
        ("oldState", ("ece", "roc_auc")), ("newState", ("ece",)),
    )]  # fmt: skip
    bundles[unreadable].unlink()
    steps = [changed, step("update", "Pipeline", "p", old, new)]

    found, text = told(*steps), comment(*steps)

    assert [each["consequence"] for each in found["risks"]] == ["Models are no longer evaluated by roc_auc."]
    assert text.index("**The declaration could not be compared.**") < text.index("Check this first")


def test_features_that_go_are_a_risk_where_no_hook_refuses_them() -> None:
    def schema(*names: str) -> dict[str, Any]:
        value = json.dumps(dict.fromkeys(names, "Fractional"))
        return {"name": "/millrace/flights-local/weather/schema", "insecureValue": value}

    assert risks(step("update", "Parameter", "s", schema("temp", "wind"), schema("temp"))) == [
        ("feature-removed", "weather")
    ]
    assert risks(step("update", "Parameter", "s", schema("temp"), schema("temp", "wind"))) == []


def test_equal_risks_are_told_together() -> None:
    text = comment(*(step("delete", "LogGroup", name, {"name": name}) for name in ("one", "two")))

    assert "1. **Deletes the log group** `one`, `two`" in text
    assert "**⚠ 2 risks**" in text
