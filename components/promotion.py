"""The deployment of what is approved, without a person: a decision on a model starts a build that deploys it alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

#: How a build ends that did not do its work. Its command tells why, where it comes to that.
_ENDED = ("FAILED", "FAULT", "STOPPED", "TIMED_OUT")
#: Images of CodeBuild's own, which have several versions of Python.
_CURATED = "aws/codebuild/"


@dataclass
class PromotionArgs:
    """Inputs of :class:`Promotion`.

    Attributes:
        project_name: The name of the project, and of the rule that starts it.
        failures_name: The name of the rule that tells of builds that fail.
        model_package_group: The group whose decisions start a build.
        source: Bucket and key of the archive with the deployed revision, as `bucket/key.zip`.
        install: The commands that prepare a build.
        deploy: The commands that deploy the newest approved model.
        role_arn: The role of the builds.
        trigger_role_arn: The role with which the rule starts a build.
        topic_arn: The topic that is told.
        dead_letter_arn: The queue for decisions that could not start a build.
        variables: Environment variables of the builds.
        secrets: Environment variable → name of the SSM parameter that holds its value.
        image: The builds' image.
        compute_type: Their compute type.
        minutes: Their timeout.
    """

    project_name: str
    failures_name: str
    model_package_group: str
    source: pulumi.Input[str]
    install: Sequence[str]
    deploy: Sequence[str]
    role_arn: pulumi.Input[str]
    trigger_role_arn: pulumi.Input[str]
    topic_arn: pulumi.Input[str]
    dead_letter_arn: pulumi.Input[str]
    image: str
    compute_type: str
    minutes: int
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


class Promotion(pulumi.ComponentResource):
    """A CodeBuild project that deploys the newest approved model, and the rules around it.

    Creates a Project, an EventRule with its EventTarget for the decisions on packages of the group, and another for
    builds that fail. A rejection starts a build, too: of the version that serves, it lets
    the one before it serve again; of any other, the build finds nothing to do.
    """

    project_name: pulumi.Output[str]

    def __init__(self, name: str, args: PromotionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:Promotion", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        project = aws.codebuild.Project(
            f"{name}-project",
            name=args.project_name,
            description=f"Deploys the newest approved model of {args.model_package_group}",
            service_role=args.role_arn,
            build_timeout=args.minutes,
            source={"type": "S3", "location": args.source, "buildspec": _buildspec(args)},
            artifacts={"type": "NO_ARTIFACTS"},
            environment=aws.codebuild.ProjectEnvironmentArgs(
                type="LINUX_CONTAINER",
                image=args.image,
                compute_type=args.compute_type,
                # An image of a registry is pulled with the role of the builds.
                image_pull_credentials_type="CODEBUILD" if args.image.startswith(_CURATED) else "SERVICE_ROLE",
                environment_variables=_list_variables(args),
            ),
            opts=child,
        )
        self._start_on_decisions(name, args, project, child)
        self._tell_of_failures(name, args, child)
        self.project_name = project.name
        self.register_outputs({"projectName": self.project_name})

    @staticmethod
    def _start_on_decisions(
        name: str, args: PromotionArgs, project: aws.codebuild.Project, child: pulumi.ResourceOptions
    ) -> None:
        rule = aws.cloudwatch.EventRule(
            f"{name}-decisions",
            name=args.project_name,
            description=f"Deploys what is approved of {args.model_package_group}",
            event_pattern=_decisions(args.model_package_group),
            opts=child,
        )
        aws.cloudwatch.EventTarget(
            f"{name}-decisions-target",
            rule=rule.name,
            target_id="build",
            arn=project.arn,
            role_arn=args.trigger_role_arn,
            input_transformer={
                "input_paths": {"package": "$.detail.ModelPackageArn", "status": "$.detail.ModelApprovalStatus"},
                "input_template": json.dumps(
                    {
                        "environmentVariablesOverride": [
                            {"name": "DECIDED_PACKAGE", "value": "<package>"},
                            {"name": "DECISION", "value": "<status>"},
                        ]
                    }
                ),
            },
            dead_letter_config={"arn": args.dead_letter_arn},
            opts=child,
        )

    @staticmethod
    def _tell_of_failures(name: str, args: PromotionArgs, child: pulumi.ResourceOptions) -> None:
        rule = aws.cloudwatch.EventRule(
            f"{name}-failures",
            name=args.failures_name,
            description=f"Tells of builds of {args.project_name} that fail",
            event_pattern=_failures(args.project_name),
            opts=child,
        )
        aws.cloudwatch.EventTarget(
            f"{name}-failures-target",
            rule=rule.name,
            target_id="topic",
            arn=args.topic_arn,
            dead_letter_config={"arn": args.dead_letter_arn},
            opts=child,
        )


def _list_variables(args: PromotionArgs) -> list[aws.codebuild.ProjectEnvironmentEnvironmentVariableArgs]:
    make = aws.codebuild.ProjectEnvironmentEnvironmentVariableArgs
    plain = [make(name=name, value=value) for name, value in sorted(args.variables.items())]
    secret = [make(name=name, value=value, type="PARAMETER_STORE") for name, value in sorted(args.secrets.items())]
    return [*plain, *secret]


def _buildspec(args: PromotionArgs) -> str:
    """Return the buildspec as JSON, which is YAML, too."""
    install: dict[str, object] = {"commands": list(args.install)}
    if args.image.startswith(_CURATED):
        # An image of the team's own has one Python, and CodeBuild refuses to choose there.
        install["runtime-versions"] = {"python": "3.11"}
    build = {"commands": ['echo "$DECISION: $DECIDED_PACKAGE"', *args.deploy]}
    return json.dumps({"version": 0.2, "phases": {"install": install, "build": build}}, sort_keys=True)


def _decisions(group: str) -> str:
    return json.dumps(
        {
            "source": ["aws.sagemaker"],
            "detail-type": ["SageMaker Model Package State Change"],
            "detail": {"ModelPackageGroupName": [group], "ModelApprovalStatus": ["Approved", "Rejected"]},
        },
        sort_keys=True,
    )


def _failures(project: str) -> str:
    return json.dumps(
        {
            "source": ["aws.codebuild"],
            "detail-type": ["CodeBuild Build State Change"],
            "detail": {"project-name": [project], "build-status": list(_ENDED)},
        },
        sort_keys=True,
    )
