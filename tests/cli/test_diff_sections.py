"""Tests of the sections on traffic, model, alarms, pipelines and cost, with handmade previews."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.diff import document, markdown, preview, traffic
from cli.prices import Prices
from tests.cli.previewed import UNKNOWN, comment_on, diff_steps, make_preview, make_step

KEPT = {"retainOnDelete": True}

# -- traffic -----------------------------------------------------------------------------------------------------------


def blue_green(kind: str, wait: int, termination: int, **size: Any) -> dict[str, Any]:
    routing = {"type": kind, "waitIntervalInSeconds": wait, **size}
    policy = {
        "trafficRoutingConfiguration": routing, "terminationWaitInSeconds": termination,
        "maximumExecutionTimeoutInSeconds": 3000,
    }  # fmt: skip
    return {"deploymentConfig": {"blueGreenUpdatePolicy": policy}}


def percent(value: int) -> dict[str, Any]:
    return {"type": "CAPACITY_PERCENT", "value": value}


@pytest.mark.parametrize(
    ("inputs", "instances", "stages", "minutes"),
    [
        # As AWS documents them, the last wait is before the old fleet is terminated.
        (blue_green("ALL_AT_ONCE", 300, 120), 1, [(100, 2)], 2),
        (blue_green("CANARY", 300, 300, canarySize=percent(10)), 2, [(10, 5), (100, 5)], 10),
        (
            blue_green("CANARY", 90, 0, canarySize={"type": "INSTANCE_COUNT", "value": 1}), 4,
            [(25, 1.5), (100, 0)], 1.5,
        ),
        (blue_green("LINEAR", 60, 60, linearStepSize=percent(25)), 4, [(25, 1), (50, 1), (75, 1), (100, 1)], 4),
        (
            blue_green("LINEAR", 60, 120, linearStepSize=percent(33)), 4,
            [(33, 1), (66, 1), (99, 1), (100, 2)], 5,
        ),
        (
            {"deploymentConfig": {"rollingUpdatePolicy": {
                "maximumBatchSize": {"type": "INSTANCE_COUNT", "value": 2}, "waitIntervalInSeconds": 120}}}, 5,
            [(40, 2), (80, 2), (100, 2)], 6,
        ),
        # A share of a fleet of unknown size.
        (
            blue_green("CANARY", 60, 0, canarySize={"type": "INSTANCE_COUNT", "value": 1}), None,
            [(None, 1), (100, 0)], 1,
        ),
        ({}, 1, [(100, 0)], 0),
    ],
)  # fmt: skip
def test_stages_of_a_rollout(
    inputs: dict[str, Any], instances: int | None, stages: list[Any], minutes: float | None
) -> None:
    plan = traffic.describe_rollout(inputs, instances)

    assert [(each["percent"], each["minutes"]) for each in plan["stages"]] == stages
    assert plan["minutes"] == minutes


def fleet(instance: str, count: int, **more: Any) -> dict[str, Any]:
    variant = {"variantName": "main", "instanceType": instance, "initialInstanceCount": count, "modelName": "m", **more}
    return {"productionVariants": [variant]}


def change_endpoint(config: dict[str, Any], op: str = "update") -> list[dict[str, Any]]:
    """Return steps that change an endpoint and its configuration."""
    old = {"name": "flights", "endpointConfigName": "a", **blue_green("ALL_AT_ONCE", 0, 60)}
    new = {**old, "endpointConfigName": "b"}
    return [
        make_step(
            "replace", "Config", "c", fleet("ml.m5.large", 1), config, because=["productionVariants"], before=KEPT
        ),
        make_step(op, "Endpoint", "e", old, new, because=["name"] if op == "replace" else None),
    ]


def test_a_changed_fleet_is_described() -> None:
    text = comment_on(*change_endpoint(fleet("ml.m5.xlarge", 3)))

    assert "because the fleet changes" in text
    assert "| `main` | `1 × ml.m5.large` | `3 × ml.m5.xlarge` |" in text
    assert "Both fleets run during the rollout: `1 × ml.m5.large and 3 × ml.m5.xlarge`" in text
    assert "No alarm rolls it back." in text


def change_fleet(instances: int, *, wait: int = 60) -> list[dict[str, Any]]:
    """Return steps that change the number of instances from 2, and the wait of a rollout that moves one first."""
    first = {"type": "INSTANCE_COUNT", "value": 1}
    old, new = (blue_green("CANARY", each, 60, canarySize=first) for each in (60, wait))
    for each in (old, new):
        each["deploymentConfig"]["autoRollbackConfiguration"] = {"alarms": [{"alarmName": "errors"}]}
    return [
        make_step("replace", "Config", "c", fleet("m", 2), fleet("m", instances, modelName="n"), before=KEPT),
        make_step(
            "update", "Endpoint", "e", {"endpointConfigName": "a", **old}, {"endpointConfigName": "b", **new}
        ),
    ]  # fmt: skip


@pytest.mark.parametrize(("instances", "wait", "changed"), [(2, 60, False), (4, 60, False), (2, 120, True)])
def test_a_rollout_that_moves_instances_changes_only_with_its_configuration(
    instances: int, wait: int, changed: bool
) -> None:
    traffic = diff_steps(*change_fleet(instances, wait=wait))["traffic"][0]

    assert [each["percent"] for each in traffic["rollout_before"]["stages"]] == [50, 100]
    assert [each["percent"] for each in traffic["rollout"]["stages"]] == [100 / instances, 100]
    assert traffic["rollout_changed"] is changed


def test_the_old_rollout_is_described_with_the_old_alarms() -> None:
    alarm = {"name": "errors", "metricName": "x", "period": 60, "evaluationPeriods": 1}
    slower = make_step("update", "Alarm", "errors", alarm, {**alarm, "evaluationPeriods": 5})
    traffic = diff_steps(*change_fleet(2), slower)["traffic"][0]

    assert (traffic["rollout_before"]["unwatched"], traffic["rollout"]["unwatched"]) == (False, True)
    assert not traffic["rollout_changed"]


def test_a_replaced_endpoint_has_no_rollout() -> None:
    document = diff_steps(*change_endpoint(fleet("ml.m5.large", 1, modelName="n"), op="replace"))

    assert not document["traffic"][0]["moves_traffic"]
    text = markdown.render_comment(document)
    assert "is replaced: serving stops until the new one is in service, without a rollout" in text


def test_created_and_deleted_endpoints_are_described() -> None:
    made = comment_on(
        make_step("create", "Endpoint", "e", None, {"name": "f"}),
        make_step("create", "Config", "c", None, fleet("x", 2)),
    )

    assert "`f` is created with `2 × x`; there is no traffic to move yet" in made
    assert "`f` is deleted: serving stops" in comment_on(make_step("delete", "Endpoint", "e", {"name": "f"}))


def test_a_change_of_data_capture_alone_is_named() -> None:
    capture = {"dataCaptureConfig": {"enableCapture": True, "initialSamplingPercentage": 50}}
    document = diff_steps(*change_endpoint({**fleet("ml.m5.large", 1), **capture}))

    assert document["traffic"][0]["why"] == "the capture of requests changes"


def test_changed_variables_are_distinguished_from_a_changed_model() -> None:
    def model(version: int, **variables: str) -> dict[str, Any]:
        return {"primaryContainer": {**package(version)["primaryContainer"], "environment": variables}}

    for new, why in ((model(1, THRESHOLD="0.4"), "the environment of the model"), (model(2), "the model")):
        changed = make_step("replace", "Model", "m", model(1), new, because=["primaryContainer"], before=KEPT)
        document = diff_steps(*change_endpoint(fleet("ml.m5.large", 1, modelName="n")), changed)

        assert document["traffic"][0]["why"] == f"{why} changes"


# -- model and training ------------------------------------------------------------------------------------------------


def package(version: int) -> dict[str, Any]:
    arn = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/flights/{version}"
    return {"primaryContainer": {"modelPackageName": arn}}


def test_metrics_of_both_versions_come_from_the_registry() -> None:
    figures = {"1": {"roc_auc": 0.7}, "2": {"roc_auc": 0.72, "ece": 0.01}}
    context = document.Context(
        "flights", "local", "", "eu-west-1", Prices.load(), figures=lambda arn: figures.get(arn.rpartition("/")[2])
    )
    changed = make_step("replace", "Model", "m", package(1), package(2), because=["primaryContainer"], before=KEPT)
    made = document.make_document(preview.parse_preview(make_preview(changed), "preview"), context)
    text = markdown.render_comment(made)

    assert made["model"]["serves"]["after"]["metrics"] == {"roc_auc": 0.72, "ece": 0.01}
    assert "  - `ece` nothing → `0.01`" in text
    assert "  - `roc_auc` `0.7` → `0.72`" in text


def test_metrics_of_two_versions_are_marked_as_no_comparison() -> None:
    context = document.Context(
        "flights", "local", "", "eu-west-1", Prices.load(),
        figures=lambda _: {"roc_auc": 0.7}, comparison=lambda arn: f"0.2 *better*: {arn.rpartition('/')[2]}",
    )  # fmt: skip

    def told_of(before: int, after: int) -> str:
        changed = make_step("replace", "Model", "m", package(before), package(after), because=["x"], before=KEPT)
        return markdown.render_comment(
            document.make_document(preview.parse_preview(make_preview(changed), "preview"), context)
        )

    said = "  - measured on different rows, so not comparable"
    assert f"{said}; the comparison in the registry: 0.2 \\*better\\*: 3\n" in told_of(1, 3)
    # The registry's comparison of an older version was with an earlier champion.
    assert f"{said}\n" in told_of(3, 1)


def test_the_first_serving_model_is_shown() -> None:
    text = comment_on(make_step("create", "Model", "m", None, package(1)))

    assert "**Serves** nothing → version 1" in text


def test_a_version_known_after_deployment_is_marked() -> None:
    new = {"primaryContainer": {"modelPackageName": UNKNOWN}}
    text = comment_on(make_step("replace", "Model", "m", package(1), new, because=["primaryContainer"], before=KEPT))

    assert "version 1 → a version known after deployment" in text


def pipeline(*steps: dict[str, Any], parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    given = [{"Name": name, "Type": "String", "DefaultValue": value} for name, value in (parameters or {}).items()]
    return {"pipelineName": "training", "pipelineDefinition": json.dumps({"Parameters": given, "Steps": list(steps)})}


def train(**arguments: Any) -> dict[str, Any]:
    return {"Name": "Train", "Type": "Training", "Arguments": arguments}


def test_changed_hyperparameters_are_listed() -> None:
    old, new = {"max_iter": "100", "l2": "1.0"}, {"max_iter": "300", "leaves": "15"}
    changed = make_step(
        "update", "Pipeline", "p", pipeline(train(HyperParameters=old)), pipeline(train(HyperParameters=new))
    )

    assert diff_steps(changed)["model"]["hyperparameters"] == [
        {"name": "l2", "before": "1.0", "after": None},
        {"name": "leaves", "before": None, "after": "15"},
        {"name": "max_iter", "before": "100", "after": "300"},
    ]
    assert "**Hyperparameter** `max_iter` `100` → `300`" in comment_on(changed)


def test_changed_images_and_endpoint_variables_are_listed() -> None:
    images = [pipeline({"Name": "A", "Arguments": {"AppSpecification": {"ImageUri": f"repo:{n}"}}}) for n in (1, 2)]
    variables = [{"primaryContainer": {"environment": {"MODE": mode}}} for mode in ("a", "b")]
    text = comment_on(
        make_step("update", "Pipeline", "p", *images),
        make_step("replace", "Model", "m", *variables, because=["primaryContainer"], before=KEPT),
    )

    assert "**Image of the jobs** `repo:1` → `repo:2`" in text
    assert "**Variable of the endpoint** `MODE` `a` → `b`" in text


# -- alarms, schedules, pipelines --------------------------------------------------------------------------------------


def test_added_and_removed_steps_include_those_in_branches() -> None:
    gate: dict[str, Any] = {
        "Name": "Gate", "Type": "Condition",
        "Arguments": {"Conditions": [], "IfSteps": [{"Name": "Register", "Type": "RegisterModel", "Arguments": {}}]},
    }  # fmt: skip
    more = {**gate, "Arguments": {**gate["Arguments"], "ElseSteps": [{"Name": "Refused", "Type": "Fail"}]}}
    changed = make_step("update", "Pipeline", "p", pipeline(train(), gate), pipeline(more, parameters={"AsOf": "now"}))
    [entry] = diff_steps(changed)["pipelines"]

    assert (entry["steps_added"], entry["steps_removed"]) == (["Refused"], ["Train"])
    assert entry["parameters"] == [{"name": "AsOf", "before": None, "after": "now"}]
    # Its changed branches are a change of the gate itself.
    assert [each["step"] for each in entry["steps_changed"]] == ["Gate"]


def test_a_new_pipeline_is_shown_with_its_steps() -> None:
    text = comment_on(make_step("create", "Pipeline", "p", None, pipeline(train())))

    assert "Pipeline `training` is new\n  - steps `Train`" in text


def test_changed_schedules_and_rules_are_described() -> None:
    pattern = json.dumps({"detail": {"alarmName": ["drift", "calibration"]}})
    text = comment_on(
        make_step(
            "update",
            "Schedule",
            "s",
            {"name": "monitor", "scheduleExpression": "rate(1 day)"},
            {"name": "monitor", "scheduleExpression": "rate(1 hour)"},
        ),
        make_step("create", "Rule", "r", None, {"name": "on-alarm", "eventPattern": pattern}),
        make_step(
            "update",
            "Rule",
            "q",
            {"name": "other", "eventPattern": json.dumps({"detail": {"alarmName": ["drift"]}})},
            {"name": "other", "eventPattern": pattern},
        ),
    )

    assert "Schedule `monitor` changes\n  - `scheduleExpression` `rate(1 day)` → `rate(1 hour)`" in text
    assert "Rule `on-alarm` is new: on drift, calibration" in text
    assert "`eventPattern.detail.alarmName[1]` nothing → `calibration`" in text


# -- cost --------------------------------------------------------------------------------------------------------------


def test_resources_without_a_price_are_named_and_not_counted() -> None:
    document = diff_steps(
        *change_endpoint(fleet("ml.p5.48xlarge", 1)), make_step("create", "aws:mq/broker:Broker", "b", None, {})
    )
    text = markdown.render_comment(document)

    [config] = [each for each in document["cost"]["items"] if each["type"] == traffic.CONFIG]
    assert (config["before"], config["after"]) == (pytest.approx(0.128 * 730, abs=0.01), None)
    assert document["cost"]["unknown"] == [
        {"what": "aws:mq/broker:Broker", "count": 1}, {"what": "hosting on ml.p5.48xlarge in eu-west-1", "count": 1},
    ]  # fmt: skip
    assert "| $93.44 | unknown |" in text
    assert "Unknown, and not in the sum: `aws:mq/broker:Broker`, `hosting on ml.p5.48xlarge in eu-west-1`." in text
    assert "partly unknown" in text.splitlines()[2]


def test_an_unknown_price_gives_no_cost_difference() -> None:
    document = diff_steps(*change_endpoint(fleet("ml.p5.48xlarge", 1)))
    text = markdown.render_comment(document)

    assert document["cost"]["difference"] is None
    assert document["cost"]["at_least"] == {"before": False, "after": True}
    assert "$93.44 → at least $0.00 a month (difference unknown), partly unknown" in text.splitlines()[2]
    assert "| **\\$93.44** | **at least \\$0.00** |" in text
    assert "-$" not in text


def test_unchanged_resources_without_a_price_keep_the_difference() -> None:
    broker = make_step("same", "aws:mq/broker:Broker", "b", {"a": 1}, {"a": 1})
    document = diff_steps(broker, *change_endpoint(fleet("ml.m5.large", 2)))

    assert document["cost"]["difference"] == pytest.approx(0.128 * 730, abs=0.01)
    assert "at least $93.44 → at least $186.88 a month (+$93.44), partly unknown" in markdown.render_comment(document)


def test_a_retained_configuration_costs_nothing() -> None:
    serving = make_step("same", "Config", "now", fleet("ml.m5.xlarge", 1), fleet("ml.m5.xlarge", 1))
    kept = make_step("delete", "Config", "old", fleet("ml.m5.xlarge", 9), before=KEPT)
    runs = {"propertyDependencies": {"endpointConfigName": [serving["urn"]]}}
    endpoint = make_step("same", "Endpoint", "e", {"name": "f"}, {"name": "f"}, before=runs, after=runs)

    cost = diff_steps(serving, kept, endpoint)["cost"]

    assert (cost["before"], cost["after"]) == (pytest.approx(0.257 * 730, abs=0.01),) * 2


def test_deleted_resources_cost_nothing() -> None:
    cost = diff_steps(make_step("delete", "Key", "k", {}), make_step("create", "Alarm", "a", None, {"period": 60}))[
        "cost"
    ]

    assert (cost["before"], cost["after"], cost["difference"]) == (1.0, 0.1, -0.9)
