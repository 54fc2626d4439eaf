"""CodeBuild: builds really run their buildspec, and end as AWS says that they end."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import client
from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually
from tests.local.watched import make_queue, make_rule, unique

ROLE = "builder"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "codebuild.amazonaws.com"}, "Action": "sts:AssumeRole"},
        {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
_MAY_START = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "codebuild:StartBuild", "Resource": "*"}],
}


@pytest.fixture(scope="module")
def role(cloud_daemon: CloudDaemon) -> str:
    iam = cloud_daemon.client("iam")
    found = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(_TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName=ROLE, PolicyName="start", PolicyDocument=json.dumps(_MAY_START))
    return str(found)


class Project:
    """A project, and what tests do with it."""

    def __init__(self, daemon: CloudDaemon, role: str, buildspec: Any = "", **more: Any) -> None:
        self.daemon, self.name = daemon, unique("project")
        self.codebuild = daemon.client("codebuild")
        text = buildspec if isinstance(buildspec, str) else json.dumps(buildspec)
        request: dict[str, Any] = {
            "source": {"type": "NO_SOURCE", "buildspec": text},
            "artifacts": {"type": "NO_ARTIFACTS"},
            "environment": {
                "type": "LINUX_CONTAINER",
                "image": "aws/codebuild/amazonlinux2-x86_64-standard:5.0",
                "computeType": "BUILD_GENERAL1_SMALL",
            },
        }
        made = self.codebuild.create_project(name=self.name, serviceRole=role, **{**request, **more})["project"]
        self.arn = made["arn"]

    def start(self, **more: Any) -> str:
        return str(self.codebuild.start_build(projectName=self.name, **more)["build"]["id"])

    def describe(self, build: str) -> dict[str, Any]:
        (found,) = self.codebuild.batch_get_builds(ids=[build])["builds"]
        return dict(found)

    def wait(self, build: str) -> dict[str, Any]:
        def complete() -> dict[str, Any] | None:
            found = self.describe(build)
            return found if found["buildComplete"] else None

        return dict(eventually(complete, 30))

    def run(self, **more: Any) -> dict[str, Any]:
        return self.wait(self.start(**more))

    def read_log(self, build: dict[str, Any]) -> list[str]:
        """Return what the commands printed."""
        events = self.daemon.client("logs").get_log_events(
            logGroupName=build["logs"]["groupName"], logStreamName=build["logs"]["streamName"], startFromHead=True
        )["events"]
        lines = [event["message"] for event in events]
        return [line for line in lines if not line.startswith("[Container]")]


def say(*commands: str, **phases: Any) -> dict[str, Any]:
    """Return a buildspec whose build phase has these commands, beside other phases."""
    return {"version": 0.2, "phases": {**phases, "build": {"commands": list(commands)}}}


def get_phases(build: dict[str, Any]) -> dict[str, str]:
    return {phase["phaseType"]: phase.get("phaseStatus", "") for phase in build["phases"]}


# -- commands ----------------------------------------------------------------------------------------------------------


def test_commands_share_folder_and_exported_variables(cloud_daemon: CloudDaemon, role: str) -> None:
    spec = say(
        'export GREETING="good evening"; LOST=1; mkdir deep; cd deep',
        'echo "$GREETING from $(basename $PWD), ${LOST:-nothing}"',
        install={"commands": ["export FIRST=install"]},
        post_build={"commands": ["echo $FIRST $CODEBUILD_BUILD_SUCCEEDING"]},
    )
    project = Project(cloud_daemon, role, {**spec, "env": {"exported-variables": ["FIRST", "NEVER_SET"]}})
    build = project.run()
    assert build["buildStatus"] == "SUCCEEDED"
    assert project.read_log(build) == ["good evening from deep, nothing", "install 1"]
    assert {each["name"]: each["value"] for each in build["exportedEnvironmentVariables"]} == {
        "FIRST": "install", "NEVER_SET": "",
    }  # fmt: skip
    assert list(get_phases(build)) == [
        "SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD",
        "UPLOAD_ARTIFACTS", "FINALIZING", "COMPLETED",
    ]  # fmt: skip
    assert set(get_phases(build).values()) == {"SUCCEEDED", ""}


def test_a_failed_build_phase_runs_its_last_commands_and_post_build(cloud_daemon: CloudDaemon, role: str) -> None:
    spec = say("echo before; exit 3", "echo never", post_build={"commands": ["echo after $CODEBUILD_BUILD_SUCCEEDING"]})
    spec["phases"]["build"]["finally"] = ["echo at last"]
    project = Project(cloud_daemon, role, spec)
    build = project.run()
    assert build["buildStatus"] == "FAILED"
    assert project.read_log(build) == ["before", "at last", "after 0"]
    found = get_phases(build)
    assert (found["BUILD"], found["POST_BUILD"]) == ("FAILED", "SUCCEEDED")
    (context,) = next(phase for phase in build["phases"] if phase["phaseType"] == "BUILD")["contexts"]
    assert context["statusCode"] == "COMMAND_EXECUTION_ERROR"
    assert context["message"] == "Error while executing command: echo before; exit 3. Reason: exit status 3"


@pytest.mark.parametrize(
    ("on_failure", "printed"), [(None, ["one"]), ("ABORT", ["one"]), ("CONTINUE", ["one", "two", "three"])]
)
def test_a_failed_install_goes_on_only_where_it_is_told_to(
    cloud_daemon: CloudDaemon, role: str, on_failure: str | None, printed: list[str]
) -> None:
    install: dict[str, Any] = {"commands": ["echo one", "false"]}
    if on_failure:
        install["on-failure"] = on_failure
    project = Project(cloud_daemon, role, say("echo two", install=install, post_build={"commands": ["echo three"]}))
    build = project.run()
    assert build["buildStatus"] == "FAILED"
    assert project.read_log(build) == printed


def test_the_shell_can_be_chosen(cloud_daemon: CloudDaemon, role: str) -> None:
    spec = {**say("words=(a b c); echo ${#words[@]}"), "env": {"shell": "bash"}}
    project = Project(cloud_daemon, role, spec)
    assert project.read_log(project.run()) == ["3"]


# -- variables, source -------------------------------------------------------------------------------------------------


def test_variables_of_start_go_before_project_and_buildspec(cloud_daemon: CloudDaemon, role: str) -> None:
    ssm, secret = cloud_daemon.client("ssm"), f"/builds/{uuid.uuid4()}"
    ssm.put_parameter(Name=secret, Value="open sesame", Type="SecureString")
    spec = {
        **say("echo $A $B $C $D", "echo $CODEBUILD_BUILD_ID $AWS_REGION"),
        "env": {"variables": {"A": "spec", "B": "spec", "C": "spec"}, "parameter-store": {"D": secret}},
    }
    environment = {
        "type": "LINUX_CONTAINER",
        "image": "aws/codebuild/standard:7.0",
        "computeType": "BUILD_GENERAL1_SMALL",
        "environmentVariables": [{"name": "B", "value": "project"}, {"name": "C", "value": "project"}],
    }
    project = Project(cloud_daemon, role, spec, environment=environment)
    build = project.run(environmentVariablesOverride=[{"name": "C", "value": "start"}])
    assert project.read_log(build) == ["spec project start open sesame", f"{build['id']} {client.REGION}"]


def make_source(daemon: CloudDaemon, files: dict[str, str]) -> str:
    """Upload an archive, whose scripts can be executed; return its location."""
    bucket, body = unique("source"), io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o755 if name.endswith(".sh") else 0o644) << 16
            archive.writestr(info, text)
    s3 = daemon.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": client.REGION})
    s3.put_object(Bucket=bucket, Key="code/main.zip", Body=body.getvalue())
    return f"{bucket}/code/main.zip"


def test_the_source_is_unpacked_with_its_executable_files(cloud_daemon: CloudDaemon, role: str) -> None:
    files = {
        "ci/greet.sh": "#!/bin/sh\necho hello $1; test -x ../README || echo plain\n",
        "README": "read me",
        "buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands:\n      - cd ci\n      - ./greet.sh world\n",
    }
    location = make_source(cloud_daemon, files)
    project = Project(cloud_daemon, role, source={"type": "S3", "location": location})
    build = project.run()
    assert project.read_log(build) == ["hello world", "plain"]
    other = project.run(buildspecOverride=json.dumps(say("cat README")))
    assert project.read_log(other) == ["read me"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("version: 0.2\nphases: [", "the buildspec is not YAML"),
        ({"version": 0.1, "phases": {}}, "version is 0.1; available: 0.2"),
        ({"version": 0.2, "phases": {"build": {"commands": []}}}, "phase build has no commands"),
        ({"version": 0.2, "phases": {"build": {"commands": [{"a": 1}]}}}, "commands[0] to be of string type"),
        ({"version": 0.2, "phases": {"bild": {"commands": ["x"]}}}, "bild is not available"),
        ({**say("true"), "reports": {}}, "reports is not available"),
        ({**say("true"), "env": {"secrets-manager": {"A": "b"}}}, "secrets-manager is not available"),
    ],
)
def test_a_buildspec_that_cannot_be_run_fails_by_name(
    cloud_daemon: CloudDaemon, role: str, spec: Any, message: str
) -> None:
    build = Project(cloud_daemon, role, spec).run()
    assert build["buildStatus"] == "FAILED"
    (context,) = next(phase for phase in build["phases"] if phase["phaseType"] == "DOWNLOAD_SOURCE")["contexts"]
    assert context["statusCode"] == "YAML_FILE_ERROR"
    assert message in context["message"]


def test_what_is_missing_fails_before_any_command(cloud_daemon: CloudDaemon, role: str) -> None:
    for more, phase, message in (
        ({"source": {"type": "S3", "location": "no-such-bucket-here/a.zip"}}, "DOWNLOAD_SOURCE", "NoSuchBucket"),
        (
            {"source": {"type": "S3", "location": make_source(cloud_daemon, {"a": "b"})}},
            "DOWNLOAD_SOURCE",
            "stat buildspec.yml: no such file or directory",
        ),
        (
            {"environment": {"type": "LINUX_CONTAINER", "image": "team/none:1", "computeType": "BUILD_GENERAL1_SMALL"}},
            "PROVISIONING",
            "team/none:1 not found",
        ),
    ):
        build = Project(cloud_daemon, role, say("true"), **more).run()
        assert (build["buildStatus"], get_phases(build)[phase]) == ("FAILED", "FAILED")
        assert message in next(each for each in build["phases"] if each["phaseType"] == phase)["contexts"][0]["message"]


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_build_that_is_stopped_stops_its_commands(cloud_daemon: CloudDaemon, role: str) -> None:
    project = Project(cloud_daemon, role, say("trap 'echo bye; exit 1' TERM; echo started; sleep 60 & wait"))
    build = project.start()
    eventually(lambda: project.describe(build)["currentPhase"] == "BUILD")
    project.codebuild.stop_build(id=build)
    found = project.wait(build)
    assert found["buildStatus"] == "STOPPED"
    assert project.codebuild.stop_build(id=build)["build"]["buildStatus"] == "STOPPED"


def test_events_name_project_status_and_reason(cloud_daemon: CloudDaemon, role: str) -> None:
    project, inbox = Project(cloud_daemon, role, say("exit 7")), make_queue(cloud_daemon)
    kind = "CodeBuild Build State Change"
    pattern = {"source": ["aws.codebuild"], "detail-type": [kind], "detail": {"project-name": [project.name]}}
    make_rule(cloud_daemon, pattern, {"Arn": inbox.arn})
    build = project.run()
    found = {each["detail"]["build-status"]: each["detail"] for each in inbox.collect(2)}
    assert set(found) == {"IN_PROGRESS", "FAILED"}
    assert found["FAILED"]["build-id"] == build["arn"]
    assert "exit status 7" in found["FAILED"]["current-phase-context"]
    assert found["FAILED"]["additional-information"]["logs"]["stream-name"] == build["logs"]["streamName"]


def test_a_rule_starts_a_build_with_what_the_event_says(cloud_daemon: CloudDaemon, role: str) -> None:
    project, source = Project(cloud_daemon, role, say("echo $WHO")), unique("source")
    transformer = {
        "InputPathsMap": {"who": "$.detail.who"},
        "InputTemplate": '{"environmentVariablesOverride": [{"name": "WHO", "value": "<who>"}]}',
    }
    make_rule(
        cloud_daemon, {"source": [source]}, {"Arn": project.arn, "RoleArn": role, "InputTransformer": transformer}
    )
    cloud_daemon.client("events").put_events(
        Entries=[{"Source": source, "DetailType": "t", "Detail": json.dumps({"who": "an event"})}]
    )
    ids = eventually(lambda: project.codebuild.list_builds_for_project(projectName=project.name)["ids"])
    assert project.read_log(project.wait(ids[0])) == ["an event"]


def test_a_token_starts_one_build(cloud_daemon: CloudDaemon, role: str) -> None:
    project = Project(cloud_daemon, role, say("true"))
    first = project.start(idempotencyToken="once")
    assert project.start(idempotencyToken="once") == first
    with pytest.raises(ClientError, match="do not match"):
        project.start(idempotencyToken="once", sourceVersion="2")
    again = project.codebuild.retry_build(id=project.wait(first)["id"])["build"]["id"]
    assert again != first
    assert project.wait(again)["buildNumber"] == 2
    assert project.codebuild.list_builds_for_project(projectName=project.name)["ids"] == [again, first]


def test_a_limit_of_builds_holds_at_the_same_time(cloud_daemon: CloudDaemon, role: str) -> None:
    project = Project(cloud_daemon, role, say("sleep 30"), concurrentBuildLimit=1)
    build = project.start()
    with pytest.raises(ClientError, match="AccountLimitExceededException"):
        project.start()
    project.codebuild.stop_build(id=build)
    assert project.wait(build)["buildStatus"] == "STOPPED"
    assert project.run(buildspecOverride=json.dumps(say("true")))["buildStatus"] == "SUCCEEDED"


# -- projects ----------------------------------------------------------------------------------------------------------


def test_projects_are_changed_listed_and_deleted(cloud_daemon: CloudDaemon, role: str) -> None:
    project = Project(cloud_daemon, role, say("echo one"), description="first")
    codebuild = project.codebuild
    with pytest.raises(ClientError, match="ResourceAlreadyExistsException"):
        codebuild.create_project(
            name=project.name, serviceRole=role, source={"type": "NO_SOURCE", "buildspec": "x: y"},
            artifacts={"type": "NO_ARTIFACTS"},
            environment={"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0",
                         "computeType": "BUILD_GENERAL1_SMALL"},
        )  # fmt: skip
    codebuild.update_project(name=project.name, description="second", timeoutInMinutes=10)
    (found,) = codebuild.batch_get_projects(names=[project.arn])["projects"]
    assert (found["description"], found["timeoutInMinutes"], found["name"]) == ("second", 10, project.name)
    assert project.name in codebuild.list_projects()["projects"]
    codebuild.delete_project(name=project.name)
    assert codebuild.batch_get_projects(names=[project.name])["projectsNotFound"] == [project.name]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        project.start()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"serviceRole": "arn:aws:iam::123456789012:role/nobody"}, "not authorized to perform: sts:AssumeRole"),
        ({"serviceRole": "arn:aws:iam::123456789012:role/jobs"}, "not authorized to perform: sts:AssumeRole"),
        ({"source": {"type": "GITHUB", "location": "https://github.com/a/b"}}, "GITHUB is not available"),
        ({"source": {"type": "S3", "location": "bucket"}}, "expected <bucket>/<path>"),
        ({"artifacts": {"type": "S3", "location": "bucket"}}, "artifacts: type S3 is not available"),
        ({"vpcConfig": {"vpcId": "vpc-1", "subnets": ["s"], "securityGroupIds": ["g"]}}, "vpcConfig of a project"),
        ({"buildBatchConfig": {"serviceRole": "r"}}, "buildBatchConfig of a project"),
    ],
)
def test_a_project_that_could_not_be_built_is_refused(
    cloud_daemon: CloudDaemon, role: str, change: dict[str, Any], message: str
) -> None:
    given = {"serviceRole": role, **change}
    with pytest.raises(ClientError, match="InvalidInputException") as refused:
        Project(cloud_daemon, given.pop("serviceRole"), say("true"), **given)
    assert message in str(refused.value)


def test_a_build_that_a_kill_interrupted_is_a_fault(tmp_path_factory: pytest.TempPathFactory) -> None:
    import os
    import signal

    daemon = CloudDaemon(tmp_path_factory.mktemp("builds") / "cloud")
    daemon.start()
    try:
        iam = daemon.client("iam")
        role = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(_TRUST))["Role"]["Arn"]
        project = Project(daemon, role, say("sleep 60"))
        build = project.start()
        eventually(lambda: project.describe(build)["currentPhase"] == "BUILD")
        # A snapshot of IAM is not needed for it: projects and builds are in the store.
        os.kill(daemon.running.pid, signal.SIGKILL)
        daemon.start()
        del daemon.session
        (found,) = daemon.client("codebuild").batch_get_builds(ids=[build])["builds"]
        assert (found["buildStatus"], found["buildComplete"]) == ("FAULT", True)
        assert "restarted while the build ran" in json.dumps(found["phases"], default=str)
    finally:
        daemon.stop()
