"""The whole stack of flights: its exact resources, and rules that hold for all of them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pulumi
import pytest

import stacks
from components.mlops_stack import MlopsStack
from components.stack_args import MlopsStackArgs
from millrace import Environment, FeatureTable, Monitoring, Retraining, UseCase
from millrace.names import Names
from millrace.watching import MonitorAlarm
from tests.components import mocked
from tests.components.flights_stack import BUNDLE, BUNDLE_FILE, environment, flights, package, register_stack

#: A pinned image, which every environment other than `local` must set.
IMAGE = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/millrace@sha256:{'0' * 64}"

STACKS = [(name, approved) for name in ("local", "dev") for approved in (True, False)]

#: Component below the stack → its name after `<stack>`, and its children: name after `<stack>` → kind.
COMPONENTS: dict[str, tuple[str, dict[str, str]]] = {
    "Notifications": (
        "-notifications",
        {
            "-notifications-topic": "Topic",
            "-notifications-policy": "TopicPolicy",
            "-notifications-failures": "EventRule",
            "-notifications-failures-target": "EventTarget",
        },
    ),
    "DataLake": (
        "-lake",
        {
            "-lake-key": "Key",
            "-lake-key-alias": "Alias",
            "-lake-bucket": "Bucket",
            "-lake-ownership": "BucketOwnershipControls",
            "-lake-public-access": "BucketPublicAccessBlock",
            "-lake-versioning": "BucketVersioning",
            "-lake-encryption": "BucketServerSideEncryptionConfiguration",
            "-lake-lifecycle": "BucketLifecycleConfiguration",
            "-lake-policy": "BucketPolicy",
        },
    ),
    "Access": (
        "",
        {f"-{use}-{kind.lower()}": kind for use in ("job", "endpoint", "pipeline", "trigger") for kind in ("Role",)}
        | {f"-{use}-policy": "RolePolicy" for use in ("job", "endpoint", "pipeline", "trigger")},
    ),
    "DeadLetters": (
        "-dead-letters",
        {"-dead-letters-queue": "Queue", "-dead-letters-policy": "QueuePolicy", "-dead-letters-alarm": "MetricAlarm"},
    ),
    "ModelRegistry": ("", {"-group": "ModelPackageGroup"}),
    "FeaturePublishing": ("-features", {"-features-pipeline": "Pipeline", "-features-schedule": "Schedule"}),
    "TrainingPipeline": ("-training", {"-training-pipeline": "Pipeline"}),
    "DriftAlarms": (
        "-monitor",
        {
            "-monitor-pipeline": "Pipeline",
            "-monitor-schedule": "Schedule",
            **{f"-monitor-{alarm}": "MetricAlarm" for alarm in MonitorAlarm},
            **{f"-monitor-page-{page}": "CompositeAlarm" for page in ("silence", "data", "model")},
            **{f"-monitor-{page}-snoozed": "MetricAlarm" for page in ("silence", "data", "model")},
            "-monitor-dashboard": "Dashboard",
        },
    ),
    "Retraining": (
        "-retraining",
        {
            "-retraining-on-alarm": "EventRule",
            "-retraining-on-alarm-target": "EventTarget",
            "-retraining-recheck": "Schedule",
        },
    ),
    "BlueGreenEndpoint": (
        "",
        {
            "-errors": "MetricAlarm",
            "-latency": "MetricAlarm",
            "-model": "Model",
            "-config": "EndpointConfiguration",
            "-endpoint": "Endpoint",
        },
    ),
}
TABLES = ("weather", "departures", "carrier_departures")


def _make_expected_tree(stack: str, approved: bool) -> set[tuple[str, str, str | None]]:
    root = "MlopsStack:flights"
    expected: set[tuple[str, str, str | None]] = {
        ("flights", "MlopsStack", None),
        (f"{stack}-code", "BucketObjectv2", root),
        (f"{stack}-clock", "BucketObjectv2", root),
    }
    for kind, (suffix, children) in COMPONENTS.items():
        if kind == "BlueGreenEndpoint" and not approved:
            continue
        expected.add((f"{stack}{suffix}", kind, root))
        expected |= {(f"{stack}{child}", token, f"{kind}:{stack}{suffix}") for child, token in children.items()}
    for table in TABLES:
        parent = f"FeatureStore:{stack}-{table}"
        expected |= {
            (f"{stack}-{table}", "FeatureStore", root),
            (f"{stack}-{table}-group", "FeatureGroup", parent),
            (f"{stack}-{table}-schema", "Parameter", parent),
        }
    return expected


@pytest.mark.parametrize(("name", "approved"), STACKS)
def test_the_stack_has_exactly_the_expected_resources(name: str, approved: bool) -> None:
    assert mocked.tree(flights(name, approved)) == _make_expected_tree(f"flights-{name}", approved)


@pytest.mark.parametrize(("name", "approved"), STACKS)
def test_components_have_the_token_of_their_package(name: str, approved: bool) -> None:
    tokens = {each.type for each in flights(name, approved).values() if not each.type.startswith("aws:")}
    assert tokens == {f"millrace:index:{kind}" for kind in (*COMPONENTS, "FeatureStore", "MlopsStack")} - (
        set() if approved else {"millrace:index:BlueGreenEndpoint"}
    )


def _make_stack(name: str, approved: str | None) -> tuple[MlopsStack, dict[str, Any]]:
    """Return the component and its known outputs."""
    made_: list[MlopsStack] = []
    known: dict[str, Any] = {}
    args = MlopsStackArgs(stacks.load("flights"), environment(name), mocked.ACCOUNT, "aws", BUNDLE_FILE, approved)

    def program() -> pulumi.Output[None]:
        made_.append(MlopsStack("flights", args))
        return pulumi.Output.all(**made_[0].list_outputs()).apply(known.update)

    mocked.run(program)
    return made_[0], known


def test_before_the_first_approval_the_outputs_give_the_next_step() -> None:
    stack, outputs = _make_stack("local", None)
    assert stack.endpoint_status == "pending its first approved model"
    assert stack.next_step == "millrace retrain flights, millrace approve flights, millrace deploy flights"
    alarms = outputs.pop("alarms")
    assert sorted(alarms) == sorted(f"flights-local-{kind}" for kind in (*MonitorAlarm, "undelivered"))
    assert outputs == {
        "endpointName": "flights-local",
        "endpointStatus": "pending its first approved model",
        "nextStep": "millrace retrain flights, millrace approve flights, millrace deploy flights",
        "lake": "id-of-flights-local-lake-bucket",
        "trainingPipeline": "flights-local-training",
        "monitorPipeline": "flights-local-monitor",
        "featuresPipeline": "flights-local-features",
        "modelPackageGroup": "flights-local",
    }


def test_the_outputs_name_the_version_in_service() -> None:
    _, outputs = _make_stack("dev", package("dev", 12))
    assert outputs["endpointStatus"] == "in service: version 12"
    assert outputs["nextStep"] == "millrace invoke flights --env dev --sample"
    assert outputs["endpointName"] == "flights-dev"
    assert outputs["alarms"][-2:] == ["flights-dev-errors", "flights-dev-latency"]


@pytest.mark.parametrize("name", ["local", "dev"])
def test_the_approved_package_is_served(name: str) -> None:
    container = flights(name)[f"flights-{name}-model"].inputs["primaryContainer"]
    assert container["modelPackageName"] == package(name)


@pytest.mark.parametrize("name", ["local", "dev"])
def test_two_runs_register_identical_resources(name: str) -> None:
    again = register_stack(stacks.load("flights"), environment(name), package(name))
    first = flights(name)
    for pipeline in mocked.find_by_kind(first, "Pipeline"):
        assert again[pipeline.key].inputs["pipelineDefinition"] == pipeline.inputs["pipelineDefinition"]
    assert {key: each.inputs for key, each in again.items() if each.kind != "BucketObjectv2"} == {
        key: each.inputs for key, each in first.items() if each.kind != "BucketObjectv2"
    }


@pytest.mark.parametrize(("name", "approved"), STACKS)
def test_no_output_is_converted_to_text(name: str, approved: bool) -> None:
    found = flights(name, approved)
    all_texts = [text for each in found.values() for text in mocked.texts([each.name, each.inputs, each.outputs])]
    assert len(all_texts) > 500
    assert [text for text in all_texts if "Calling __str__" in text or "<pulumi.output" in text] == []


@pytest.mark.parametrize(("name", "approved"), STACKS)
def test_every_document_is_canonical_json(name: str, approved: bool) -> None:
    fields = ("policy", "assumeRolePolicy", "eventPattern", "pipelineDefinition", "dashboardBody")
    seen = set()
    for each in flights(name, approved).values():
        for field in fields:
            if field in each.inputs:
                document = json.loads(each.inputs[field])
                assert json.dumps(document, sort_keys=True) == json.dumps(document), f"{each.key}.{field}"
                seen.add(field)
    assert seen == set(fields)


@pytest.mark.parametrize(("name", "approved"), STACKS)
def test_no_component_leaks_options(name: str, approved: bool) -> None:
    for each in flights(name, approved).values():
        leaked = set(each.options) - {"protect", "retainOnDelete"}
        assert leaked == set(), f"{each.key} has {leaked}"
        if each.type.startswith("millrace:"):
            assert each.options == {}, f"children of {each.key} would inherit {each.options}"


@pytest.mark.parametrize("kind", ["Endpoint", "ModelPackageGroup", "Bucket", "Key", "FeatureGroup"])
def test_stateful_resources_are_protected_unless_force_destroy(kind: str) -> None:
    for name, protected in (("local", False), ("dev", True)):
        assert environment(name).force_destroy is not protected
        found = mocked.find_by_kind(flights(name), kind)
        assert found
        assert {each.options["protect"] for each in found} == {protected}


@pytest.mark.parametrize("kind", ["Model", "EndpointConfiguration"])
def test_resources_for_a_rollback_are_retained_and_never_protected(kind: str) -> None:
    for name in ("local", "dev"):
        (each,) = mocked.find_by_kind(flights(name), kind)
        assert each.options == {"protect": False, "retainOnDelete": True}


def test_only_local_may_delete_a_bucket_that_holds_data() -> None:
    assert flights("local")["flights-local-lake-bucket"].inputs["forceDestroy"] is True
    assert flights("dev")["flights-dev-lake-bucket"].inputs["forceDestroy"] is False


def test_old_code_is_retained_and_the_bundle_key_names_its_content() -> None:
    code = flights("dev")["flights-dev-code"]
    assert code.inputs["key"] == f"code/{BUNDLE}"
    assert code.options["retainOnDelete"] is True


def test_the_clock_is_set_once_and_its_changes_are_ignored() -> None:
    clock = flights("local")["flights-local-clock"]
    assert clock.ignore_changes == ("content",)
    assert clock.inputs["key"] == "clock.json"
    assert json.loads(clock.inputs["content"])["now"] == "2013-04-01T00:00:00+00:00"


def _make_environment(**changes: Any) -> Environment:
    return Environment(name="local", **changes)


def _make_use_case(**changes: Any) -> UseCase:
    return UseCase(name="small", target="y", key="k", event_time="t", **changes)


def test_on_wall_clock_time_no_clock_is_made_and_schedules_run() -> None:
    use_case = _make_use_case(
        tables=[FeatureTable("w", entity="e", columns={"v": "number"})], retraining=Retraining(every=timedelta(days=7))
    )
    found = register_stack(use_case, _make_environment())
    assert "small-local-clock" not in found
    states = {each.name: each.inputs["state"] for each in mocked.find_by_kind(found, "Schedule")}
    assert states == dict.fromkeys(
        ("small-local-features-schedule", "small-local-monitor-schedule", "small-local-retraining-backstop"), "ENABLED"
    )
    (training,) = [each for each in mocked.find_by_kind(found, "Pipeline") if "training" in each.name]
    assert "MILLRACE_CLOCK" not in training.inputs["pipelineDefinition"]


def test_with_replayed_time_all_schedules_are_disabled() -> None:
    schedules = mocked.find_by_kind(flights("dev"), "Schedule")
    assert [each.inputs["state"] for each in schedules] == ["DISABLED"] * 3
    replaying = _make_environment(replay_from="2013-04-01T00:00:00Z")
    found = register_stack(_make_use_case(retraining=Retraining(every=timedelta(days=7))), replaying)
    states = {each.name: each.inputs["state"] for each in mocked.find_by_kind(found, "Schedule")}
    assert states == {"small-local-monitor-schedule": "DISABLED", "small-local-retraining-backstop": "DISABLED"}


def test_a_use_case_without_tables_has_no_feature_store_and_no_publishing() -> None:
    found = register_stack(_make_use_case(), _make_environment())
    kinds = {each.kind for each in found.values()}
    assert kinds.isdisjoint({"FeatureStore", "FeatureGroup", "FeaturePublishing"})
    assert [each.name for each in mocked.find_by_kind(found, "EventRule")] == ["small-local-notifications-failures"]
    assert {each.name for each in mocked.find_by_kind(found, "Pipeline")} == {
        "small-local-training-pipeline",
        "small-local-monitor-pipeline",
    }


def test_every_alarm_notifies_the_topic_and_has_a_computed_name() -> None:
    found = flights("dev")
    names = Names("flights", "dev", mocked.ACCOUNT, "eu-west-1")
    alarms = mocked.find_by_kind(found, "MetricAlarm")
    own = ("undelivered", "errors", "latency")
    assert {each.inputs["name"] for each in alarms} == {
        names.alarm(kind) for kind in (*MonitorAlarm, *own, "silence-snoozed", "data-snoozed", "model-snoozed")
    }
    # The monitor's alarms notify by their pages.
    notifying = {each.inputs["name"] for each in alarms if "alarmActions" in each.inputs}
    assert notifying == {names.alarm(kind) for kind in own}
    actions = [each.inputs["alarmActions"] for each in (*alarms, *mocked.find_by_kind(found, "CompositeAlarm"))
               if "alarmActions" in each.inputs]  # fmt: skip
    assert actions == [["arn:of:Topic:flights-dev-notifications-topic"]] * 6


def test_each_address_is_subscribed() -> None:
    found = register_stack(_make_use_case(), _make_environment(notify=["a@example.org", "b@example.org"]))
    subscribed = {each.inputs["endpoint"]: each.inputs for each in mocked.find_by_kind(found, "TopicSubscription")}
    assert set(subscribed) == {"a@example.org", "b@example.org"}
    for inputs in subscribed.values():
        assert inputs["protocol"] == "email"
        assert inputs["topic"] == "arn:of:Topic:small-local-notifications-topic"


#: A use case with the longest names that the declarations allow.
LONGEST = UseCase(
    name="u" * 28,
    target="y",
    key="k",
    event_time="t",
    tables=[FeatureTable("t" * 20, entity="e", columns={"v": "number"})],
    monitoring=Monitoring(calibration_alarm=0.1),
    retraining=Retraining(on=("drift", "calibration"), every=timedelta(days=1)),
)
#: Kind → the input that is its name, and the maximum length that AWS accepts.
LIMITS = {
    "FeatureGroup": ("featureGroupName", 64),
    "ModelPackageGroup": ("modelPackageGroupName", 63),
    "Pipeline": ("pipelineName", 63),
    "Endpoint": ("name", 63),
    "Bucket": ("bucket", 63),
    "Schedule": ("name", 64),
    "EventRule": ("name", 64),
    "EventTarget": ("targetId", 64),
    "Queue": ("name", 80),
    "MetricAlarm": ("name", 255),
    "Topic": ("name", 256),
    "Alias": ("name", 256),
    "Dashboard": ("dashboardName", 255),
    "Parameter": ("name", 1011),
}
#: Kinds that are named by Pulumi: logical name, a hyphen and seven hexadecimal digits.
AUTOMATIC = {"Model": 63, "EndpointConfiguration": 63, "Role": 64, "RolePolicy": 128}


def test_the_longest_declaration_fits_all_name_limits() -> None:
    where = Environment(name="e" * 12, image=IMAGE)
    found = register_stack(LONGEST, where, package("x"))
    seen = set()
    for each in found.values():
        if each.kind in LIMITS:
            field, limit = LIMITS[each.kind]
            name = each.inputs[field]
        elif each.kind in AUTOMATIC:
            assert "name" not in each.inputs
            name, limit = f"{each.name}-1a2b3c4", AUTOMATIC[each.kind]
        else:
            continue
        seen.add(each.kind)
        assert len(name) <= limit, f"{each.key}: {name} has {len(name)} characters"
        if each.type.startswith("aws:sagemaker"):
            assert name.replace("-", "").isalnum(), name
            assert name[0].isalnum()
            assert name[-1].isalnum()
    assert seen == LIMITS.keys() | AUTOMATIC.keys()


def test_pipelines_have_display_names_and_small_definitions() -> None:
    pipelines = mocked.find_by_kind(flights("dev"), "Pipeline")
    assert len(pipelines) == 3
    for pipeline in pipelines:
        assert pipeline.inputs["pipelineDisplayName"] == pipeline.inputs["pipelineName"]
        assert "pipelineDefinitionS3Location" not in pipeline.inputs
        assert len(pipeline.inputs["pipelineDefinition"]) < 1_048_576 / 10


def test_variables_of_the_environment_reach_every_job_and_the_endpoint() -> None:
    where = environment("local").model_copy(update={"variables": {"FLIGHTS_ALL": "1"}})
    found = register_stack(stacks.load("flights"), where, package("local"))
    for pipeline in ("training", "monitor", "features"):
        definition = json.loads(found[f"flights-local-{pipeline}-pipeline"].inputs["pipelineDefinition"])
        jobs = [step for step in definition["Steps"] if step["Type"] in ("Processing", "Training")]
        assert jobs
        assert [job["Arguments"]["Environment"]["FLIGHTS_ALL"] for job in jobs] == ["1"] * len(jobs)
    container = found["flights-local-model"].inputs["primaryContainer"]
    assert container["environment"]["FLIGHTS_ALL"] == "1"
