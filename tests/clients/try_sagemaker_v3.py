"""SageMaker Python SDK v3: a pipeline, ModelTrainer, an endpoint, a feature group."""

from __future__ import annotations

import time
from pathlib import Path

import boto3
import pandas as pd
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.shapes import (
    OfflineStoreConfig,
    OnlineStoreConfig,
    ProcessingOutput,
    ProcessingS3Output,
    S3StorageConfig,
    Tag,
)
from sagemaker.core.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.core.workflow.functions import JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.feature_store import (
    FeatureGroupManager,
    create_athena_query,
    ingest_dataframe,
    load_feature_definitions_from_dataframe,
)
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import CheckpointConfig, Compute, InputData, SourceCode, StoppingCondition
from steps import IMAGE, ROLE, archive, expect, expect_registered, step

SOURCE = str(Path(__file__).parent / "source")
NAME = f"V3-{int(time.time())}"
session = Session()
bucket = session.default_bucket()
client = boto3.client("sagemaker")


def trainer(kind: str, compute: Compute | None = None, **more: object) -> ModelTrainer:
    compute = compute or Compute(instance_type="ml.m5.large", instance_count=1)
    return ModelTrainer(
        training_image=IMAGE, role=ROLE, sagemaker_session=session, compute=compute, base_job_name=kind, **more
    )


# -- training ----------------------------------------------------------------------------------------------------------

step("ModelTrainer.train of an image", lambda: trainer("plain").train(wait=True, logs=True))
code = {"source_code": SourceCode(source_dir=SOURCE, entry_script="train.py"), "hyperparameters": {"eta": 0.1}}
step("ModelTrainer.train of source code", lambda: trainer("code", **code).train(wait=True, logs=False))
command = SourceCode(source_dir=SOURCE, command="python train.py")
step("ModelTrainer.train of a command", lambda: trainer("command", source_code=command).train(wait=True, logs=False))
kept = {"checkpoint_config": CheckpointConfig(s3_uri=f"s3://{bucket}/{NAME}/checkpoints")}
step("ModelTrainer.train with checkpoints", lambda: trainer("kept", **kept).train(wait=True, logs=False))
spot = Compute(instance_type="ml.m5.large", instance_count=1, enable_managed_spot_training=True)
limits = StoppingCondition(max_runtime_in_seconds=60, max_wait_time_in_seconds=60)
step(
    "ModelTrainer.train on spot", lambda: trainer("spot", spot, stopping_condition=limits).train(wait=True, logs=False)
)
channel = [InputData(channel_name="train", data_source=SOURCE)]
step(
    "ModelTrainer.train of local files",
    lambda: trainer("files").train(input_data_config=channel, wait=True, logs=False),
)

# -- serving -----------------------------------------------------------------------------------------------------------

boto3.client("s3").put_object(Bucket=bucket, Key=f"{NAME}/model.tar.gz", Body=archive())
builder = step(
    "ModelBuilder",
    lambda: ModelBuilder(
        s3_model_data_url=f"s3://{bucket}/{NAME}/model.tar.gz", image_uri=IMAGE, sagemaker_session=session,
        role_arn=ROLE, instance_type="ml.m5.large",
    ),
)  # fmt: skip
step("ModelBuilder.build", lambda: builder.build(model_name=NAME))
endpoint = step(
    "ModelBuilder.deploy",
    lambda: builder.deploy(endpoint_name=NAME, instance_type="ml.m5.large", initial_instance_count=1),
)


def invoke() -> None:
    answer = endpoint.invoke(body=b"x", content_type="text/plain").body.read()
    expect(answer == b"echo x", answer)


step("Endpoint.invoke", invoke)
step("Endpoint.delete", lambda: endpoint.delete())

# -- a pipeline --------------------------------------------------------------------------------------------------------

later = PipelineSession()
report = PropertyFile(name="Report", output_name="eval", path="report.json")
threshold = ParameterFloat(name="Threshold", default_value=0.8)


def pipeline() -> Pipeline:
    processor = ScriptProcessor(
        image_uri=IMAGE, command=["python3"], role=ROLE, instance_count=1, instance_type="ml.m5.large",
        sagemaker_session=later, base_job_name="evaluate",
    )  # fmt: skip
    place = ProcessingS3Output(
        s3_uri=f"s3://{bucket}/{NAME}/eval", local_path="/opt/ml/processing/out", s3_upload_mode="EndOfJob"
    )
    evaluate = ProcessingStep(
        name="Evaluate",
        step_args=processor.run(
            code=f"{SOURCE}/evaluate.py", outputs=[ProcessingOutput(output_name="eval", s3_output=place)]
        ),
        property_files=[report],
        cache_config=CacheConfig(enable_caching=True, expire_after="30d"),
    )
    fit = ModelTrainer(
        training_image=IMAGE, role=ROLE, sagemaker_session=later, base_job_name="fit",
        compute=Compute(instance_type="ml.m5.large", instance_count=1), **code,
    )  # fmt: skip
    train = TrainingStep(name="Train", step_args=fit.train())
    model = ModelBuilder(
        s3_model_data_url=train.properties.ModelArtifacts.S3ModelArtifacts, image_uri=IMAGE, sagemaker_session=later,
        role_arn=ROLE,
    )  # fmt: skip
    register = ModelStep(
        name="Register",
        step_args=model.register(
            model_package_group_name=NAME, content_types=["text/csv"], response_types=["text/csv"],
            inference_instances=["ml.m5.large"], transform_instances=["ml.m5.large"], approval_status="Approved",
        ),
    )  # fmt: skip
    measured = JsonGet(step_name="Evaluate", property_file=report, json_path="auc.value")
    gate = ConditionStep(
        name="Gate",
        conditions=[ConditionGreaterThanOrEqualTo(left=measured, right=threshold)],
        if_steps=[register],
        else_steps=[FailStep(name="Bad", error_message="too low")],
    )
    return Pipeline(name=NAME, parameters=[threshold], steps=[evaluate, train, gate], sagemaker_session=later)


client.create_model_package_group(ModelPackageGroupName=NAME)
made = step("Pipeline with Processing, Training, Condition, RegisterModel", pipeline)
step("Pipeline.upsert", lambda: made.upsert(role_arn=ROLE))
step("Pipeline.start and wait", lambda: expect_registered(made.start()))
step("Pipeline.delete", lambda: made.delete())

# -- features ----------------------------------------------------------------------------------------------------------

rows = pd.DataFrame(
    {"id": pd.Series(["a", "b"], dtype="string"), "t": [1795000000.0, 1795000001.0], "x": [1.5, 2.5], "n": [1, 2]}
)


def group() -> None:
    made = FeatureGroupManager.create(
        feature_group_name=f"{NAME}-orders",
        record_identifier_feature_name="id",
        event_time_feature_name="t",
        feature_definitions=load_feature_definitions_from_dataframe(rows),
        role_arn=ROLE,
        online_store_config=OnlineStoreConfig(enable_online_store=True),
        offline_store_config=OfflineStoreConfig(s3_storage_config=S3StorageConfig(s3_uri=f"s3://{bucket}/offline")),
        tags=[Tag(key="a", value="b")],
    )
    made.wait_for_status("Created")
    ingest_dataframe(f"{NAME}-orders", rows, max_workers=2, wait=True)
    record = made.get_record(record_identifier_value_as_string="a")
    expect(record, record)


step("FeatureGroup create, ingest and get", group)
step(
    "Athena query of a feature group",
    lambda: create_athena_query(f"{NAME}-orders", session).run("select 1", f"s3://{bucket}/q"),
)
