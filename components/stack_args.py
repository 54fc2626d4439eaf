"""The inputs of the stack of a use case."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from components.data_lake import Lake
from millrace import Environment, UseCase
from millrace.names import Names


@dataclass
class MlopsStackArgs:
    """Inputs of `MlopsStack`.

    Attributes:
        use_case: The declaration.
        environment: The environment in which it runs.
        account: The AWS account, twelve digits.
        partition: `aws`, `aws-cn` or `aws-us-gov`.
        bundle: The file with the code of jobs and endpoints, named by its content.
        approved_package: ARN of the package that serves; None before the first approval.
        shared_lake: The platform's lake, where the environment shares it; None creates a lake of the stack's own.
        paused: The triggers that are paused, of `retraining`, `monitor` and `features`.
        rollback_report: The file to which a rolled-back deployment is written, as JSON; None writes none.
        source: The archive of the deployed revision, named by its content; None where no build deploys models.
        backend: The URL of the Pulumi backend that has the stack's state; empty where it is not known.
    """

    use_case: UseCase
    environment: Environment
    account: str
    partition: str
    bundle: Path
    approved_package: str | None = None
    shared_lake: Lake | None = None
    paused: Collection[str] = ()
    rollback_report: str | None = None
    source: Path | None = None
    backend: str = ""

    @property
    def names(self) -> Names:
        """All computed names."""
        return self.environment.make_names(self.use_case.name, self.account)
