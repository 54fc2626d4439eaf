"""A checkout with declared use cases, and a local cloud with the resources that `pulumi up` would create."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from millrace.watching import METRICS
from tests import forked
from tests.local.conftest import CloudDaemon, make_roles
from tests.local.hosted import IMAGE, eventually
from tests.local.jobs import ROLE, make_bucket
from tests.local.pipelines import create, process

from .conftest import MODEL, REPOSITORY, _make_model_archive

DECLARATION = """\
from datetime import timedelta

from millrace import Gate, Monitoring, Retraining, UseCase

USE_CASE = UseCase(
    name="{name}", target="left", key="customer", event_time="asked_at",
    gates=[Gate("roc_auc", at_least=0.7), Gate("ece", at_most=0.05)],
    monitoring=Monitoring(every=timedelta(days=1), calibration_alarm=0.04),
    retraining=Retraining(on=("calibration",), every=timedelta(days=7)),
)
"""
#: Prices of the stacks' region, which the built-in table does not have.
PRICES = Path(__file__).parent / "previews" / "prices.toml"
STACK = """\
config:
  aws:region: {region}
{more}  millrace:environment:
    name: {environment}
"""
#: The alarms of a use case without feature tables, with the metric of each.
ALARMS = {
    **{metric.alarm.value: metric.name for metric in METRICS if metric.alarm and not metric.needs_tables},
    "undelivered": "Messages", "errors": "Invocation5XXErrors", "latency": "ModelLatency",
}  # fmt: skip


class Checkout:
    """A folder with this repository's command line and the use cases and stacks that a test declares."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder, self.state = folder, state
        shutil.copytree(REPOSITORY / "cli", folder / "cli")
        (folder / "stacks").mkdir()
        shutil.copy2(REPOSITORY / "stacks" / "__init__.py", folder / "stacks" / "__init__.py")
        for name in ("local", "millrace", "queries", "training", "templates", "components"):
            (folder / name).symlink_to(REPOSITORY / name)

    def declare(self, name: str, source: str = "") -> None:
        package = self.folder / "stacks" / name.replace("-", "_")
        package.mkdir()
        (package / "__init__.py").write_text(source or DECLARATION.format(name=name))

    def stack(self, name: str, environment: str = "local", region: str = "eu-west-1", more: str = "") -> None:
        text = STACK.format(environment=environment, region=region, more=more)
        if environment != "local":
            text += f'    image: "123456789012.dkr.ecr.{region}.amazonaws.com/millrace@sha256:{"0" * 64}"\n'
        (self.folder / "stacks" / f"Pulumi.{name}-{environment}.yaml").write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_"))}
        empty = self.folder / "nothing"
        # Ignore this machine's AWS settings, and skip the slow lookup of instance credentials.
        settings = {
            "AWS_CONFIG_FILE": str(empty), "AWS_SHARED_CREDENTIALS_FILE": str(empty),
            "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        return {
            **mine,
            **settings,
            "MILLRACE_STATE": str(self.state),
            "TERM": "dumb",
            "HOME": str(self.folder),
            "MILLRACE_PRICES": str(PRICES),
        }

    def __call__(self, *arguments: str, code: int | None = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        done = forked.run(
            [sys.executable, "-m", "cli.main", *arguments], cwd=self.folder, env={**self.environment, **variables}
        )
        if code is not None:
            assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def json(self, *arguments: str, code: int = 0, **variables: str) -> Any:
        return json.loads(self(*arguments, "--json", code=code, **variables).stdout)


class Cloud:
    """A local cloud daemon and methods that create resources in it."""

    def __init__(self, state: Path) -> None:
        self.daemon = CloudDaemon(state)
        self.daemon.start()
        self.sagemaker = self.daemon.client("sagemaker", max_pool_connections=8)
        self.cloudwatch = self.daemon.client("cloudwatch", max_pool_connections=8)
        self.scheduler = self.daemon.client("scheduler", max_pool_connections=8)
        make_roles(self.daemon.client("iam"))
        make_bucket(self.daemon, "cli").put_object(
            Bucket="cli", Key="model.tar.gz", Body=_make_model_archive(b'{"score": 0.5}')
        )

    def register(self, stack: str, approval: str = "Approved", **figures: str) -> str:
        """Register a package and return its ARN."""
        return str(
            self.sagemaker.create_model_package(
                ModelPackageGroupName=stack,
                ModelApprovalStatus=approval,
                ModelPackageDescription="the gate is passed and there is no champion",
                InferenceSpecification={
                    "Containers": [{"Image": IMAGE, "ModelDataUrl": MODEL}],
                    "SupportedContentTypes": ["application/json"],
                    "SupportedResponseMIMETypes": ["application/json"],
                },
                CustomerMetadataProperties={"roc_auc": "0.81", "ece": "0.012", "brier": "0.15", **figures},
            )["ModelPackageArn"]
        )

    def provision(self, stack: str) -> None:
        """Create the resources that do not need a model."""
        self.sagemaker.create_model_package_group(ModelPackageGroupName=stack)
        for kind in ("training", "monitor"):
            create(self.sagemaker, f"{stack}-{kind}", process("Work", "print('done')"))
        self.watch(stack)

    def watch(self, stack: str) -> None:
        """Put the stack's alarms and rule, and create its missing schedules."""
        for kind, metric in ALARMS.items():
            self.cloudwatch.put_metric_alarm(
                AlarmName=f"{stack}-{kind}", AlarmDescription=f"{metric} of {stack} is too high.", Namespace="n",
                MetricName=metric, Statistic="Maximum", Period=86_400, EvaluationPeriods=1, Threshold=0.04,
                ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
            )  # fmt: skip
        self.daemon.client("events").put_rule(
            Name=f"{stack}-training-on-alarm", EventPattern='{"source": ["aws.cloudwatch"]}', State="ENABLED"
        )
        there = {each["Name"] for each in self.scheduler.list_schedules()["Schedules"]}
        for short, days in (("monitor", 1), ("training-backstop", 7), ("training-recheck", 1)):
            name = f"{stack}-{short}"
            if name in there:
                continue
            kind = "monitor" if name.endswith("monitor") else "training"
            self.scheduler.create_schedule(
                Name=name, ScheduleExpression=f"rate({days} day{'s' if days > 1 else ''})",
                FlexibleTimeWindow={"Mode": "OFF"}, State="DISABLED",
                Target={"Arn": f"arn:aws:sagemaker:eu-west-1:123456789012:pipeline/{stack}-{kind}", "RoleArn": ROLE},
            )  # fmt: skip

    def remove(self, kind: str, name: str) -> None:
        """Delete one alarm, rule or schedule, as somebody would by hand."""
        if kind == "alarm":
            self.cloudwatch.delete_alarms(AlarmNames=[name])
        elif kind == "rule":
            self.daemon.client("events").delete_rule(Name=name)
        else:
            self.scheduler.delete_schedule(Name=name)

    def serve(self, stack: str, arn: str, config: str = "", *, wait: bool = True) -> None:
        """Create the endpoint with a package's model."""
        config = config or f"{stack}-config-0a1b2c3"
        self.configure(stack, arn, config)
        self.sagemaker.create_endpoint(EndpointName=stack, EndpointConfigName=config)
        if wait:
            self.in_service(stack)

    def configure(self, stack: str, arn: str, config: str) -> None:
        self.sagemaker.create_model(ModelName=config, PrimaryContainer={"ModelPackageName": arn}, ExecutionRoleArn=ROLE)
        variant = {
            "VariantName": "main", "ModelName": config, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large",
        }  # fmt: skip
        self.sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant])

    def in_service(self, stack: str) -> None:
        eventually(
            lambda: self.sagemaker.describe_endpoint(EndpointName=stack)["EndpointStatus"] == "InService", seconds=60
        )

    def fire(self, alarm: str, state: str = "ALARM") -> None:
        self.cloudwatch.set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="it was set")

    def whole(self, *stacks: str) -> None:
        """Create these stacks, each with a model in service."""

        def one(stack: str) -> None:
            self.provision(stack)
            self.serve(stack, self.register(stack), wait=False)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, stacks))
        for stack in stacks:
            self.in_service(stack)
