"""All components of one use case in one environment, wired together.

Only this module, its arguments, the platform and the workflow depend on declarations; each other component can be used
alone.
"""

import hashlib
import json
from collections.abc import Callable, Collection
from datetime import timedelta
from pathlib import Path

import pulumi
import pulumi_aws as aws

from components import workflow
from components.access import Access, AccessArgs, DeployAccess
from components.blue_green_endpoint import BlueGreenEndpoint, BlueGreenEndpointArgs
from components.data_lake import DataLake, DataLakeArgs, Lake
from components.dead_letters import DeadLetters, DeadLettersArgs
from components.drift_alarms import DriftAlarms, DriftAlarmsArgs
from components.feature_publishing import FeaturePublishing, FeaturePublishingArgs
from components.feature_store import FeatureStore, FeatureStoreArgs, FeatureType
from components.model_registry import ModelRegistry, ModelRegistryArgs
from components.notifications import Notifications, NotificationsArgs
from components.promotion import Promotion, PromotionArgs
from components.retraining import Retraining, RetrainingArgs
from components.schedule import ScheduleArgs
from components.stack_args import MlopsStackArgs
from components.steps import Definition
from components.training_pipeline import TrainingPipeline, TrainingPipelineArgs
from millrace import FeatureTable
from millrace.inventory import JobVariable, list_pipelines, make_job_variables
from millrace.names import (
    CAPTURE,
    CLOCK_KEY,
    CODE,
    ERRORS,
    LATENCY,
    OFFLINE,
    SOURCE,
    UNDELIVERED,
    VARIANT,
)
from millrace.watching import MonitorAlarm, Page, list_alarms, list_metrics, list_pages, name_snooze

_FEATURE_TYPES: dict[str, FeatureType] = {"number": "Fractional", "text": "String"}


class MlopsStack(pulumi.ComponentResource):
    """All resources of a use case, from its declaration.

    Creates Notifications, DataLake (unless it shares the platform's) with the code in it, Access, FeatureStore for each
    table, ModelRegistry, FeaturePublishing, TrainingPipeline, DriftAlarms, Retraining, DeadLetters, Promotion where
    builds deploy what is approved, and a BlueGreenEndpoint once a package is approved; until then the endpoint is
    pending, which is not a failure.
    """

    endpoint_name: pulumi.Output[str]
    endpoint_status: str
    next_step: str
    lake: pulumi.Output[str]
    training_pipeline: pulumi.Output[str]
    monitor_pipeline: pulumi.Output[str]
    features_pipeline: "pulumi.Output[str] | None"
    model_package_group: pulumi.Output[str]
    alarms: list[str]

    def __init__(self, name: str, args: MlopsStackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:MlopsStack", name, None, opts)
        self._args, self._names, self._child = args, args.names, pulumi.ResourceOptions(parent=self)
        names, environment = self._names, args.environment
        self._pipelines = list(list_pipelines(args.use_case, names).values())
        self._keep = not environment.force_destroy

        topic = self._make_notifications()
        self._tell: list[pulumi.Input[str]] = [topic.topic_arn]
        self._lake = args.shared_lake or self._make_lake()
        self._access = self._make_access()
        letters = DeadLetters(
            f"{names.stack}-dead-letters",
            DeadLettersArgs(names.dead_letters, args.account, names.alarm(UNDELIVERED), self._tell),
            self._child,
        )
        self._dead_letter_arn = letters.queue_arn
        code = self._upload_code()
        for table in args.use_case.tables:
            self._make_feature_group(table)
        registry = ModelRegistry(
            names.stack,
            ModelRegistryArgs(
                names.model_package_group, f"Models of {args.use_case.name}", environment.region, self._keep
            ),
            self._child,
        )
        publishing = self._make_publishing(code) if args.use_case.tables else None
        training = TrainingPipeline(
            names.training_pipeline,
            self._pipeline(
                names.training_pipeline, workflow.define_training_pipeline, code, f"Trains {args.use_case.name}"
            ),
            self._child,
        )
        monitor = self._make_monitor(code)
        self._make_retraining(training)
        if args.source:
            self._make_promotion(args.source)
        endpoint = self._make_endpoint(registry) if args.approved_package else None

        self.endpoint_name = endpoint.endpoint_name if endpoint else pulumi.Output.from_input(names.endpoint)
        self.endpoint_status, self.next_step = self._status()
        self.lake = pulumi.Output.from_input(self._lake.bucket_name)
        self.training_pipeline = training.pipeline_name
        self.monitor_pipeline = pulumi.Output.from_input(names.monitor_pipeline)
        self.features_pipeline = pulumi.Output.from_input(names.features_pipeline) if publishing else None
        self.model_package_group = registry.group_name
        self.alarms = [*monitor.alarm_arns, names.alarm(UNDELIVERED), *(endpoint.alarm_names if endpoint else [])]
        self.register_outputs({"endpointName": self.endpoint_name, "endpointStatus": self.endpoint_status})

    def list_outputs(self) -> "dict[str, pulumi.Input[object]]":
        """Return the outputs that a program exports."""
        return {
            "endpointName": self.endpoint_name,
            "endpointStatus": self.endpoint_status,
            "nextStep": self.next_step,
            "lake": self.lake,
            "trainingPipeline": self.training_pipeline,
            "monitorPipeline": self.monitor_pipeline,
            "featuresPipeline": self.features_pipeline,
            "modelPackageGroup": self.model_package_group,
            "alarms": self.alarms,
        }

    def _status(self) -> tuple[str, str]:
        name, environment = self._args.use_case.name, self._args.environment.name
        if environment != "local":
            name += f" --env {environment}"
        if self._args.approved_package is None:
            following = f"millrace retrain {name}, millrace approve {name}, millrace deploy {name}"
            return "pending its first approved model", following
        version = self._args.approved_package.rpartition("/")[2]
        return f"in service: version {version}", f"millrace invoke {name} --sample"

    # -- data ----------------------------------------------------------------------------------------------------------

    def _make_lake(self) -> Lake:
        names, environment, data_at = self._names, self._args.environment, self._args.use_case.retraining.data_at
        made = DataLake(
            f"{names.stack}-lake",
            DataLakeArgs(
                names.lake,
                self._args.account,
                environment.retention_days,
                environment.force_destroy,
                tells_of_objects=bool(data_at) and names.locate_data(data_at)[0] == names.lake,
            ),
            self._child,
        )
        return made.lake

    def _make_notifications(self) -> Notifications:
        args, names = self._args, self._names
        return Notifications(
            f"{names.stack}-notifications",
            NotificationsArgs(
                topic_name=names.stack,
                account=args.account,
                emails=args.environment.notify,
                pipeline_arns=[self._make_arn("sagemaker", f"pipeline/{each}") for each in self._pipelines],
                dead_letter_arn=self._make_arn("sqs", names.dead_letters),
            ),
            self._child,
        )

    def _make_arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of this stack's account and region, before it exists."""
        args = self._args
        return f"arn:{args.partition}:{service}:{args.environment.region}:{args.account}:{resource}"

    def _make_access(self) -> Access:
        args, names, source = self._args, self._names, self._args.source
        deploys = self._list_deploy_access(source) if source else None
        return Access(
            names.stack,
            AccessArgs(
                account=args.account,
                region=args.environment.region,
                bucket_arn=self._lake.bucket_arn,
                key_arn=self._lake.key_arn,
                prefix=names.key() if names.shared_lake else "",
                pipelines=self._pipelines,
                endpoint=names.endpoint,
                model_package_group=names.model_package_group,
                feature_groups=[names.feature_group(table.name) for table in args.use_case.tables],
                metric_namespace=names.metric_namespace,
                dead_letter_queue=names.dead_letters,
                topic=names.stack,
                parameters=(names.snooze_parameter, names.answer_parameter),
                deploys=deploys,
                code_folders=(CODE, SOURCE),
                partition=args.partition,
            ),
            self._child,
        )

    def _upload_code(self) -> pulumi.Output[str]:
        """Upload the bundle to the lake and return its file name, which is known once it is uploaded."""
        names = self._names
        uploaded = self._upload_file(CODE, self._args.bundle)
        if self._args.environment.replay_from is not None:
            # The content is only where data time begins; replays change it.
            moved = pulumi.ResourceOptions(parent=self, ignore_changes=["content"])
            aws.s3.BucketObjectv2(
                f"{names.stack}-clock",
                bucket=self._lake.bucket_name,
                key=names.key(CLOCK_KEY),
                content=json.dumps({"now": self._args.environment.replay_from.isoformat()}),
                content_type="application/json",
                opts=moved,
            )
        return uploaded.key.apply(lambda key: key.rpartition("/")[2])

    def _upload_file(self, folder: str, file: Path) -> aws.s3.BucketObjectv2:
        """Upload a file that is named by its content; old ones are kept: old models are reproduced with them."""
        return aws.s3.BucketObjectv2(
            f"{self._names.stack}-{folder}",
            bucket=self._lake.bucket_name,
            key=self._names.key(folder, file.name),
            source=pulumi.FileAsset(str(file)),
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
        )

    def _make_feature_group(self, table: FeatureTable) -> None:
        names = self._names
        FeatureStore(
            f"{names.stack}-{table.name}",
            FeatureStoreArgs(
                group_name=names.feature_group(table.name),
                record_identifier=table.entity,
                event_time=table.event_time,
                features={
                    table.entity: "String",
                    table.event_time: "String",
                    **{column: _FEATURE_TYPES[kind] for column, kind in table.columns.items()},
                },
                offline_uri=names.uri(OFFLINE),
                kms_key_arn=self._lake.key_arn,
                role_arn=self._access.job_role_arn,
                region=self._args.environment.region,
                parameter_name=names.feature_schema(table.name),
                protect=self._keep,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=self._lake.made_by),
        )

    # -- pipelines -----------------------------------------------------------------------------------------------------

    def _job_environment(self) -> dict[str, str]:
        return make_job_variables(self._args.environment, self._names, self._make_arn("sns", self._names.stack))

    def _pipeline(
        self,
        name: str,
        build: "Callable[[workflow.WorkflowArgs], Definition]",
        code: pulumi.Output[str],
        description: str,
    ) -> TrainingPipelineArgs:
        args, names = self._args, self._names

        def definition(known: "list[str]") -> str:
            bundle, job_role_arn, key_arn = known
            return build(
                workflow.WorkflowArgs(
                    use_case=args.use_case,
                    lake=names.root,
                    bundle=bundle,
                    bundle_sha256=hashlib.sha256(args.bundle.read_bytes()).hexdigest(),
                    image=args.environment.image,
                    job_role_arn=job_role_arn,
                    key_arn=key_arn,
                    instance_type=args.environment.job_instance,
                    model_package_group=names.model_package_group,
                    serving_instance_types=[args.environment.endpoint_instance],
                    environment=self._job_environment(),
                )
            ).definition()

        text = pulumi.Output.all(code, self._access.job_role_arn, self._lake.key_arn).apply(definition)
        return TrainingPipelineArgs(name, text, self._access.pipeline_role_arn, description)

    def _schedule(self, pipeline: str, every: timedelta, pausable: str) -> ScheduleArgs:
        # Where replays move data time, they start the pipelines, too.
        enabled = self._args.environment.replay_from is None and pausable not in self._args.paused
        return ScheduleArgs(pipeline, self._access.trigger_role_arn, self._dead_letter_arn, every, enabled)

    def _make_publishing(self, code: pulumi.Output[str]) -> FeaturePublishing:
        name, use_case = self._names.features_pipeline, self._args.use_case
        pipeline = self._pipeline(
            name, workflow.define_features_pipeline, code, f"Publishes the feature tables of {use_case.name}"
        )
        schedule = self._schedule(name, use_case.publish_every, "features")
        return FeaturePublishing(name, FeaturePublishingArgs(pipeline, schedule), self._child)

    def _make_monitor(self, code: pulumi.Output[str]) -> DriftAlarms:
        name, names, watched = self._names.monitor_pipeline, self._names, self._args.use_case.monitoring
        case, tabled = self._args.use_case, bool(self._args.use_case.tables)
        alarms = list_alarms(case.problem, has_tables=tabled, off=watched.off)
        return DriftAlarms(
            name,
            DriftAlarmsArgs(
                pipeline=self._pipeline(name, workflow.define_monitor_pipeline, code, f"Watches {names.endpoint}"),
                schedule=self._schedule(name, watched.every, "monitor"),
                every=watched.every,
                namespace=names.metric_namespace,
                endpoint_name=names.endpoint,
                variant_name=VARIANT,
                region=self._args.environment.region,
                metrics=list_metrics(case.problem, has_tables=tabled),
                alarms={names.alarm(metric.alarm): metric for metric in alarms if metric.alarm},
                pages=self._list_pages([metric.alarm for metric in alarms if metric.alarm]),
                snoozes={names.alarm(page): (names.alarm(name_snooze(page)), name_snooze(page)) for page in Page},
                alarm_actions=self._tell,
            ),
            self._child,
        )

    def _list_pages(self, kinds: Collection[MonitorAlarm]) -> dict[str, tuple[list[str], str | None]]:
        """Return the composite alarms of the alarms that there are."""
        name = self._names.alarm
        return {
            name(page): ([name(cause) for cause in causes], name(silencing) if silencing else None)
            for page, (causes, silencing) in list_pages(kinds).items()
        }

    def _make_retraining(self, training: TrainingPipeline) -> None:
        names, retraining = self._names, self._args.use_case.retraining
        Retraining(
            f"{names.stack}-retraining",
            RetrainingArgs(
                pipeline_name=names.training_pipeline,
                pipeline_arn=training.pipeline_arn,
                role_arn=self._access.trigger_role_arn,
                dead_letter_arn=self._dead_letter_arn,
                rule_name=names.retraining_rule,
                data_rule_name=names.retraining_data_rule,
                schedule_name=names.retraining_backstop,
                recheck_name=names.retraining_recheck,
                alarm_names=[names.alarm(kind) for kind in retraining.alarms],
                data_of=names.stack if retraining.has_data_trigger else "",
                data_at=names.locate_data(retraining.data_at) if retraining.data_at else None,
                every=retraining.every,
                recheck=retraining.recheck,
                enabled=self._args.environment.replay_from is None,
                paused="retraining" in self._args.paused,
            ),
            self._child,
        )

    def _list_deploy_access(self, source: Path) -> DeployAccess:
        names, declared = self._names, self._args.environment.promotion
        return DeployAccess(
            names.promotion, names.key(SOURCE, source.name), names.stack, self._args.backend,
            tuple(declared.build_secrets.values()), declared.build_keys,
        )  # fmt: skip

    def _make_promotion(self, source: Path) -> None:
        args, names, declared = self._args, self._names, self._args.environment.promotion
        assert self._access.deploy_role_arn is not None
        uploaded = self._upload_file(SOURCE, source)
        case, where = args.use_case.name, args.environment.name
        Promotion(
            names.promotion,
            PromotionArgs(
                project_name=names.promotion,
                failures_name=names.promotion_failures,
                model_package_group=names.model_package_group,
                source=pulumi.Output.concat(uploaded.bucket, "/", uploaded.key),
                install=["make deployer"],
                deploy=[
                    f".venv/bin/python -m cli.main deploy {case} --env {where} --only-model --yes "
                    f"--patience {declared.patience_minutes(args.environment.rollout)}m"
                ],
                role_arn=self._access.deploy_role_arn,
                trigger_role_arn=self._access.trigger_role_arn,
                topic_arn=self._tell[0],
                dead_letter_arn=self._dead_letter_arn,
                image=declared.build_image,
                compute_type=declared.build_compute,
                minutes=declared.build_minutes,
                variables={"PULUMI_BACKEND_URL": args.backend} if args.backend else {},
                secrets=declared.build_secrets,
            ),
            self._child,
        )

    # -- serving -------------------------------------------------------------------------------------------------------

    def _make_endpoint(self, registry: ModelRegistry) -> BlueGreenEndpoint:
        args, names, environment = self._args, self._names, self._args.environment
        assert args.approved_package is not None
        return BlueGreenEndpoint(
            names.endpoint,
            BlueGreenEndpointArgs(
                endpoint_name=names.endpoint,
                variant_name=VARIANT,
                model_package_arn=args.approved_package,
                role_arn=self._access.endpoint_role_arn,
                region=environment.region,
                rollback_report=args.rollback_report,
                errors_alarm=names.alarm(ERRORS),
                latency_alarm=names.alarm(LATENCY),
                instance_type=environment.endpoint_instance,
                instance_count=environment.endpoint_count,
                capture_uri=names.uri(CAPTURE),
                capture_percent=environment.capture_percent,
                kms_key_arn=self._lake.key_arn,
                alarm_actions=self._tell,
                environment={
                    **make_job_variables(environment, names),
                    JobVariable.MODEL_PACKAGE.value: args.approved_package,
                },
                rollout=environment.rollout,
                protect=self._keep,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[registry]),
        )
