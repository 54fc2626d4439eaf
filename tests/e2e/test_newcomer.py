"""The path of a newcomer: the command of `make up`, then the stock tools, then valid and invalid changes."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from local import client

from .stand import STACK, Stand, eventually, start_stand

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Yield a stand whose jobs and endpoints are processes as everywhere else: some tests end them."""
    yield from start_stand(tmp_path_factory.mktemp("stand") / "millrace", 60.0, has_forks=False)


@pytest.fixture(scope="module")
def summary(stand: Stand) -> dict[str, object]:
    """Return the summary that `millrace up` prints."""
    done = stand.millrace("up", "--json", timeout=600)
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module", autouse=True)
def _up(summary: dict[str, object]) -> None:
    """Run the first `up` before every test of this module."""


def test_up_ends_with_a_serving_model(stand: Stand) -> None:
    endpoint = stand.client("sagemaker").describe_endpoint(EndpointName=STACK)
    assert endpoint["EndpointStatus"] == "InService"
    [package] = stand.packages()
    assert package["ModelApprovalStatus"] == "Approved"
    told = package["CustomerMetadataProperties"]
    assert float(told["roc_auc"]) >= 0.65
    assert float(told["brier_skill"]) >= 0.10
    assert float(told["ece"]) <= 0.05
    assert told["as_of"] == "2013-04-01T00:00:00Z"
    assert {"snapshot", "code", "parameters", "model", "data_uri", "code_uri", "execution"} <= set(told)
    done = stand.millrace("invoke", "flights", "--sample", "--json-output")
    assert 0 < json.loads(done.stdout)["answer"]["score"] < 1


def test_a_second_up_changes_nothing(stand: Stand) -> None:
    assert set(stand.changes()) == {"same"}
    before = stand.executions("training"), stand.executions("monitor")
    stand.millrace("up", "--json", timeout=300)
    assert (stand.executions("training"), stand.executions("monitor")) == before
    assert set(stand.changes()) == {"same"}
    assert stand.git("status", "--porcelain") == ""


def test_local_env_prints_the_variables_of_boto3_and_pulumi(stand: Stand) -> None:
    printed = stand.millrace("local", "env").stdout
    names = set(re.findall(r"^export ([A-Z_0-9]+)=", printed, re.MULTILINE))
    assert {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_REGION", "PULUMI_HOME", "PULUMI_BACKEND_URL", "PATH"} <= names
    [listed] = stand.client("sagemaker").list_endpoints()["Endpoints"]
    assert listed["EndpointName"] == STACK


def test_training_again_on_the_same_snapshot_gives_the_same_model(stand: Stand) -> None:
    [first] = stand.packages()
    as_of = first["CustomerMetadataProperties"]["as_of"]
    stand.millrace("retrain", "flights", "--as-of", as_of, code=4)
    second = stand.packages()[-1]
    assert second["ModelPackageVersion"] == 2
    for name in ("snapshot", "code", "parameters", "model"):
        assert second["CustomerMetadataProperties"][name] == first["CustomerMetadataProperties"][name]
    assert second["ModelApprovalStatus"] == "Rejected"
    assert "same model" in second["ModelPackageDescription"]


def test_a_removed_feature_is_refused_at_preview(stand: Stand) -> None:
    declaration = stand.folder / "stacks" / "flights" / "__init__.py"
    text = declaration.read_text()
    try:
        declaration.write_text(text.replace(', "visib": "number"', ""))
        refused = stand.pulumi("preview", code=None)
    finally:
        declaration.write_text(text)
    assert "'visib' was removed" in refused
    assert "A group cannot lose a feature" in refused
    assert set(stand.changes()) == {"same"}


def test_adding_a_feature_updates_in_place_and_keeps_online_records(stand: Stand) -> None:
    store = stand.client("sagemaker-featurestore-runtime")
    group = f"{STACK}-weather"
    before = store.get_record(FeatureGroupName=group, RecordIdentifierValueAsString="JFK")["Record"]
    made = stand.client("sagemaker").describe_feature_group(FeatureGroupName=group)["CreationTime"]
    for name, old, new in [
        ("__init__.py", '"visib": "number"', '"visib": "number", "wind_gust": "number"'),
        ("data.py", '"precip", "visib")', '"precip", "visib", "wind_gust")'),
        ("data.py", '"precip", "visib"]', '"precip", "visib", "wind_gust"]'),
    ]:
        path = stand.folder / "stacks" / "flights" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    planned = stand.plan()
    assert planned[f"{STACK}-weather-schema"] == "update"
    assert f"{STACK}-weather-group" not in planned
    stand.up()
    described = stand.client("sagemaker").describe_feature_group(FeatureGroupName=group)
    assert "wind_gust" in {feature["FeatureName"] for feature in described["FeatureDefinitions"]}
    assert described["CreationTime"] == made
    assert store.get_record(FeatureGroupName=group, RecordIdentifierValueAsString="JFK")["Record"] == before
    assert set(stand.changes()) == {"same"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name="flights"', f'name="{"f" * 40}"', ["use case", "name = ", "at most 28 characters"]),
        ('target="late"', 'target="late", taget="late"', ["'flights'", "taget", "did you mean 'target'?"]),
        ('Gate("roc_auc"', 'Gate("rmse"', ["'flights'", "rmse", "a binary problem has no metric"]),
    ],
)
def test_an_invalid_declaration_is_refused_at_preview(stand: Stand, old: str, new: str, said: list[str]) -> None:
    declaration = stand.folder / "stacks" / "flights" / "__init__.py"
    text = declaration.read_text()
    assert old in text
    try:
        declaration.write_text(text.replace(old, new))
        refused = stand.pulumi("preview", code=None)
    finally:
        declaration.write_text(text)
    for words in said:
        assert words in refused
    assert set(stand.changes()) == {"same"}


def test_a_corrupt_batch_fails_validation_and_the_last_model_keeps_serving(stand: Stand) -> None:
    data = stand.folder / "stacks" / "flights" / "data.py"
    text = data.read_text()
    broken = text.replace(
        '"distance": distance,', '"distance": np.where(np.arange(len(distance)) < 3, -1.0, distance),'
    )
    assert broken != text
    served = stand.client("sagemaker").describe_endpoint(EndpointName=STACK)["EndpointConfigName"]
    told = _subscribe(stand)
    try:
        data.write_text(broken)
        stand.up()
        done = stand.millrace("retrain", "flights", code=1)
        name, reason = stand.failed_step(stand.executions("training")[-1]["PipelineExecutionArn"])
    finally:
        data.write_text(text)
        stand.up()
    message = eventually(lambda: told().get("Messages"), "the message of the failure", 30)[0]["Body"]
    assert "flights-local-training" in message
    assert "Failed" in message
    assert name == "Validate"
    assert "distance breaks the rule: at least 1" in reason
    assert "flight_id=" in reason
    assert "distance" in done.stdout + done.stderr
    assert stand.client("sagemaker").describe_endpoint(EndpointName=STACK)["EndpointConfigName"] == served


def _subscribe(stand: Stand) -> Callable[[], dict[str, Any]]:
    """Return a function that reads the messages of the stack's topic, as a subscribed person would."""
    queue = "arn:aws:sqs:eu-west-1:123456789012:reader"
    sqs = stand.client("sqs")
    url = sqs.create_queue(QueueName="reader")["QueueUrl"]
    stand.client("sns").subscribe(
        TopicArn=f"arn:aws:sns:eu-west-1:123456789012:{STACK}", Protocol="sqs", Endpoint=queue
    )
    return lambda: sqs.receive_message(QueueUrl=url)


def test_an_invalid_request_names_its_field_and_the_server_survives(stand: Stand) -> None:
    runtime = stand.client("sagemaker-runtime")
    with pytest.raises(runtime.exceptions.ModelError) as refused:
        runtime.invoke_endpoint(EndpointName=STACK, ContentType="application/json", Body=b'{"flight_id": "x"}')
    assert refused.value.response["OriginalStatusCode"] == 400
    assert "scheduled_at" in refused.value.response["OriginalMessage"]
    stand.millrace("invoke", "flights", "--sample")


def test_a_killed_job_fails_its_execution_and_the_next_one_succeeds(stand: Stand) -> None:
    stand.millrace("retrain", "flights", "--no-wait")

    def job() -> psutil.Process | None:
        running = [process for process in _list_daemon_children(stand) if "ingest" in process.cmdline()]
        return running[0] if running else None

    eventually(job, "the first job", 30).kill()
    execution = stand.settled("training", 1)[-1]
    assert execution["PipelineExecutionStatus"] == "Failed"
    assert stand.failed_step(execution["PipelineExecutionArn"])[0] == "Ingest"
    stand.millrace("run", "flights", "--pipeline", "training")
    stand.millrace("invoke", "flights", "--sample")


def test_a_killed_model_server_is_restarted(stand: Stand) -> None:
    servers = [process for process in _list_daemon_children(stand) if "serve" in process.cmdline()]
    assert servers
    for server in servers:
        server.kill()

    def answers() -> bool | None:
        return True if stand.millrace("invoke", "flights", "--sample", code=None).returncode == 0 else None

    assert eventually(answers, "a prediction after the server's death", 60)


def test_a_killed_cloud_recovers_without_losing_packages(stand: Stand) -> None:
    packages = [package["ModelPackageArn"] for package in stand.packages()]
    stand.millrace("retrain", "flights", "--no-wait")
    running = client.find_daemon(stand.state)
    assert running is not None
    psutil.Process(running.pid).send_signal(signal.SIGKILL)
    eventually(lambda: True if client.find_daemon(stand.state) is None else None, "the cloud's death", 10)
    stand.start()
    stand.millrace("up", "--json", timeout=400)
    assert [package["ModelPackageArn"] for package in stand.packages()][: len(packages)] == packages
    assert all(each["PipelineExecutionStatus"] != "Executing" for each in stand.settled("training", 1))
    assert set(stand.changes()) == {"same"}
    stand.millrace("invoke", "flights", "--sample")


def test_destroy_leaves_no_process_and_up_works_again(stand: Stand) -> None:
    stand.millrace("destroy", "flights", "--yes")
    left = stand.client("sagemaker").list_endpoints()["Endpoints"]
    assert left == []
    assert [process.cmdline() for process in _list_daemon_children(stand) if "serve" in process.cmdline()] == []
    stand.millrace("up", "--json", timeout=600)
    stand.millrace("invoke", "flights", "--sample")


def _list_daemon_children(stand: Stand) -> list[psutil.Process]:
    running = client.find_daemon(stand.state)
    assert running is not None
    return [
        process
        for process in psutil.Process(running.pid).children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE
    ]
