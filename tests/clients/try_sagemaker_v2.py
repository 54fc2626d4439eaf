"""SageMaker Python SDK v2: Estimator.fit, deploy, attach, a pipeline, a feature group."""

from __future__ import annotations

import time
from pathlib import Path

import boto3
import pandas as pd
import sagemaker
from sagemaker.estimator import Estimator
from sagemaker.feature_store.feature_group import FeatureGroup
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.model_monitor import DataCaptureConfig
from sagemaker.processing import ProcessingOutput, ScriptProcessor
from sagemaker.serverless import ServerlessInferenceConfig
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionGreaterThanOrEqualTo
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterFloat
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import CacheConfig, ProcessingStep, TrainingStep
from steps import IMAGE, ROLE, expect, expect_registered, step

SOURCE = Path(__file__).parent / "source"
NAME = f"V2-{int(time.time())}"
session = sagemaker.Session()
bucket = step("Session.default_bucket", session.default_bucket)
common = {"image_uri": IMAGE, "role": ROLE, "instance_count": 1, "instance_type": "ml.m5.large"}
ours = {**common, "sagemaker_session": session}

# -- training ----------------------------------------------------------------------------------------------------------

metrics = [{"Name": "auc", "Regex": "auc=([0-9.]+);"}]
first = Estimator(**ours, base_job_name="v2", metric_definitions=metrics, tags=[{"Key": "a", "Value": "b"}])
step("Estimator.fit", lambda: first.fit())
bare = Estimator(**ours, base_job_name="v2-bare", debugger_hook_config=False, disable_profiler=True)
step("Estimator.fit without debugger and profiler", lambda: bare.fit(logs=False))
boto3.client("s3").put_object(Bucket=bucket, Key=f"{NAME}/train/a.csv", Body=b"1,2\n")
full = Estimator(
    **ours, base_job_name="v2-full", checkpoint_s3_uri=f"s3://{bucket}/{NAME}/checkpoints", use_spot_instances=True,
    max_run=60, max_wait=60, environment={"A": "b"}, enable_sagemaker_metrics=True, max_retry_attempts=2,
)  # fmt: skip
inputs = {"train": TrainingInput(f"s3://{bucket}/{NAME}/train", content_type="text/csv")}
step("Estimator.fit with checkpoints, spot and inputs", lambda: full.fit(inputs, logs=False))
experiment = {"ExperimentName": "x", "TrialName": "t", "TrialComponentDisplayName": "d"}
step("Estimator.fit with an experiment", lambda: Estimator(**ours).fit(experiment_config=experiment, logs=False))
warm = {**ours, "keep_alive_period_in_seconds": 60}
step("Estimator.fit in a warm pool", lambda: Estimator(**warm).fit(logs=False))


def attach() -> Estimator:
    found = Estimator.attach(first.latest_training_job.name, sagemaker_session=session)
    expect(found.model_data == first.model_data, found.model_data)
    return found


attached = step("Estimator.attach", attach)

# -- serving -----------------------------------------------------------------------------------------------------------

predictor = step(
    "Estimator.deploy",
    lambda: attached.deploy(initial_instance_count=1, instance_type="ml.m5.large", endpoint_name=NAME),
)


def predict() -> None:
    answer = predictor.predict(b"x")
    expect(answer == b"echo x", answer)


step("Predictor.predict", predict)
capture = DataCaptureConfig(True, destination_s3_uri=f"s3://{bucket}/capture")
served = Model(image_uri=IMAGE, model_data=attached.model_data, role=ROLE, sagemaker_session=session)
step(
    "Model.deploy with capture",
    lambda: served.deploy(1, "ml.m5.large", endpoint_name=f"{NAME}-2", data_capture_config=capture),
)
step("Predictor.delete_endpoint", lambda: predictor.delete_endpoint())
step(
    "Estimator.deploy serverless",
    lambda: attached.deploy(serverless_inference_config=ServerlessInferenceConfig(), endpoint_name=f"{NAME}-3"),
)
step("Transformer.transform", lambda: attached.transformer(1, "ml.m5.large").transform(f"s3://{bucket}/in", wait=False))

# -- a pipeline --------------------------------------------------------------------------------------------------------

later = PipelineSession()
report = PropertyFile(name="Report", output_name="eval", path="report.json")
threshold = ParameterFloat("Threshold", 0.8)


def pipeline() -> Pipeline:
    processor = ScriptProcessor(**{**common, "sagemaker_session": later}, command=["python3"])
    evaluate = ProcessingStep(
        "Evaluate",
        step_args=processor.run(
            code=str(SOURCE / "evaluate.py"),
            outputs=[ProcessingOutput(output_name="eval", source="/opt/ml/processing/out")],
        ),
        property_files=[report],
        cache_config=CacheConfig(enable_caching=True, expire_after="P30D"),
    )
    fit = Estimator(**{**common, "sagemaker_session": later})
    train = TrainingStep("Train", step_args=fit.fit(), depends_on=[evaluate])
    model = Model(
        image_uri=IMAGE, model_data=train.properties.ModelArtifacts.S3ModelArtifacts, role=ROLE, sagemaker_session=later
    )
    register = ModelStep(
        "Register",
        step_args=model.register(
            content_types=["text/csv"], response_types=["text/csv"], inference_instances=["ml.m5.large"],
            transform_instances=["ml.m5.large"], model_package_group_name=NAME, approval_status="Approved",
        ),
    )  # fmt: skip
    measured = JsonGet(step_name="Evaluate", property_file=report, json_path="auc.value")
    gate = ConditionStep(
        name="Gate",
        conditions=[ConditionGreaterThanOrEqualTo(measured, threshold)],
        if_steps=[register],
        else_steps=[FailStep("Bad", error_message="low")],
    )
    return Pipeline(NAME, parameters=[threshold], steps=[evaluate, train, gate], sagemaker_session=later)


boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName=NAME)
made = step("Pipeline with Processing, Training, Condition, RegisterModel", pipeline)
step("Pipeline.upsert", lambda: made.upsert(role_arn=ROLE, tags=[{"Key": "a", "Value": "b"}]))
step("Pipeline.start and wait", lambda: expect_registered(made.start()))

# -- features ----------------------------------------------------------------------------------------------------------

rows = pd.DataFrame({"id": pd.Series(["a", "b"], dtype="string"), "t": [1795000000.0, 1795000001.0], "x": [1.5, 2.5]})
group = FeatureGroup(f"{NAME}-orders", sagemaker_session=session)


def features() -> None:
    group.load_feature_definitions(rows)
    group.create(
        s3_uri=f"s3://{bucket}/features", record_identifier_name="id", event_time_feature_name="t", role_arn=ROLE,
        enable_online_store=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while group.describe()["FeatureGroupStatus"] == "Creating" and time.monotonic() < deadline:
        time.sleep(0.5)
    group.ingest(rows, max_workers=2, wait=True)
    expect(group.get_record("a"), "no record")


step("FeatureGroup create, ingest and get", features)
step("FeatureGroup.update_feature_metadata", lambda: group.update_feature_metadata("x", description="d"))
