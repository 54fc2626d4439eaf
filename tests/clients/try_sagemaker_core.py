"""sagemaker-core: resources as classes."""

from __future__ import annotations

import json
import time

import boto3
from sagemaker.core import resources, shapes
from steps import IMAGE, REGION, ROLE, archive, expect, step

NAME, BUCKET = f"Core-{int(time.time())}", "clients-core"
s3 = boto3.client("s3")
s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=archive())
MODEL = f"s3://{BUCKET}/model.tar.gz"


def train() -> None:
    job = resources.TrainingJob.create(
        training_job_name=NAME,
        role_arn=ROLE,
        algorithm_specification=shapes.AlgorithmSpecification(training_image=IMAGE, training_input_mode="File"),
        output_data_config=shapes.OutputDataConfig(s3_output_path=f"s3://{BUCKET}/out"),
        resource_config=shapes.ResourceConfig(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=1),
        stopping_condition=shapes.StoppingCondition(max_runtime_in_seconds=60),
    )
    job.wait()
    found = resources.TrainingJob.get(NAME).model_artifacts.s3_model_artifacts
    expect(found == f"s3://{BUCKET}/out/{NAME}/output/model.tar.gz", found)


def process() -> None:
    cluster = shapes.ProcessingClusterConfig(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=1)
    resources.ProcessingJob.create(
        processing_job_name=NAME,
        role_arn=ROLE,
        app_specification=shapes.AppSpecification(image_uri=IMAGE, container_entrypoint=["true"]),
        processing_resources=shapes.ProcessingResources(cluster_config=cluster),
    ).wait()


def serve() -> None:
    container = shapes.ContainerDefinition(image=IMAGE, model_data_url=MODEL)
    resources.Model.create(model_name=NAME, primary_container=container, execution_role_arn=ROLE)
    variant = shapes.ProductionVariant(
        variant_name="a", model_name=NAME, initial_instance_count=1, instance_type="ml.m5.large"
    )
    resources.EndpointConfig.create(endpoint_config_name=NAME, production_variants=[variant])
    endpoint = resources.Endpoint.create(endpoint_name=NAME, endpoint_config_name=NAME)
    endpoint.wait_for_status("InService")
    answer = endpoint.invoke(body=b"x").body.read()
    expect(answer == b"echo x", answer)
    endpoint.delete()


def features() -> None:
    group = resources.FeatureGroup.create(
        feature_group_name=NAME,
        record_identifier_feature_name="id",
        event_time_feature_name="t",
        feature_definitions=[
            shapes.FeatureDefinition(feature_name="id", feature_type="String"),
            shapes.FeatureDefinition(feature_name="t", feature_type="Fractional"),
        ],
        role_arn=ROLE,
        online_store_config=shapes.OnlineStoreConfig(enable_online_store=True),
    )
    group.wait_for_status("Created")
    values = [
        shapes.FeatureValue(feature_name="id", value_as_string="a"),
        shapes.FeatureValue(feature_name="t", value_as_string="1"),
    ]
    group.put_record(record=values)
    expect(group.get_record(record_identifier_value_as_string="a"), "no record")
    group.delete()


def pipeline() -> None:
    fail = {"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}
    made = resources.Pipeline.create(
        pipeline_name=NAME,
        client_request_token="t" * 40,
        role_arn=ROLE,
        pipeline_definition=json.dumps({"Version": "2020-12-01", "Steps": [fail]}),
    )
    made.update(pipeline_display_name="shown")
    expect(resources.Pipeline.get(NAME.lower()).pipeline_name == NAME, "another name")


step("TrainingJob create, wait and get", train)
step("TrainingJob.get_all", lambda: expect(list(resources.TrainingJob.get_all()), "none"))
step("ProcessingJob create and wait", process)
step("Model, EndpointConfig, Endpoint, invoke", serve)
step("FeatureGroup create, put and get", features)
step("Pipeline create, update and get", pipeline)
