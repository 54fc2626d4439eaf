"""The roles of one use case, each with no more than it needs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pulumi
import pulumi_aws as aws


@dataclass
class DeployAccess:
    """What builds may use that deploy models.

    Attributes:
        project: The name of the CodeBuild project, and of the rule that starts it.
        source: The key of the archive in the lake.
        stack: The name of Pulumi's stack.
        backend: The URL of Pulumi's backend; of one in S3, the builds may use the stack's own objects.
        parameters: The names of SSM parameters that builds read.
        keys: The ARNs of KMS keys that open them, and the stack's secrets.
    """

    project: str
    source: str
    stack: str
    backend: str = ""
    parameters: Sequence[str] = ()
    keys: Sequence[str] = ()


@dataclass
class AccessArgs:
    """Inputs of :class:`Access`.

    Attributes:
        account: The account of everything named here.
        region: The region of everything named here.
        partition: `aws`, `aws-cn` or `aws-us-gov`.
        bucket_arn: The lake.
        key_arn: The lake's key.
        prefix: The only folder of the lake that these roles may access; empty where the lake is the use case's own.
        pipelines: Names of the pipelines that run under these roles.
        endpoint: The endpoint's name.
        model_package_group: The registry group's name.
        feature_groups: Names of the feature groups.
        metric_namespace: Where the monitor publishes.
        dead_letter_queue: Name of the queue for what a schedule could not start.
        topic: Name of the topic on which jobs tell people what they should know; empty where there is none.
        parameters: Names of the SSM parameters with what people have decided.
        deploys: What builds need that deploy models; None creates no role for them.
        code_folders: The folders of the lake with code, which jobs and endpoints may only read.
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
    dead_letter_queue: str = ""
    topic: str = ""
    parameters: Sequence[str] = ()
    deploys: "DeployAccess | None" = None
    code_folders: Sequence[str] = ()
    partition: str = "aws"
    prefix: str = ""

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of this account and region.

        Args:
            service: The service's name in ARNs, e.g. `sagemaker`.
            resource: All that follows the account, e.g. `pipeline/flights-dev-training`; it may contain `*`.
        """
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


Statement = dict[str, Any]


class Access(pulumi.ComponentResource):
    """The roles of a use case: pipeline, job, endpoint, trigger, and deploy where builds deploy its models.

    Creates a Role and a RolePolicy for each. A policy names `*` as its resource only where AWS has no other way. Trust
    is narrowed to this account and to the resources that may assume the role.
    """

    pipeline_role_arn: pulumi.Output[str]
    job_role_arn: pulumi.Output[str]
    endpoint_role_arn: pulumi.Output[str]
    trigger_role_arn: pulumi.Output[str]
    deploy_role_arn: "pulumi.Output[str] | None"

    def __init__(self, name: str, args: AccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:Access", name, None, opts)
        sagemaker = args.arn("sagemaker", "*")
        pipelines = [args.arn("sagemaker", f"pipeline/{pipeline}") for pipeline in args.pipelines]
        job = self._role(name, "job", args, "sagemaker.amazonaws.com", sagemaker, _job_statements(args))
        endpoint = self._role(name, "endpoint", args, "sagemaker.amazonaws.com", sagemaker, _endpoint_statements(args))
        executions = [f"{each}/*" for each in pipelines]
        pipeline = self._role(
            name, "pipeline", args, "sagemaker.amazonaws.com", executions, _pipeline_statements(args), passes=job
        )
        start = [_allow(["sagemaker:StartPipelineExecution"], pipelines)]
        if args.dead_letter_queue:
            start.append(_allow(["sqs:SendMessage"], [args.arn("sqs", args.dead_letter_queue)]))
        # For a schedule, a trust policy sees its group.
        triggers = [
            *(args.arn("events", f"rule/{pipeline}-*") for pipeline in args.pipelines),
            args.arn("scheduler", "schedule-group/default"),
        ]
        self.deploy_role_arn = None
        if args.deploys:
            project = args.arn("codebuild", f"project/{args.deploys.project}")
            start.append(_allow(["codebuild:StartBuild"], [project]))
            triggers.append(args.arn("events", f"rule/{args.deploys.project}"))
            self.deploy_role_arn = self._role(
                name, "deploy", args, "codebuild.amazonaws.com", project, _deploy_statements(args), passes=endpoint
            )
        trigger = self._role(
            name, "trigger", args, ["events.amazonaws.com", "scheduler.amazonaws.com"], triggers, lambda *_: start
        )
        self.pipeline_role_arn = pipeline
        self.job_role_arn = job
        self.endpoint_role_arn = endpoint
        self.trigger_role_arn = trigger
        self.register_outputs(
            {
                "pipelineRoleArn": pipeline,
                "jobRoleArn": job,
                "endpointRoleArn": endpoint,
                "triggerRoleArn": trigger,
                **({"deployRoleArn": self.deploy_role_arn} if self.deploy_role_arn else {}),
            }
        )

    def _role(
        self,
        name: str,
        use: str,
        args: AccessArgs,
        services: str | list[str],
        source: str | list[str],
        statements: Any,
        passes: pulumi.Output[str] | None = None,
    ) -> pulumi.Output[str]:
        """Create a role with its policy and return its ARN, which is known only once the policy is attached."""
        role = aws.iam.Role(
            f"{name}-{use}-role",
            assume_role_policy=_trust(services, args.account, source),
            opts=pulumi.ResourceOptions(parent=self),
        )
        policy = pulumi.Output.all(args.bucket_arn, args.key_arn, passes or "").apply(
            lambda known: _policy([*statements(known[0], known[1]), *([_pass(known[2])] if known[2] else [])])
        )
        attached = aws.iam.RolePolicy(
            f"{name}-{use}-policy", role=role.id, policy=policy, opts=pulumi.ResourceOptions(parent=self)
        )
        return pulumi.Output.all(role.arn, attached.id).apply(lambda known: str(known[0]))


def _policy(statements: list[Statement]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, sort_keys=True)


def _allow(actions: list[str], resources: Sequence[str], **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": actions, "Resource": list(resources), **more}


def _pass(role_arn: str) -> Statement:
    return _allow(
        ["iam:PassRole"], [role_arn], Condition={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    )


def _trust(services: str | list[str], account: str, source: str | list[str]) -> str:
    condition = {"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": source}}
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": services},
        "Action": "sts:AssumeRole",
        "Condition": condition,
    }
    return _policy([statement])


def _lake(args: AccessArgs, bucket_arn: str, key_arn: str, write: bool) -> list[Statement]:
    objects = ["s3:GetObject", *(["s3:PutObject", "s3:AbortMultipartUpload"] if write else [])]
    keys = ["kms:Decrypt", "kms:DescribeKey", *(["kms:GenerateDataKey*", "kms:Encrypt"] if write else [])]
    listing = [_allow(["s3:ListBucket", "s3:GetBucketLocation"], [bucket_arn])]
    if args.prefix:
        # With the slash: a prefix is not a folder, and `churn` alone would list `churn-eu/`, too.
        own = {"StringLike": {"s3:prefix": [f"{args.prefix}/*"]}}
        listing = [
            _allow(["s3:GetBucketLocation"], [bucket_arn]),
            _allow(["s3:ListBucket"], [bucket_arn], Condition=own),
        ]
    return [*listing, _allow(objects, [_objects(args, bucket_arn)]), _allow(keys, [key_arn])]


def _protect_code(args: AccessArgs, bucket_arn: str) -> list[Statement]:
    """Return the statements by which what runs a model cannot replace the code that others run."""
    root = _objects(args, bucket_arn).removesuffix("*")
    folders = [f"{root}{each}/*" for each in args.code_folders]
    return [{"Effect": "Deny", "Action": ["s3:PutObject"], "Resource": folders}] if folders else []


def _parameter(args: AccessArgs, name: str) -> str:
    return args.arn("ssm", f"parameter{name}")


def _objects(args: AccessArgs, bucket_arn: str) -> str:
    return f"{bucket_arn}/{args.prefix}/*" if args.prefix else f"{bucket_arn}/*"


def _logs(args: AccessArgs, kinds: Sequence[str]) -> Statement:
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    return _allow(actions, [args.arn("logs", f"log-group:/aws/sagemaker/{kind}*") for kind in kinds])


def _images(args: AccessArgs) -> list[Statement]:
    # GetAuthorizationToken supports no resources; images may be in a registry of another account.
    pull = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
    repositories = f"arn:{args.partition}:ecr:*:*:repository/*"
    return [_allow(["ecr:GetAuthorizationToken"], ["*"]), _allow(pull, [repositories])]


def _volumes(key_arn: str) -> Statement:
    """Return the statement for the grant that attaches a job's encrypted volume, and which only AWS may be given."""
    return _allow(["kms:CreateGrant"], [key_arn], Condition={"Bool": {"kms:GrantIsForAWSResource": "true"}})


def _offline_store(args: AccessArgs, bucket_arn: str) -> list[Statement]:
    """Return the statements, in addition to objects, for the role that writes the feature store's offline store."""
    return [_allow(["s3:GetBucketAcl"], [bucket_arn]), _allow(["s3:PutObjectAcl"], [_objects(args, bucket_arn)])]


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
        # PutMetricData supports no resources; the namespace limits it.
        publish = _allow(
            ["cloudwatch:PutMetricData"],
            ["*"],
            Condition={"StringLike": {"cloudwatch:namespace": [args.metric_namespace, "/aws/sagemaker/*"]}},
        )
        return [
            *_lake(args, bucket_arn, key_arn, write=True),
            *_protect_code(args, bucket_arn),
            _volumes(key_arn),
            *(_offline_store(args, bucket_arn) if args.feature_groups else []),
            _logs(args, ["TrainingJobs", "ProcessingJobs"]),
            *_images(args),
            *_feature_groups(
                args,
                ["sagemaker:DescribeFeatureGroup", "sagemaker:PutRecord", "sagemaker:GetRecord"],
            ),
            _allow(["sagemaker:ListModelPackages", "sagemaker:DescribeModelPackage"], registry),
            _allow(
                ["sagemaker:ListPipelineExecutions"],
                [args.arn("sagemaker", f"pipeline/{pipeline}") for pipeline in args.pipelines],
            ),
            _allow(
                ["sagemaker:DescribeEndpoint", "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel"], serving
            ),
            # Retraining is tried again while one of the stack's alarms stays in ALARM.
            _allow(["cloudwatch:DescribeAlarms"], [args.arn("cloudwatch", f"alarm:{args.endpoint}-*")]),
            # What people have snoozed, and whether they have decided not to train.
            *(
                [_allow(["ssm:GetParameter"], [_parameter(args, each) for each in args.parameters])]
                if args.parameters
                else []
            ),
            # What was requested is compared with what was captured; the action supports no resources.
            _allow(["cloudwatch:GetMetricStatistics"], ["*"]),
            *([_allow(["sns:Publish"], [args.arn("sns", args.topic)])] if args.topic else []),
            publish,
        ]

    return statements


def _endpoint_statements(args: AccessArgs) -> Any:
    def statements(bucket_arn: str, key_arn: str) -> list[Statement]:
        return [
            *_lake(args, bucket_arn, key_arn, write=True),
            *_protect_code(args, bucket_arn),
            _logs(args, ["Endpoints"]),
            *_images(args),
            *_feature_groups(args, ["sagemaker:GetRecord", "sagemaker:BatchGetRecord"]),
            # A deployment reads its alarms with the endpoint's role.
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
            *_lake(args, bucket_arn, key_arn, write=False),
            _volumes(key_arn),
            _allow([f"sagemaker:{verb}" for verb in verbs], jobs),
            _allow([*register, "sagemaker:DescribeModelPackageGroup"], registry),
        ]

    return statements


def _deploy_statements(args: AccessArgs) -> Any:
    deploys = args.deploys
    assert deploys is not None

    def statements(bucket_arn: str, key_arn: str) -> list[Statement]:
        logs = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
        decided = args.arn("ssm", f"parameter/millrace/{args.endpoint}/*")
        found = [
            _allow(logs, [args.arn("logs", f"log-group:/aws/codebuild/{deploys.project}*")]),
            # The archive with the revision, and whether the archive of a model exists.
            *_lake(args, bucket_arn, key_arn, write=False),
            _allow(["s3:GetObjectVersion"], [f"{bucket_arn}/{deploys.source}"]),
            *_serving_statements(args),
            _allow(["ssm:GetParameter", "ssm:GetParameters"], [decided]),
            _allow(["sns:Publish"], [args.arn("sns", args.topic)]),
            # They support no resources.
            _allow(["kms:ListAliases", "cloudwatch:ListMetrics"], ["*"]),
        ]
        if deploys.parameters:
            secrets = [_parameter(args, f"/{each.lstrip('/')}") for each in deploys.parameters]
            found.append(_allow(["ssm:GetParameters"], secrets))
        if deploys.keys:
            found.append(_allow(["kms:Decrypt", "kms:Encrypt"], list(deploys.keys)))
        return [*found, *_images(args), *_backend(args, deploys)]

    return statements


def _serving_statements(args: AccessArgs) -> list[Statement]:
    """Return the statements for the deployment of a package: model, configuration, endpoint and its alarms."""
    group, sagemaker = args.model_package_group, partial(args.arn, "sagemaker")
    # A model whose rollout its alarms roll back is rejected.
    decide = ["ListModelPackages", "DescribeModelPackage", "DescribeModelPackageGroup", "UpdateModelPackage"]
    make = ["CreateModel", "DescribeModel", "CreateEndpointConfig", "DescribeEndpointConfig", "AddTags", "ListTags"]
    serve = ["CreateEndpoint", "UpdateEndpoint", "DescribeEndpoint", "AddTags", "ListTags"]
    # The endpoint's alarms are created with its first model.
    watch = ["DescribeAlarms", "PutMetricAlarm", "TagResource", "ListTagsForResource"]
    configs = sagemaker(f"endpoint-config/{args.endpoint}*")
    return [
        _allow(
            [f"sagemaker:{verb}" for verb in decide],
            [sagemaker(f"model-package-group/{group}"), sagemaker(f"model-package/{group}/*")],
        ),
        # Names of models and configurations begin with the endpoint's.
        _allow([f"sagemaker:{verb}" for verb in make], [sagemaker(f"model/{args.endpoint}*"), configs]),
        # Creating and updating an endpoint has to be allowed for its configuration, too.
        _allow([f"sagemaker:{verb}" for verb in serve], [sagemaker(f"endpoint/{args.endpoint}"), configs]),
        _allow([f"cloudwatch:{verb}" for verb in watch], [args.arn("cloudwatch", f"alarm:{args.endpoint}-*")]),
    ]


def _backend(args: AccessArgs, deploys: DeployAccess) -> list[Statement]:
    """Return the statements for the stack's state in a bucket; other backends have access of their own."""
    parts = urlsplit(deploys.backend)
    if parts.scheme != "s3":
        return []
    bucket = f"arn:{args.partition}:s3:::{parts.netloc}"
    below = f"{bucket}{parts.path.rstrip('/')}/.pulumi"
    # Pulumi keeps a stack's state, its backups, its history and its locks under the name of the stack.
    own = [
        f"{below}/{folder}/*/{deploys.stack}{end}"
        for folder in ("stacks", "backups", "history", "locks")
        for end in (".*", "/*")
    ]
    return [
        _allow(["s3:ListBucket"], [bucket]),
        _allow(["s3:GetObject"], [f"{below}/meta.yaml"]),
        _allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], own),
    ]
