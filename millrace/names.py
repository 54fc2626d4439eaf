"""Names that two resources, or a resource and a job, must both know.

They are computed, never looked up, so that a preview shows real values. SageMaker allows 63 characters; with the
longest suffix added by an automatic name, 41 are left for `<use case>-<environment>`.
"""

from __future__ import annotations

from dataclasses import dataclass

from millrace.errors import InvalidValueError

#: The one production variant of every endpoint; it stays the same across configurations, as guardrails demand.
VARIANT = "main"

#: The data channel's folder names inside the lake bucket.
SNAPSHOTS, DATASETS, MODELS, EVALUATIONS, CAPTURE, MONITOR_REPORTS, QUARANTINE, OFFLINE, CODE = (
    "snapshots",
    "datasets",
    "models",
    "evaluations",
    "capture",
    "monitor",
    "quarantine",
    "offline",
    "code",
)

#: The folder of the lake with the revisions that builds deploy models from.
SOURCE = "source"

#: The folders of the lake that Millrace writes to.
LAKE_FOLDERS = (SNAPSHOTS, DATASETS, MODELS, EVALUATIONS, CAPTURE, MONITOR_REPORTS, QUARANTINE, OFFLINE, CODE, SOURCE)

#: The stack of the resources that use cases share is `platform-<environment>`; no use case may have this name.
PLATFORM = "platform"

#: The kinds of alarm that are not the monitor's; `Names.alarm` makes names of all kinds.
UNDELIVERED, ERRORS, LATENCY = "undelivered", "errors", "latency"

#: The kinds of pipeline of a stack, from which `Names.pipeline` makes names.
TRAINING, MONITOR, FEATURES = "training", "monitor", "features"

#: Below the snapshot of an execution: the folder and the file with the decision whether it trains.
START, START_FILE = "start", "start.json"
PROFILE_FILE = "profile.json"

#: The triggers that can be paused, by the kind of their pipeline; `retraining` is the rule of alarms and all schedules.
RETRAINING = "retraining"
PAUSES = {TRAINING: RETRAINING, MONITOR: MONITOR, FEATURES: FEATURES}
PAUSABLE = tuple(PAUSES.values())

#: The variable with the path of the file to which `pulumi up` writes a rolled-back rollout, as JSON.
ROLLBACK_REPORT = "MILLRACE_ROLLBACK_REPORT"

#: Data time of an environment that replays: one JSON object `{"now": "2013-04-01T00:00:00Z"}`.
CLOCK_KEY = "clock.json"


@dataclass(frozen=True)
class Names:
    """All computed names of one use case in one environment."""

    use_case: str
    environment: str
    account: str
    region: str
    shared_lake: bool = False
    """Whether its data lie in the platform's bucket, under its own name."""

    @property
    def stack(self) -> str:
        """`<use case>-<environment>`: the Pulumi stack, and the start of every other name."""
        return f"{self.use_case}-{self.environment}"

    @property
    def lake(self) -> str:
        """The bucket; the account makes its name globally unique."""
        owner = f"{PLATFORM}-{self.environment}" if self.shared_lake else self.stack
        return f"{owner}-lake-{self.account}"

    @property
    def root(self) -> str:
        """The bucket, and the use case's folder in it where the bucket is shared."""
        return f"{self.lake}/{self.use_case}" if self.shared_lake else self.lake

    def key(self, *parts: str) -> str:
        """Return the key of an object of the use case in the lake, e.g. `snapshots/a/raw`, or the beginning of keys.

        Args:
            parts: The folders and the object, outermost first; none for the beginning of all keys.
        """
        return "/".join([self.use_case, *parts] if self.shared_lake else parts)

    def uri(self, *parts: str) -> str:
        """Return the URI of an object or folder of the use case, `s3://…`.

        Args:
            parts: The folders and the object, outermost first; none for the use case's root.
        """
        return "/".join(["s3:/", self.root, *parts])

    def start_uri(self, execution: str) -> str:
        """Return the URI of the decision whether an execution of the training pipeline trains.

        Args:
            execution: The execution's ARN.
        """
        return self.uri(SNAPSHOTS, execution.rpartition("/")[2], START, START_FILE)

    def profile_uri(self, execution: str) -> str:
        """Return where an execution of the training pipeline writes what the snapshot that it accepted was like.

        Args:
            execution: The execution's ARN.
        """
        return self.uri(SNAPSHOTS, execution.rpartition("/")[2], "report", PROFILE_FILE)

    def report_uri(self, execution: str, file: str) -> str:
        """Return the URI of a file of the report that an execution of the monitor wrote.

        Args:
            execution: The execution's ARN.
            file: `monitor.json` or `report.html`.
        """
        return self.uri(MONITOR_REPORTS, execution.rpartition("/")[2], file)

    @property
    def lake_alias(self) -> str:
        """The alias of the key that encrypts the lake."""
        return f"alias/{self.lake}"

    @property
    def endpoint(self) -> str:
        """The endpoint, named as the stack is."""
        return self.stack

    @property
    def model_package_group(self) -> str:
        """The model package group, named as the stack is."""
        return self.stack

    def pipeline(self, kind: str) -> str:
        """Return the name of the pipeline of a kind.

        Args:
            kind: `training`, `monitor` or `features`.
        """
        return f"{self.stack}-{kind}"

    @property
    def training_pipeline(self) -> str:
        """The pipeline that trains and registers a model."""
        return self.pipeline(TRAINING)

    @property
    def monitor_pipeline(self) -> str:
        """The pipeline that measures what is served."""
        return self.pipeline(MONITOR)

    @property
    def features_pipeline(self) -> str:
        """The pipeline that publishes features."""
        return self.pipeline(FEATURES)

    def schedule(self, kind: str) -> str:
        """Return the name of the schedule that starts the pipeline of a kind.

        Args:
            kind: The pipeline's kind: `training`, `monitor` or `features`.
        """
        return self.retraining_backstop if kind == TRAINING else self.pipeline(kind)

    @property
    def schedules(self) -> dict[str, str]:
        """Every schedule that a stack may have, by name, with the kind of the pipeline that it starts."""
        kinds = {self.schedule(kind): kind for kind in (MONITOR, FEATURES, TRAINING)}
        return {**kinds, self.retraining_recheck: TRAINING}

    @property
    def retraining_rule(self) -> str:
        """The rule that starts the training pipeline when an alarm fires."""
        return f"{self.training_pipeline}-on-alarm"

    @property
    def retraining_data_rule(self) -> str:
        """The rule that starts the training pipeline when an event says that new data are there."""
        return f"{self.training_pipeline}-on-data"

    @property
    def rules(self) -> tuple[str, ...]:
        """Every rule that a stack may have to start a training."""
        return self.retraining_rule, self.retraining_data_rule

    def locate_data(self, place: str) -> tuple[str, str]:
        """Return bucket and prefix of where new data arrive.

        Args:
            place: `Retraining.data_at`, not empty.

        Raises:
            InvalidValueError: It is a folder of the lake that every training writes to.
        """
        place = place.format(environment=self.environment, account=self.account, region=self.region)
        if not place.startswith("s3://"):
            return self.lake, self.key(place)
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        own = prefix.removeprefix(self.key("")).partition("/")[0]
        if bucket == self.lake and (own in LAKE_FOLDERS or self.key("").startswith(prefix)):
            raise InvalidValueError(
                f"retraining.data_at={place!r}",
                "holds what every training writes: it would start itself again and again",
                fix="choose another folder, such as incoming/",
            )
        return bucket, prefix

    @property
    def retraining_backstop(self) -> str:
        """The schedule that starts the training pipeline when no alarm does."""
        return f"{self.training_pipeline}-backstop"

    @property
    def retraining_recheck(self) -> str:
        """The schedule that starts the training pipeline again while one of its alarms stays in ALARM."""
        return f"{self.training_pipeline}-recheck"

    @property
    def promotion(self) -> str:
        """The project that deploys what is approved, and the rule that starts it."""
        return f"{self.stack}-promotion"

    @property
    def promotion_failures(self) -> str:
        """The rule that tells of builds that end before they can tell anybody."""
        return f"{self.stack}-promotion-failures"

    @property
    def dead_letters(self) -> str:
        """The queue of triggers that could not start anything."""
        return f"{self.stack}-dead-letters"

    @property
    def pause_parameter(self) -> str:
        """The SSM parameter that exists while schedules and triggers are paused."""
        return f"/millrace/{self.stack}/paused"

    @property
    def snooze_parameter(self) -> str:
        """The SSM parameter that exists while alarms are snoozed."""
        return f"/millrace/{self.stack}/snoozed"

    @property
    def answer_parameter(self) -> str:
        """The SSM parameter with a person's newest decision not to train."""
        return f"/millrace/{self.stack}/answered"

    def feature_schema(self, table: str) -> str:
        """Return the name of the SSM parameter that holds the wanted schema of a table's feature group.

        Args:
            table: The table's name, as declared.
        """
        return f"/millrace/{self.stack}/{table}/schema"

    @property
    def metric_namespace(self) -> str:
        """The CloudWatch namespace of what the monitor publishes."""
        return f"Millrace/{self.stack}"

    def feature_group(self, table: str) -> str:
        """Return the name of a table's feature group; underscores become hyphens, because it may contain none.

        Args:
            table: The table's name, as declared.
        """
        return f"{self.stack}-{table.replace('_', '-')}"

    def alarm(self, kind: str) -> str:
        """Return the name of the alarm of a kind, `<stack>-<kind>`, e.g. `flights-local-calibration`.

        Args:
            kind: `undelivered`, `errors`, `latency`, or one of the monitor's (`millrace/watching.py`).
        """
        return f"{self.stack}-{kind}"
