"""Client tokens, caches, versions and events of pipelines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually
from tests.local.jobs import ROLE, make_bucket
from tests.local.pipelines import (
    catch_refusal,
    compare,
    create,
    definition,
    describe_job,
    fork,
    get,
    join,
    list_steps,
    process,
    reporting_program,
    run_pipeline,
    start,
    wait_for_execution,
    waiting_program,
)

TOKEN = "token-" + "0123456789" * 3


# -- tokens and caches -----------------------------------------------------------------------------------------------


def test_a_client_token_starts_only_one_execution(cloud_daemon: CloudDaemon) -> None:
    client = cloud_daemon.client("sagemaker")
    parameters = [{"Name": "P", "Type": "String", "DefaultValue": ""}]
    arn = create(client, "Once", fork("If", compare("Equals", 1, 1)), parameters=parameters)
    first = client.start_pipeline_execution(PipelineName="Once", ClientRequestToken=TOKEN)["PipelineExecutionArn"]
    again = client.start_pipeline_execution(PipelineName="Once", ClientRequestToken=TOKEN)["PipelineExecutionArn"]
    by_arn = client.start_pipeline_execution(PipelineName=arn)["PipelineExecutionArn"]
    assert first == again != by_arn
    assert arn.endswith(":pipeline/once")
    assert re.fullmatch(rf"{arn}/execution/[a-z0-9]{{12}}", first)
    code, message = catch_refusal(
        client.start_pipeline_execution,
        PipelineName="Once",
        ClientRequestToken=TOKEN,
        PipelineParameters=[{"Name": "P", "Value": "x"}],
    )
    assert code == "ConflictException"
    assert TOKEN in message
    listed = client.list_pipeline_executions(PipelineName="Once")["PipelineExecutionSummaries"]
    assert [entry["PipelineExecutionArn"] for entry in listed] == [by_arn, first]
    described = wait_for_execution(client, first)
    assert re.fullmatch(r"execution-\d{13}", described["PipelineExecutionDisplayName"])
    assert described["PipelineExperimentConfig"] == {"ExperimentName": "once", "TrialName": first[-12:]}


def test_a_cached_step_starts_no_job(cloud_daemon: CloudDaemon) -> None:
    client, _ = cloud_daemon.client("sagemaker"), make_bucket(cloud_daemon, "cache")
    steps = (
        process(
            "Kept",
            reporting_program({"n": 1}),
            outputs={"out": join("s3://cache", get("Execution.PipelineExecutionId"))},
            Environment={"MODE": get("Parameters.Mode")},
            CacheConfig={"Enabled": True, "ExpireAfter": "P1D"},
        ),
        process("Use", Environment={"U": get("Steps.Kept.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri")}),
    )
    create(client, "Cached", *steps, parameters=[{"Name": "Mode", "Type": "String", "DefaultValue": "a"}])
    arn = start(client, "Cached")
    assert wait_for_execution(client, arn)["PipelineExecutionStatus"] == "Succeeded"
    source = list_steps(client, arn)["Kept"]
    assert "CacheHitResult" not in source
    for _ in range(2):
        _, hit = run_pipeline(client, "Cached")
        assert hit["Kept"]["CacheHitResult"] == {"SourcePipelineExecutionArn": arn}
        assert hit["Kept"]["Metadata"] == source["Metadata"]
        assert "CacheHitResult" not in hit["Use"]
    assert describe_job(client, hit["Use"])["Environment"] == {"U": f"s3://cache/{arn[-12:]}"}
    _, other = run_pipeline(client, "Cached", Mode="b")
    assert "CacheHitResult" not in other["Kept"]
    steps[0]["CacheConfig"]["ExpireAfter"] = "PT0.001S"
    text = definition(*steps, parameters=[{"Name": "Mode", "Type": "String", "DefaultValue": "a"}])
    client.update_pipeline(PipelineName="Cached", PipelineDefinition=text)
    _, late = run_pipeline(client, "Cached")
    assert "CacheHitResult" not in late["Kept"]


# -- versions and events ---------------------------------------------------------------------------------------------


def test_an_execution_keeps_its_definition(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    client, s3 = cloud_daemon.client("sagemaker"), make_bucket(cloud_daemon, "definitions")
    go = tmp_path / "go"
    first = definition(process("Wait", waiting_program(go)), process("Old", after=("Wait",)))
    s3.put_object(Bucket="definitions", Key="p.json", Body=first.encode())
    place = {"Bucket": "definitions", "ObjectKey": "p.json"}
    tags = [{"Key": "team", "Value": "a"}]
    arn = client.create_pipeline(
        PipelineName="Versions", PipelineDefinitionS3Location=place, RoleArn=ROLE, Tags=tags
    )["PipelineArn"]  # fmt: skip
    assert client.list_tags(ResourceArn=arn)["Tags"] == tags
    execution = start(client, "Versions")
    eventually((tmp_path / "go.running").exists)
    second = definition(process("New"))
    assert client.update_pipeline(PipelineName="Versions", PipelineDefinition=second)["PipelineVersionId"] == 2
    same = client.update_pipeline(PipelineName="Versions", PipelineDefinition=second, PipelineDescription="d")
    assert same["PipelineVersionId"] == 2
    go.touch()
    wait_for_execution(client, execution)
    assert set(list_steps(client, execution)) == {"Wait", "Old"}
    kept = client.describe_pipeline_definition_for_execution(PipelineExecutionArn=execution)
    assert kept["PipelineDefinition"] == first
    described = client.describe_pipeline(PipelineName=arn)
    assert (described["PipelineDefinition"], described["PipelineDescription"]) == (second, "d")
    assert described["LastRunTime"] > described["CreationTime"]
    assert client.describe_pipeline(PipelineName="Versions", PipelineVersionId=1)["PipelineDefinition"] == first
    old = client.start_pipeline_execution(PipelineName="Versions", PipelineVersionId=1)["PipelineExecutionArn"]
    wait_for_execution(client, old)
    assert set(list_steps(client, old)) == {"Wait", "Old"}
    versions = client.list_pipeline_versions(PipelineName="Versions")["PipelineVersionSummaries"]
    assert [version["PipelineVersionId"] for version in versions] == [2, 1]
    assert versions[1]["LastExecutionPipelineExecutionArn"] == old
    listed = client.list_pipelines(PipelineNamePrefix="Vers")["PipelineSummaries"]
    assert [(entry["PipelineName"], entry["PipelineArn"]) for entry in listed] == [("Versions", arn)]
    client.delete_pipeline(PipelineName="Versions")
    for call, params in (
        (client.describe_pipeline, {"PipelineName": "Versions"}),
        (client.delete_pipeline, {"PipelineName": "Versions"}),
        (client.start_pipeline_execution, {"PipelineName": arn}),
        (client.describe_pipeline_execution, {"PipelineExecutionArn": execution}),
    ):
        code, message = catch_refusal(call, **params)
        assert (code, message.endswith("does not exist.")) == ("ResourceNotFound", True)


def test_executions_and_steps_send_events(cloud_daemon: CloudDaemon) -> None:
    client, sqs, events = (cloud_daemon.client(name) for name in ("sagemaker", "sqs", "events"))
    url = sqs.create_queue(QueueName="pipeline-events")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**allowed, "Resource": queue}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    arn = create(client, "Told", process("Job"))
    pattern = {"source": ["aws.sagemaker"], "detail": {"pipelineArn": [arn]}}
    events.put_rule(Name="told", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="told", Targets=[{"Id": "q", "Arn": queue}])
    execution = start(client, "Told")
    got: list[dict[str, Any]] = []

    def all_there() -> bool:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        got.extend(json.loads(message["Body"]) for message in answer.get("Messages", []))
        return len(got) >= 5

    eventually(all_there, 20)
    wait_for_execution(client, execution)
    assert {tuple(event["resources"]) for event in got} == {(arn, execution)}
    name = "SageMaker Model Building Pipeline Execution"
    changes = {
        (event["detail"].get("previousPipelineExecutionStatus"), event["detail"]["currentPipelineExecutionStatus"])
        for event in got
        if event["detail-type"] == f"{name} Status Change"
    }
    assert changes == {(None, "Executing"), ("Executing", "Succeeded")}
    steps = [event["detail"] for event in got if event["detail-type"] == f"{name} Step Status Change"]
    assert {(step.get("previousStepStatus"), step["currentStepStatus"]) for step in steps} == {
        (None, "Starting"), ("Starting", "Executing"), ("Executing", "Succeeded"),
    }  # fmt: skip
    (last,) = (step for step in steps if step["currentStepStatus"] == "Succeeded")
    made = list_steps(client, execution)["Job"]["Metadata"]["ProcessingJob"]["Arn"]
    assert last["metadata"] == {"processingJob": {"arn": made}}
    assert (last["stepName"], last["stepType"]) == ("Job", "Processing")
    assert last["stepEndTime"] >= last["stepStartTime"]
