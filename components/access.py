"""The roles of one use case, each with no more than it needs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws


@dataclass
class AccessArgs:
    """Inputs of :class:`Access`.

    Attributes:
        account: The account of everything named here.
        region: The region of everything named here.
        partition: `aws`, `aws-cn` or `aws-us-gov`.
        bucket_arn: The lake.
        key_arn: The lake's key.
        pipelines: Names of the pipelines that run under these roles.
        endpoint: The endpoint's name.
        model_package_group: The registry group's name.
        feature_groups: Names of the feature groups.
        metric_namespace: Where the monitor publishes.
    """

    account: str
    region: str
    bucket_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    pipelines: Sequence[str]
    endpoint: str
    model_package_group: str
    feature_groups: Sequence[str] = ()
    metric_namespace: str = ""
    partition: str = "aws"

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


Statement = dict[str, Any]


class Access(pulumi.ComponentResource):
    """Four roles: pipeline, job, endpoint, trigger. No policy names `*` as its resource but where AWS has no other way.

    Makes a Role and a RolePolicy each. Trust is narrowed to this account and to the resources that may assume it.
    """

    pipeline_role_arn: pulumi.Output[str]
    job_role_arn: pulumi.Output[str]
    endpoint_role_arn: pulumi.Output[str]
    trigger_role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: AccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:Access", name, None, opts)
        sagemaker = args.arn("sagemaker", "*")
        pipelines = [args.arn("sagemaker", f"pipeline/{pipeline}") for pipeline in args.pipelines]
        job = self._role(name, "job", args, "sagemaker.amazonaws.com", sagemaker, _job_statements(args))
        endpoint = self._role(name, "endpoint", args, "sagemaker.amazonaws.com", sagemaker, _endpoint_statements(args))
        pipeline = self._role(
            name, "pipeline", args, "sagemaker.amazonaws.com", sagemaker, _pipeline_statements(args), passes=job.arn
        )
        start = _allow(["sagemaker:StartPipelineExecution"], pipelines)
        trigger = self._role(
            name, "trigger", args, ["events.amazonaws.com", "scheduler.amazonaws.com"], None, lambda *_: [start]
        )
        self.pipeline_role_arn = pipeline.arn
        self.job_role_arn = job.arn
        self.endpoint_role_arn = endpoint.arn
        self.trigger_role_arn = trigger.arn
        self.register_outputs(
            {
                "pipelineRoleArn": pipeline.arn,
                "jobRoleArn": job.arn,
                "endpointRoleArn": endpoint.arn,
                "triggerRoleArn": trigger.arn,
            }
        )

    def _role(
        self,
        name: str,
        use: str,
        args: AccessArgs,
        services: str | list[str],
        source: str | None,
        statements: Any,
        passes: pulumi.Output[str] | None = None,
    ) -> aws.iam.Role:
        role = aws.iam.Role(
            f"{name}-{use}",
            assume_role_policy=_trust(services, args.account, source),
            opts=pulumi.ResourceOptions(parent=self),
        )
        policy = pulumi.Output.all(args.bucket_arn, args.key_arn, passes or "").apply(
            lambda known: _policy([*statements(known[0], known[1]), *([_pass(known[2])] if known[2] else [])])
        )
        aws.iam.RolePolicy(
            f"{name}-{use}-policy", role=role.id, policy=policy, opts=pulumi.ResourceOptions(parent=self)
        )
        return role


def _policy(statements: list[Statement]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, sort_keys=True)


def _allow(actions: list[str], resources: Sequence[str], **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": actions, "Resource": list(resources), **more}


def _pass(role_arn: str) -> Statement:
    return _allow(
        ["iam:PassRole"], [role_arn], Condition={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    )


def _trust(services: str | list[str], account: str, source: str | None) -> str:
    condition: dict[str, Any] = {"StringEquals": {"aws:SourceAccount": account}}
    if source is not None:
        condition["ArnLike"] = {"aws:SourceArn": source}
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": services},
        "Action": "sts:AssumeRole",
        "Condition": condition,
    }
    return _policy([statement])


def _lake(bucket_arn: str, key_arn: str, write: bool) -> list[Statement]:
    objects = ["s3:GetObject", *(["s3:PutObject", "s3:AbortMultipartUpload"] if write else [])]
    keys = ["kms:Decrypt", "kms:DescribeKey", *(["kms:GenerateDataKey*", "kms:Encrypt"] if write else [])]
    return [
        _allow(["s3:ListBucket", "s3:GetBucketLocation"], [bucket_arn]),
        _allow(objects, [f"{bucket_arn}/*"]),
        _allow(keys, [key_arn]),
    ]


def _logs(args: AccessArgs, kinds: Sequence[str]) -> Statement:
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    return _allow(actions, [args.arn("logs", f"log-group:/aws/sagemaker/{kind}*") for kind in kinds])


def _images() -> list[Statement]:
    # GetAuthorizationToken knows no resources.
    pull = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
    return [_allow(["ecr:GetAuthorizationToken"], ["*"]), _allow(pull, ["arn:aws:ecr:*:*:repository/*"])]


def _feature_groups(args: AccessArgs, actions: list[str]) -> list[Statement]:
    groups = [args.arn("sagemaker", f"feature-group/{group}") for group in args.feature_groups]
    return [_allow(actions, groups)] if groups else []


def _job_statements(args: AccessArgs) -> Any:
    def statements(bucket_arn: str, key_arn: str) -> list[Statement]:
        group = args.model_package_group
        registry = [
            args.arn("sagemaker", f"model-package-group/{group}"),
            args.arn("sagemaker", f"model-package/{group}/*"),
        ]
        serving = [
            args.arn("sagemaker", f"endpoint/{args.endpoint}"),
            args.arn("sagemaker", f"endpoint-config/{args.endpoint}*"),
            args.arn("sagemaker", f"model/{args.endpoint}*"),
        ]
        # Metrics know no resources; the namespace is the bound.
        publish = _allow(
            ["cloudwatch:PutMetricData"],
            ["*"],
            Condition={"StringLike": {"cloudwatch:namespace": [args.metric_namespace, "/aws/sagemaker/*"]}},
        )
        return [
            *_lake(bucket_arn, key_arn, write=True),
            _logs(args, ["TrainingJobs", "ProcessingJobs"]),
            *_images(),
            *_feature_groups(
                args,
                ["sagemaker:DescribeFeatureGroup", "sagemaker:PutRecord", "sagemaker:GetRecord"],
            ),
            _allow(["sagemaker:ListModelPackages", "sagemaker:DescribeModelPackage"], registry),
            _allow(
                ["sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"], serving
            ),
            publish,
        ]

    return statements


def _endpoint_statements(args: AccessArgs) -> Any:
    def statements(bucket_arn: str, key_arn: str) -> list[Statement]:
        return [
            *_lake(bucket_arn, key_arn, write=True),
            _logs(args, ["Endpoints"]),
            *_images(),
            *_feature_groups(args, ["sagemaker:GetRecord", "sagemaker:BatchGetRecord"]),
            # The deployment asks for alarms under the endpoint's role.
            _allow(["cloudwatch:DescribeAlarms"], [args.arn("cloudwatch", f"alarm:{args.endpoint}-*")]),
        ]

    return statements


def _pipeline_statements(args: AccessArgs) -> Any:
    def statements(bucket_arn: str, key_arn: str) -> list[Statement]:
        jobs = [args.arn("sagemaker", f"{kind}/pipelines-*") for kind in ("training-job", "processing-job")]
        verbs = ["CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob"]
        verbs += ["CreateProcessingJob", "DescribeProcessingJob", "StopProcessingJob", "AddTags"]
        group = args.model_package_group
        registry = [
            args.arn("sagemaker", f"model-package-group/{group}"),
            args.arn("sagemaker", f"model-package/{group}/*"),
        ]
        register = ["sagemaker:CreateModelPackage", "sagemaker:DescribeModelPackage", "sagemaker:AddTags"]
        return [
            *_lake(bucket_arn, key_arn, write=False),
            _allow([f"sagemaker:{verb}" for verb in verbs], jobs),
            _allow([*register, "sagemaker:DescribeModelPackageGroup"], registry),
        ]

    return statements
