"""A SageMaker pipeline, from our own steps or from anything that has `.definition()`."""

from dataclasses import dataclass
from typing import Protocol

import pulumi
import pulumi_aws as aws

from components.definition_rules import check_definition


class HasDefinition(Protocol):
    """An object with a pipeline definition: our `Definition`, or a pipeline of the SageMaker Python SDK."""

    def definition(self) -> str:
        """Return the pipeline's JSON."""
        ...


@dataclass
class TrainingPipelineArgs:
    """Inputs of :class:`TrainingPipeline`.

    Attributes:
        pipeline_name: Known before the pipeline exists.
        definition: The definition; an output where a role or bucket in it is not known yet.
        role_arn: The role that starts the steps' jobs.
        description: A description for people.
        max_parallel_steps: The most steps that run at once.
    """

    pipeline_name: str
    definition: "HasDefinition | pulumi.Output[str] | str"
    role_arn: pulumi.Input[str]
    description: str = ""
    max_parallel_steps: int = 4


class TrainingPipeline(pulumi.ComponentResource):
    """A pipeline with its definition inline, refused at preview if SageMaker would refuse it; creates one Pipeline."""

    pipeline_name: pulumi.Output[str]
    pipeline_arn: pulumi.Output[str]

    def __init__(self, name: str, args: TrainingPipelineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:TrainingPipeline", name, None, opts)
        pipeline = make_pipeline(f"{name}-pipeline", args, pulumi.ResourceOptions(parent=self))
        self.pipeline_name = pipeline.pipeline_name
        self.pipeline_arn = pipeline.arn
        self.register_outputs({"pipelineName": self.pipeline_name, "pipelineArn": pipeline.arn})


def make_pipeline(name: str, args: TrainingPipelineArgs, opts: pulumi.ResourceOptions) -> aws.sagemaker.Pipeline:
    """Create the Pipeline of a component that owns one."""
    given = args.definition
    text = given if isinstance(given, str | pulumi.Output) else given.definition()
    return aws.sagemaker.Pipeline(
        name,
        pipeline_name=args.pipeline_name,
        pipeline_display_name=args.pipeline_name,
        pipeline_description=args.description or None,
        pipeline_definition=pulumi.Output.from_input(text).apply(_checked),
        role_arn=args.role_arn,
        parallelism_configuration={"max_parallel_execution_steps": args.max_parallel_steps},
        opts=opts,
    )


def _checked(text: str) -> str:
    check_definition(text)
    return text
