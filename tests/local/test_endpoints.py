"""Models, endpoint configurations and endpoints: life cycle, invocations, refusals and restarts."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from local.services.sagemaker.hosting import fleet, router
from local.services.sagemaker.hosting.host import Hosting, recover
from local.services.sagemaker.hosting.model_data import remove_tree
from tests.local.hosted import (
    IMAGE,
    REGION,
    HostedCloud,
    eventually,
    failures,
    hosted,
    moto_url,
    variant,
)

__all__ = ["hosted", "moto_url"]

ARN = f"arn:aws:sagemaker:{REGION}:123456789012"


def catch_refusal(call: Any, **params: Any) -> tuple[str, str]:
    """Return code and message of the refusal."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def find_servers(hosted: HostedCloud, endpoint: str) -> list[psutil.Process]:
    """Return the model servers of an endpoint, oldest first."""
    folder = str(hosted.cloud.state / "endpoints" / REGION / endpoint)
    found = []
    for process in psutil.Process().children():
        try:
            if process.environ().get("SAGEMAKER_BASE_DIR", "").startswith(folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def test_an_endpoint_is_created_serves_and_is_deleted(hosted: HostedCloud) -> None:
    hosted.config("Shop-1", count=2)
    created = hosted.create_endpoint(
        EndpointName="Shop", EndpointConfigName="Shop-1", Tags=[{"Key": "team", "Value": "a"}]
    )
    assert created == {"EndpointArn": f"{ARN}:endpoint/shop"}
    assert hosted.describe_endpoint(EndpointName="Shop")["EndpointStatus"] == "Creating"
    described = hosted.settled("Shop")
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == "Shop-1"
    assert not [key for key in described if key.startswith("_")]
    (shown,) = described["ProductionVariants"]
    assert shown["CurrentInstanceCount"] == shown["DesiredInstanceCount"] == 2
    assert shown["DeployedImages"][0]["SpecifiedImage"] == IMAGE
    assert "@sha256:" in shown["DeployedImages"][0]["ResolvedImage"]
    answer = hosted.invoke_endpoint(EndpointName="Shop", Body=b"who", CustomAttributes="k=v")
    assert answer["Body"] == b"Shop-1"
    assert answer["InvokedProductionVariant"] == "main"
    assert answer["ContentType"] == "text/plain"
    assert answer["CustomAttributes"] == "k=v"
    assert len(find_servers(hosted, "Shop")) == 2

    hosted.delete_endpoint(EndpointName="Shop")
    eventually(lambda: hosted.gone("Shop"))
    assert find_servers(hosted, "Shop") == []
    assert not list((hosted.cloud.state / "endpoints" / REGION / "Shop").glob("*"))
    assert catch_refusal(hosted.delete_endpoint, EndpointName="Shop") == (
        "ValidationException", f'Could not find endpoint "{ARN}:endpoint/shop".',
    )  # fmt: skip
    assert catch_refusal(hosted.invoke_endpoint, EndpointName="Shop", Body=b"") == (
        "ValidationError", "Endpoint Shop of account 123456789012 not found.",
    )  # fmt: skip
    states = [
        (event["detail"]["EndpointStatus"], event["detail"]["Tags"])
        for event in hosted.drain_events()
        if event["detail-type"] == "SageMaker Endpoint State Change"
    ]
    assert states == [("CREATING", {"team": "a"}), ("IN_SERVICE", {"team": "a"}), ("DELETING", {"team": "a"})]
    assert all(event["detail"]["CreationTime"] > 1e12 for event in hosted.events)


def test_a_server_gets_its_environment_a_read_only_model_and_logs(hosted: HostedCloud) -> None:
    hosted.endpoint("env", hosted.config("env-1", environment={"MODE": "fast"}))
    seen = json.loads(hosted.ask("env", b"environment"))
    assert seen["MODE"] == "fast"
    assert seen["SAGEMAKER_BIND_TO_PORT"].isdigit()
    model = Path(seen["SAGEMAKER_BASE_DIR"], "model", "answer.txt")
    assert model.stat().st_mode & 0o222 == 0
    logs = hosted.aws("logs")

    def lines() -> list[str]:
        found = []
        # A log group is created before its first stream.
        for stream in logs.describe_log_streams(logGroupName="/aws/sagemaker/Endpoints/env")["logStreams"]:
            assert stream["logStreamName"].startswith("main/i-")
            events = logs.get_log_events(
                logGroupName="/aws/sagemaker/Endpoints/env", logStreamName=stream["logStreamName"]
            )
            found += [event["message"] for event in events["events"]]
        return found

    eventually(lambda: any(g["logGroupName"].endswith("/env") for g in logs.describe_log_groups()["logGroups"]))
    eventually(lambda: lines() == ["model loaded env-1"])


def test_request_headers_reach_the_model(hosted: HostedCloud) -> None:
    hosted.endpoint("head", hosted.config("head-1"))
    seen = json.loads(
        hosted.ask(
            "head", b"headers", ContentType="text/csv", Accept="text/plain", InferenceId="7", CustomAttributes="c"
        )
    )
    assert seen["Content-Type"] == "text/csv"
    assert seen["Accept"] == "text/plain"
    assert seen["X-Amzn-SageMaker-Inference-Id"] == "7"
    assert seen["X-Amzn-SageMaker-Custom-Attributes"] == "c"


@pytest.mark.parametrize(("status", "side"), [(415, "client"), (500, "server")])
def test_an_error_status_of_a_model_is_a_model_error_and_keeps_the_server(
    hosted: HostedCloud, status: int, side: str
) -> None:
    hosted.endpoint("bad", hosted.config("bad-1"))
    with pytest.raises(ClientError) as caught:
        hosted.ask("bad", f"status {status}".encode())
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["Error"]["Code"] == "ModelError"
    assert response["Error"]["Message"] == (
        f'Received {side} error ({status}) from primary with message "no good". See https://{REGION}.console.aws.amazon'
        f".com/cloudwatch/home?region={REGION}#logEventViewer:group=/aws/sagemaker/Endpoints/bad "
        "in account 123456789012 for more information."
    )
    assert response["OriginalStatusCode"] == status
    assert response["OriginalMessage"] == "no good"
    assert response["LogStreamArn"] == f"arn:aws:logs:{REGION}:123456789012:log-group:/aws/sagemaker/Endpoints/bad"
    assert hosted.ask("bad") == b"bad-1"


def test_an_invocation_that_takes_too_long_times_out(hosted: HostedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    hosted.endpoint("slow", hosted.config("slow-1"))
    monkeypatch.setattr(router, "TIMEOUT", 0.3)
    with pytest.raises(ClientError, match="timed out while waiting for a response from container primary") as caught:
        hosted.ask("slow", b"sleep 2")
    assert caught.value.response["OriginalStatusCode"] == 0
    monkeypatch.undo()
    assert hosted.ask("slow") == b"slow-1"


def test_invocation_metrics_are_recorded(hosted: HostedCloud) -> None:
    hosted.endpoint("meter", hosted.config("meter-1"))
    for body in (b"who", b"who", b"status 400", b"status 500"):
        with contextlib.suppress(ClientError):
            hosted.ask("meter", body)
    cloudwatch = hosted.aws("cloudwatch")

    def figure(metric: str, statistic: str) -> float | None:
        now = dt.datetime.now(dt.UTC)
        answer = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName=metric, Period=3600, Statistics=[statistic],
            Dimensions=[{"Name": "EndpointName", "Value": "meter"}, {"Name": "VariantName", "Value": "main"}],
            StartTime=now - dt.timedelta(minutes=5), EndTime=now + dt.timedelta(minutes=5),
        )  # fmt: skip
        return answer["Datapoints"][0][statistic] if answer["Datapoints"] else None

    eventually(lambda: figure("Invocations", "Sum") == 4)
    assert figure("Invocation4XXErrors", "Sum") == 1
    assert figure("Invocation5XXErrors", "Sum") == 1
    assert figure("InvocationModelErrors", "Sum") == 2
    assert figure("Invocation5XXErrors", "Average") == 0.25
    latency = figure("ModelLatency", "Average")
    assert latency is not None
    assert 100 < latency < 1e6


def test_a_killed_server_is_restarted_and_the_other_takes_its_requests(hosted: HostedCloud) -> None:
    hosted.endpoint("kill", hosted.config("kill-1", count=2))
    victim, other = find_servers(hosted, "kill")
    with hosted.load("kill") as answers:
        eventually(lambda: answers["kill-1"] > 20)
        os.kill(victim.pid, signal.SIGKILL)
        eventually(lambda: len(find_servers(hosted, "kill")) == 2 and victim not in find_servers(hosted, "kill"))
        seen = answers["kill-1"]
        eventually(lambda: answers["kill-1"] > seen + 50)
    # At most the requests that were in flight to the victim: one of each of the three threads.
    assert sum(answers[text] for text in failures(answers)) <= 3
    assert other in find_servers(hosted, "kill")


def test_requests_wait_for_the_restart_of_the_only_server(hosted: HostedCloud) -> None:
    hosted.endpoint("only", hosted.config("only-1"))
    (crashed,) = find_servers(hosted, "only")
    with pytest.raises(ClientError, match="ModelError"):
        hosted.ask("only", b"crash")
    # A connection to a process that is just ending is lost; once the process is reaped, its port is closed.
    eventually(lambda: not psutil.pid_exists(crashed.pid))
    assert hosted.ask("only") == b"only-1"
    (killed,) = find_servers(hosted, "only")
    os.kill(killed.pid, signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(killed.pid))
    assert hosted.ask("only") == b"only-1"


def test_weights_and_target_choose_the_variant(hosted: HostedCloud) -> None:
    for name in ("light", "heavy"):
        hosted.model(name)
    hosted.create_endpoint_config(
        EndpointConfigName="two",
        ProductionVariants=[
            variant("light", name="a", InitialVariantWeight=0.0),
            variant("heavy", name="b", InitialVariantWeight=1.0),
        ],
    )
    hosted.endpoint("two", "two")
    assert {hosted.ask("two") for _ in range(20)} == {b"heavy"}
    assert hosted.ask("two", TargetVariant="a") == b"light"
    code, message = catch_refusal(hosted.invoke_endpoint, EndpointName="two", Body=b"", TargetVariant="c")
    assert (code, "Variant c not found" in message) == ("ValidationError", True)

    hosted.update_endpoint_weights_and_capacities(
        EndpointName="two",
        DesiredWeightsAndCapacities=[
            {"VariantName": "a", "DesiredWeight": 1.0, "DesiredInstanceCount": 2},
            {"VariantName": "b", "DesiredWeight": 0.0},
        ],
    )
    described = hosted.settled("two")
    assert [v["CurrentInstanceCount"] for v in described["ProductionVariants"]] == [2, 1]
    assert [v["CurrentWeight"] for v in described["ProductionVariants"]] == [1.0, 0.0]
    assert len(find_servers(hosted, "two")) == 3
    assert {hosted.ask("two") for _ in range(20)} == {b"light"}


def test_a_model_server_that_exits_at_start_fails_the_endpoint(hosted: HostedCloud) -> None:
    hosted.config("dead-1", environment={"FAIL": "1"})
    hosted.create_endpoint(EndpointName="dead", EndpointConfigName="dead-1")
    described = hosted.settled("dead")
    assert described["EndpointStatus"] == "Failed"
    assert described["FailureReason"] == (
        "The primary container for production variant main did not pass the ping health check. "
        "Please check CloudWatch logs for this endpoint."
    )
    assert "ProductionVariants" not in described
    assert find_servers(hosted, "dead") == []
    assert "it is Failed" in catch_refusal(hosted.update_endpoint, EndpointName="dead", EndpointConfigName="dead-1")[1]
    hosted.delete_endpoint(EndpointName="dead")
    eventually(lambda: hosted.gone("dead"))


@pytest.mark.parametrize(("asked", "window"), [({}, 240), ({"ContainerStartupHealthCheckTimeoutInSeconds": 900}, 900)])
def test_failing_pings_fail_the_endpoint_only_after_the_startup_window(
    hosted: HostedCloud, monkeypatch: pytest.MonkeyPatch, asked: dict[str, int], window: int
) -> None:
    ahead = 0.0
    monkeypatch.setattr(fleet, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + ahead))
    model = hosted.model("ill-1", environment={"PING": "503"})
    hosted.create_endpoint_config(EndpointConfigName="ill-1", ProductionVariants=[variant(model, **asked)])
    hosted.create_endpoint(EndpointName="ill", EndpointConfigName="ill-1")
    (server,) = eventually(lambda: find_servers(hosted, "ill"))
    eventually(server.net_connections)
    ahead = window - 30.0
    with pytest.raises(AssertionError):
        eventually(lambda: hosted.describe_endpoint(EndpointName="ill")["EndpointStatus"] != "Creating", seconds=1.0)
    assert find_servers(hosted, "ill") == [server]
    ahead = window + 1.0
    described = hosted.settled("ill")
    assert described["EndpointStatus"] == "Failed"
    assert "variant main did not pass the ping health check" in described["FailureReason"]
    eventually(lambda: find_servers(hosted, "ill") == [])


def test_a_broken_model_archive_fails_the_endpoint(hosted: HostedCloud) -> None:
    hosted.config("torn-1")
    hosted.aws("s3").put_object(Bucket="models", Key="torn-1.tar.gz", Body=b"not an archive")
    hosted.create_endpoint(EndpointName="torn", EndpointConfigName="torn-1")
    reason = hosted.settled("torn")["FailureReason"]
    assert reason.startswith(
        'Failed to extract model data archive for container "primary" from URL "s3://models/torn-1.tar.gz".'
    )


def test_changes_to_an_in_progress_endpoint_are_refused(hosted: HostedCloud) -> None:
    hosted.config("busy-1", environment={"PING": "503"})
    hosted.create_endpoint(EndpointName="busy", EndpointConfigName="busy-1")
    expected = ("ValidationException", f'Cannot update in-progress endpoint "{ARN}:endpoint/busy".')
    assert catch_refusal(hosted.update_endpoint, EndpointName="busy", EndpointConfigName="busy-1") == expected
    assert catch_refusal(hosted.delete_endpoint, EndpointName="busy") == expected
    assert catch_refusal(hosted.invoke_endpoint, EndpointName="busy", Body=b"")[0] == "ValidationError"


def test_taken_names_and_missing_resources_get_the_errors_of_aws(hosted: HostedCloud) -> None:
    hosted.endpoint("E", hosted.config("C"))
    taken = "Cannot create already existing"
    container = {"Image": IMAGE, "ModelDataUrl": "s3://models/C.tar.gz"}
    assert (
        catch_refusal(hosted.create_model, ModelName="C", PrimaryContainer=container)[1]
        == f'{taken} model "{ARN}:model/c".'
    )
    message = catch_refusal(hosted.create_endpoint_config, EndpointConfigName="C", ProductionVariants=[variant("C")])[1]
    assert message == f'{taken} endpoint configuration "{ARN}:endpoint-config/c".'
    message = catch_refusal(hosted.create_endpoint, EndpointName="E", EndpointConfigName="C")[1]
    assert message == f'{taken} endpoint "{ARN}:endpoint/e".'
    assert catch_refusal(hosted.describe_model, ModelName="X")[1] == f'Could not find model "{ARN}:model/x".'
    assert catch_refusal(hosted.delete_endpoint_config, EndpointConfigName="X")[1] == (
        f'Could not find endpoint configuration "{ARN}:endpoint-config/x".'
    )
    message = catch_refusal(hosted.create_endpoint_config, EndpointConfigName="D", ProductionVariants=[variant("X")])[1]
    assert message == f'Could not find model "{ARN}:model/x".'


def test_a_model_is_checked_when_it_is_created(hosted: HostedCloud) -> None:
    def create(**container: Any) -> str:
        return catch_refusal(hosted.create_model, ModelName="m", PrimaryContainer=container)[1]

    assert "no repository 'nobody'; known: echo" in create(Image="nobody:1", ModelDataUrl="s3://models/x.tar.gz")
    assert create(Image=IMAGE, ModelDataUrl="s3://models/x.tar.gz") == (
        "Could not find model data at s3://models/x.tar.gz."
    )
    assert (
        create(Image=IMAGE, Mode="MultiModel") == "Containers of Mode MultiModel are not available in the local cloud."
    )
    assert "MultiModelConfig of a container is not available" in create(Image=IMAGE, MultiModelConfig={})
    both = {"PrimaryContainer": {"Image": IMAGE}, "Containers": [{"Image": IMAGE}]}
    assert "either PrimaryContainer or Containers" in catch_refusal(hosted.create_model, ModelName="m", **both)[1]
    assert "either PrimaryContainer or Containers" in catch_refusal(hosted.create_model, ModelName="m")[1]


def test_a_model_package_serves_only_when_approved(hosted: HostedCloud) -> None:
    hosted.model("packed")
    arn = f"{ARN}:model-package/g/1"
    package = {
        "ModelPackageArn": arn,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [
                {"Image": IMAGE, "ModelDataUrl": "s3://models/packed.tar.gz", "Environment": {"A": "1", "B": "1"}}
            ]
        },
    }
    hosted.store.put("model-package", REGION, arn, package)
    container = {"ModelPackageName": arn, "Environment": {"B": "2"}}
    create = {"ModelName": "of-package", "PrimaryContainer": container}
    assert "ModelApprovalStatus PendingManualApproval" in catch_refusal(hosted.create_model, **create)[1]
    hosted.store.put("model-package", REGION, arn, {**package, "ModelApprovalStatus": "Approved"})
    hosted.create_model(**create)
    assert hosted.describe_model(ModelName="of-package")["PrimaryContainer"] == container
    hosted.create_endpoint_config(EndpointConfigName="of-package", ProductionVariants=[variant("of-package")])
    hosted.endpoint("of-package", "of-package")
    seen = json.loads(hosted.ask("of-package", b"environment"))
    assert (seen["A"], seen["B"]) == ("1", "2")
    message = catch_refusal(
        hosted.create_model, ModelName="no", PrimaryContainer={"ModelPackageName": f"{ARN}:model-package/g/2"}
    )[1]
    assert message == f"ModelPackage {ARN}:model-package/g/2 does not exist."


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"ProductionVariants": [variant("m", ServerlessConfig={"MemorySizeInMB": 1024})]}, "ServerlessConfig"),
        ({"ProductionVariants": [variant("m")], "AsyncInferenceConfig": {}}, "AsyncInferenceConfig"),
        (
            {"ProductionVariants": [variant("m")], "ShadowProductionVariants": [variant("m")]},
            "ShadowProductionVariants",
        ),
    ],
)
def test_unavailable_endpoint_config_options_are_refused_by_name(
    hosted: HostedCloud, config: dict[str, Any], name: str
) -> None:
    hosted.model("m")
    code, message = catch_refusal(hosted.create_endpoint_config, EndpointConfigName="c", **config)
    assert code == "ValidationException"
    assert message.startswith(f"{name} of ")
    assert message.endswith("is not available in the local cloud.")


def test_listing_filters_sorts_and_pages(hosted: HostedCloud) -> None:
    for name in ("b-1", "a-1", "a-2", "c"):
        hosted.model(name)
    names = [model["ModelName"] for model in hosted.list_models()["Models"]]
    assert names == ["c", "a-2", "a-1", "b-1"]
    query = {"SortBy": "Name", "SortOrder": "Ascending", "MaxResults": 2, "NameContains": "-"}
    first = hosted.list_models(**query)
    assert [model["ModelName"] for model in first["Models"]] == ["a-1", "a-2"]
    hosted.model("a-0")
    second = hosted.list_models(**query, NextToken=first["NextToken"])
    assert [model["ModelName"] for model in second["Models"]] == ["b-1"]
    assert "NextToken" not in second
    other = {**query, "SortOrder": "Descending"}
    assert "Invalid NextToken" in catch_refusal(hosted.list_models, **other, NextToken=first["NextToken"])[1]
    assert "Invalid NextToken" in catch_refusal(hosted.list_models, NextToken="junk")[1]
    assert hosted.list_models(CreationTimeBefore=dt.datetime.fromtimestamp(1, dt.UTC))["Models"] == []
    assert len(hosted.list_models(CreationTimeAfter=dt.datetime.fromtimestamp(1, dt.UTC))["Models"]) == 5


def test_endpoints_are_listed_by_status(hosted: HostedCloud) -> None:
    hosted.endpoint("up", hosted.config("up-1"))
    assert [e["EndpointName"] for e in hosted.list_endpoints(StatusEquals="InService")["Endpoints"]] == ["up"]
    assert hosted.list_endpoints(StatusEquals="Failed")["Endpoints"] == []


def test_tags_are_added_listed_and_deleted(hosted: HostedCloud) -> None:
    hosted.model("m")
    arn = hosted.describe_model(ModelName="m")["ModelArn"]
    hosted.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "1"}, {"Key": "a", "Value": "2"}])
    hosted.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "3"}])
    assert hosted.list_tags(ResourceArn=arn) == {"Tags": [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}]}
    hosted.delete_tags(ResourceArn=arn, TagKeys=["a", "z"])
    assert hosted.list_tags(ResourceArn=arn) == {"Tags": [{"Key": "b", "Value": "3"}]}
    assert "reserved" in catch_refusal(hosted.add_tags, ResourceArn=arn, Tags=[{"Key": "aws:x", "Value": ""}])[1]
    hosted.delete_model(ModelName="m")
    assert catch_refusal(hosted.list_tags, ResourceArn=arn)[1] == f'Could not find model "{arn}".'


class TestRestart:
    """A cloud that starts on the state of one that has stopped."""

    @pytest.fixture
    def again(self, hosted: HostedCloud) -> Any:
        """Yield a function that stops the cloud, sets endpoint statuses and starts another cloud on the same state."""
        started: list[HostedCloud] = []

        def start(**changes: Any) -> HostedCloud:
            hosted.go_down()
            for name, status in changes.items():
                document = hosted.store.get("endpoint", REGION, name) or {}
                hosted.store.put("endpoint", REGION, name, {**document, "EndpointStatus": status})
            hosted.store.close()
            cloud = HostedCloud(hosted.cloud.state, hosted.cloud.endpoint_url)
            started.append(cloud)
            recover(cloud.cloud)
            return cloud

        yield start
        for cloud in started:
            cloud.go_down()

    def test_what_served_serves_and_the_first_request_waits(self, hosted: HostedCloud, again: Any) -> None:
        hosted.endpoint("r", hosted.config("r-1"))
        hosted.delete_model(ModelName="r-1")
        hosted.delete_endpoint_config(EndpointConfigName="r-1")
        cloud = again()
        assert cloud.describe_endpoint(EndpointName="r")["EndpointStatus"] == "InService"
        assert cloud.ask("r") == b"r-1"

    def test_the_model_s_archive_is_not_needed_again(self, hosted: HostedCloud, again: Any) -> None:
        hosted.endpoint("r", hosted.config("r-1"))
        hosted.config("r-2")
        hosted.update_endpoint(EndpointName="r", EndpointConfigName="r-2")
        hosted.settled("r")
        hosted.aws("s3").delete_object(Bucket="models", Key="r-2.tar.gz")
        cloud = again()
        assert cloud.ask("r") == b"r-2"
        assert "FailureReason" not in cloud.describe_endpoint(EndpointName="r")
        folder = cloud.cloud.state / "endpoints" / REGION / "r"
        assert len(list(folder.iterdir())) == 1, "what served before the update is removed"
        cloud.delete_endpoint(EndpointName="r")
        eventually(lambda: cloud.gone("r"))
        assert list(folder.iterdir()) == []

    def test_a_lost_model_is_waited_for(self, hosted: HostedCloud, again: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fleet, "MODEL_INTERVAL", 0.2)
        hosted.endpoint("r", hosted.config("r-1"))
        archive = hosted.aws("s3").get_object(Bucket="models", Key="r-1.tar.gz")["Body"].read()
        hosted.aws("s3").delete_object(Bucket="models", Key="r-1.tar.gz")
        hosted.go_down()
        remove_tree(hosted.cloud.state / "endpoints")
        cloud = again()
        reason = eventually(lambda: cloud.describe_endpoint(EndpointName="r").get("FailureReason"))
        assert "Could not find model data at s3://models/r-1.tar.gz" in reason
        cloud.aws("s3").put_object(Bucket="models", Key="r-1.tar.gz", Body=archive)
        assert cloud.ask("r") == b"r-1"
        eventually(lambda: "FailureReason" not in cloud.describe_endpoint(EndpointName="r"))

    def test_what_was_being_created_is_created(self, hosted: HostedCloud, again: Any) -> None:
        hosted.endpoint("r", hosted.config("r-1"))
        cloud = again(r="Creating")
        assert cloud.settled("r")["EndpointStatus"] == "InService"
        assert cloud.ask("r") == b"r-1"

    def test_an_interrupted_update_is_rolled_back(self, hosted: HostedCloud, again: Any) -> None:
        hosted.endpoint("r", hosted.config("r-1"))
        hosted.config("r-2", environment={"PING": "503"})
        hosted.update_endpoint(EndpointName="r", EndpointConfigName="r-2")
        eventually(lambda: "PendingDeploymentSummary" in hosted.describe_endpoint(EndpointName="r"))
        cloud = again()
        described = cloud.settled("r")
        assert described["EndpointStatus"] == "InService"
        assert described["EndpointConfigName"] == "r-1"
        assert "restarted during the update" in described["FailureReason"]
        assert "PendingDeploymentSummary" not in described
        assert cloud.ask("r") == b"r-1"

    def test_what_was_being_deleted_is_deleted(self, hosted: HostedCloud, again: Any) -> None:
        hosted.endpoint("r", hosted.config("r-1"))
        cloud = again(r="Deleting")
        eventually(lambda: cloud.gone("r"))


def test_stopping_the_cloud_ends_all_servers_quickly(hosted: HostedCloud) -> None:
    hosted.endpoint("down", hosted.config("down-1", count=2))

    def wait_long() -> None:
        with contextlib.suppress(ClientError):
            hosted.ask("down", b"sleep 30")

    waiting = threading.Thread(target=wait_long)
    waiting.start()
    (route,) = hosted.cloud.get_part(Hosting).get_endpoint(REGION, "down").router.routes
    eventually(lambda: any(server.outstanding for server in route.fleet.variants["main"].servers))
    begun = time.monotonic()
    hosted.go_down()
    waiting.join()
    assert time.monotonic() - begun < 4
    assert find_servers(hosted, "down") == []
