"""The publishing of features: a pipeline that keeps the feature store up to date, and its schedule."""

from dataclasses import dataclass

import pulumi

from components.schedule import ScheduleArgs, make_schedule
from components.training_pipeline import TrainingPipelineArgs, make_pipeline


@dataclass
class FeaturePublishingArgs:
    """Inputs of :class:`FeaturePublishing`.

    Attributes:
        pipeline: The publishing pipeline.
        schedule: The schedule that starts it.
    """

    pipeline: TrainingPipelineArgs
    schedule: ScheduleArgs


class FeaturePublishing(pulumi.ComponentResource):
    """The publishing of features; creates a Pipeline and a Schedule."""

    pipeline_arn: pulumi.Output[str]

    def __init__(self, name: str, args: FeaturePublishingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:FeaturePublishing", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        pipeline = make_pipeline(f"{name}-pipeline", args.pipeline, child)
        make_schedule(f"{name}-schedule", args.schedule, pipeline.arn, child)
        self.pipeline_arn = pipeline.arn
        self.register_outputs({"pipelineArn": pipeline.arn})
