"""Tests of `millrace review` in a separate checkout, with a local cloud that emulates the account."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.stack import review_stack
from local import client
from tests import forked
from tests.e2e.stand import Stand

pytestmark = pytest.mark.timeout(300)

RECORDS = "/millrace/review"


class Checkout(Stand):
    """A stand whose local cloud emulates every account."""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "MILLRACE_STAND_IN": "1"}

    def file(self, stack: str) -> Path:
        return self.folder / "stacks" / f"Pulumi.{stack}.yaml"

    def listed(self) -> dict[str, dict[str, Any]]:
        """Return the entries of `millrace review list` by stack."""
        return {each["stack"]: each for each in json.loads(self.millrace("review", "list", "--json").stdout)}

    def recorded(self) -> set[str]:
        """Return the stacks that have a record in the account."""
        found = self.client("ssm").get_parameters_by_path(Path=RECORDS)["Parameters"]
        return {parameter["Name"].removeprefix(f"{RECORDS}/") for parameter in found}

    def change(self, stack: str, **changes: Any) -> None:
        """Change the record of a stack, as time or a mistake would."""
        ssm, name = self.client("ssm"), f"{RECORDS}/{stack}"
        record = json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"])
        ssm.put_parameter(Name=name, Value=json.dumps({**record, **changes}), Type="String", Overwrite=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    folder = tmp_path_factory.mktemp("review") / "millrace"
    folder.mkdir()
    checkout = Checkout(folder, 60.0)
    checkout.start()
    try:
        yield checkout
    finally:
        client.stop(checkout.state)


@pytest.fixture(autouse=True)
def _remove_review_stacks(checkout: Checkout) -> Iterator[None]:
    """Delete the records and files of review stacks after each test."""
    yield
    for stack in checkout.recorded():
        checkout.client("ssm").delete_parameter(Name=f"{RECORDS}/{stack}")
        checkout.file(stack).unlink(missing_ok=True)


def test_a_review_stack_is_a_small_destroyable_copy_of_its_environment(checkout: Checkout) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    done = checkout.millrace("review", "create", "flights", "--pr", "7")
    assert "stack flights-pr-7: like flights-dev" in done.stdout
    assert "millrace up --stack flights-pr-7" in done.stdout
    dev = yaml.safe_load(checkout.file("flights-dev").read_text())["config"]
    text = checkout.file("flights-pr-7").read_text()
    config = yaml.safe_load(text)["config"]
    assert config == {
        "aws:region": "eu-west-1",
        "millrace:environment": {
            "name": "pr-7",
            "image": dev["millrace:environment"]["image"],
            "promotion": "automatic",
            "replay_from": "2013-04-01T00:00:00Z",
            "rollout": {"bake_seconds": 300},
            "force_destroy": True,
        },
    }
    assert dev["millrace:environment"]["endpoint_count"] == 2
    # The comments of the original file are kept.
    assert "# The team's own build of training/image" in text
    assert text.startswith("# Made by `millrace review create`")
    listed = checkout.listed()["flights-pr-7"]
    assert (listed["pull_request"], listed["from"], listed["expired"], listed["recorded"]) == (7, "dev", False, True)
    expires = datetime.fromisoformat(listed["expires"])
    assert timedelta(hours=72) <= expires - began <= timedelta(hours=72, minutes=2)
    assert checkout.git("status", "--porcelain").split() == ["??", "stacks/Pulumi.flights-pr-7.yaml"]


def test_creating_a_stack_again_extends_it_and_keeps_its_creation_time(checkout: Checkout) -> None:
    checkout.millrace("review", "create", "flights", "--pr", "7", "--expires", "1h")
    born = datetime.now(UTC) - timedelta(days=2)
    checkout.change("flights-pr-7", created=born.isoformat())
    before = checkout.listed()["flights-pr-7"]
    checkout.file("flights-pr-7").write_text("config: {}\n")
    again = json.loads(
        checkout.millrace("review", "create", "flights", "--pr", "7", "--expires", "3d", "--json").stdout
    )
    assert again["created"] == before["created"]
    longer = datetime.fromisoformat(again["expires"]) - datetime.fromisoformat(before["expires"])
    assert timedelta(hours=71) <= longer <= timedelta(hours=71, minutes=2)
    assert yaml.safe_load(checkout.file("flights-pr-7").read_text())["config"]["millrace:environment"]["name"] == "pr-7"


def test_a_stack_is_destroyed_from_a_checkout_without_its_file(checkout: Checkout) -> None:
    checkout.millrace("review", "create", "flights", "--pr", "7")
    checkout.millrace("review", "create", "flights", "--pr", "8")
    checkout.file("flights-pr-7").unlink()
    refused = _run_with_answer(checkout, "n\n", "review", "destroy", "--pr", "7")
    assert refused.returncode == 1
    assert "nothing was destroyed" in refused.stderr
    assert checkout.recorded() == {"flights-pr-7", "flights-pr-8"}
    done = checkout.millrace("review", "destroy", "--pr", "7", "--yes")
    assert "flights-pr-7 is destroyed" in done.stdout
    assert not checkout.file("flights-pr-7").exists()
    assert checkout.recorded() == {"flights-pr-8"}
    assert checkout.file("flights-pr-8").exists()
    assert "nothing to destroy" in checkout.millrace("review", "destroy", "flights", "--pr", "7", "--yes").stdout


def test_expire_destroys_expired_stacks_and_continues_after_a_failure(checkout: Checkout) -> None:
    assert "no review stack exists" in checkout.millrace("review", "expire", "--yes").stdout
    for number in ("1", "2", "3"):
        checkout.millrace("review", "create", "flights", "--pr", number)
    assert "none of 3 review stacks has expired" in checkout.millrace("review", "expire", "--yes").stdout
    over = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    # Its configuration cannot be read any more, e.g. because an earlier release wrote it.
    checkout.change("flights-pr-1", expires=over, configuration={"config": {"aws:region": "eu-west-1"}})
    checkout.change("flights-pr-2", expires=over)
    checkout.file("flights-pr-1").unlink()
    assert "expired" in checkout.millrace("review", "list").stdout
    done = checkout.millrace("review", "expire", "--yes", code=1)
    assert "1 of 2 review stacks could not be destroyed: flights-pr-1" in done.stderr
    assert "stack 'flights-pr-1', millrace:environment" in done.stderr
    assert "flights-pr-2 is destroyed" in done.stdout
    assert checkout.recorded() == {"flights-pr-1", "flights-pr-3"}


def test_a_stack_that_is_renewed_during_expire_is_kept(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    over = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    for number in ("1", "2"):
        checkout.millrace("review", "create", "flights", "--pr", number)
        checkout.change(f"flights-pr-{number}", expires=over)
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "review", "expire"],
        cwd=checkout.folder, env=checkout.environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        shown = ""
        while not shown.endswith("[y/N]: "):
            shown += (letter := process.stdout.read(1))
            assert letter, shown
        checkout.millrace("review", "create", "flights", "--pr", "2")
        out, _ = process.communicate("y\n", timeout=120)
    assert process.returncode == 0
    assert "flights-pr-1 is destroyed" in out
    assert "flights-pr-2 is kept: it was renewed in the meantime, until 20" in out
    assert (checkout.recorded(), checkout.file("flights-pr-2").exists()) == ({"flights-pr-2"}, True)

    for name, value in checkout.environment.items():
        monkeypatch.setenv(name, value)
    read = next(each for each in review_stack.list_records("dev")[0] if each.stack == "flights-pr-2")
    checkout.millrace("review", "create", "flights", "--pr", "2", "--expires", "3d")
    assert (read.delete(), checkout.recorded()) == (False, {"flights-pr-2"})
    now = read.reload()
    assert now is not None
    assert (now.delete(), checkout.recorded()) == (True, set())
    checkout.file("flights-pr-2").unlink()


def test_a_stack_unknown_to_the_backend_keeps_its_record(checkout: Checkout) -> None:
    checkout.millrace("review", "create", "flights", "--pr", "4")
    checkout.change("flights-pr-4", expires=(datetime.now(UTC) - timedelta(minutes=1)).isoformat())
    lake = {"Bucket": "flights-pr-4-lake-123456789012"}
    checkout.client("s3").create_bucket(**lake, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    said = checkout.millrace("review", "expire", "--yes", code=1).stderr
    assert "stack flights-pr-4 has no resources in the state of this backend (file://" in said
    assert f"bucket {lake['Bucket']}" in said
    assert checkout.recorded() == {"flights-pr-4"}
    checkout.client("s3").delete_bucket(**lake)


def test_invalid_records_are_reported_and_destroy_nothing(checkout: Checkout) -> None:
    for number in ("6", "7", "8"):
        checkout.millrace("review", "create", "flights", "--pr", number)
    over = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    checkout.change("flights-pr-6", expires=over)
    checkout.change("flights-pr-7", expires=over, use_case="payments")
    checkout.change("flights-pr-8", expires="some day")
    done = checkout.millrace("review", "expire", "--yes", code=1)
    assert "is about stack 'payments-pr-7'" in done.stderr
    assert "flights-pr-8 in eu-west-1 is not a record" in done.stderr
    assert "2 records cannot be read" in done.stderr
    assert checkout.recorded() == {"flights-pr-7", "flights-pr-8"}
    assert checkout.file("flights-pr-7").exists()


def test_a_file_without_a_record_is_listed(checkout: Checkout) -> None:
    path = checkout.file("flights-pr-9")
    path.write_text(checkout.file("flights-dev").read_text())
    try:
        assert "flights-pr-9  has a file but no record" in checkout.millrace("review", "list").stdout
        assert checkout.listed()["flights-pr-9"]["recorded"] is False
    finally:
        path.unlink()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["churn"], {"churn"}), (["churn-eu"], {"churn-eu"}), (["chur"], set()), ([], {"churn", "churn-eu"})],
)
def test_only_files_of_the_use_case_are_named_where_no_record_exists(
    checkout: Checkout, arguments: list[str], named: set[str]
) -> None:
    paths = [checkout.file(f"{name}-pr-9") for name in ("churn", "churn-eu")]
    for path in paths:
        path.write_text(checkout.file("flights-dev").read_text())
    try:
        said = checkout.millrace("review", "destroy", *arguments, "--pr", "9", "--yes").stdout
    finally:
        for path in paths:
            path.unlink()
    assert set(re.findall(r"^  (\S+)-pr-9 has a file", said, re.M)) == named
    assert set(re.findall(r"`millrace destroy (\S+) --env pr-9`", said)) == named


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["create", "flights", "--pr", "0"], 2, "0 is not in the range"),
        (["create", "flights", "--pr", "7", "--expires", "soon"], 2, "'soon'; expected a duration of at most 30d"),
        (["create", "flights", "--pr", "7", "--expires", "31d"], 2, "'31d'; expected a duration of at most 30d"),
        (["create", "flights", "--pr", "7", "--from", "local"], 2, "a local stack"),
        (["create", "flights", "--pr", "7", "--from", "moon"], 1, "stack 'flights-moon' does not exist"),
        (["create", "churn", "--pr", "7"], 1, "package stacks/churn does not exist"),
        (["list", "--from", "moon"], 1, "environment 'moon' has no stack"),
    ],
)
def test_invalid_arguments_create_nothing(checkout: Checkout, arguments: list[str], code: int, said: str) -> None:
    assert said in checkout.millrace("review", *arguments, code=code).stderr
    assert checkout.recorded() == set()
    assert checkout.git("status", "--porcelain") == ""


def test_without_credentials_nothing_is_written(checkout: Checkout) -> None:
    said = forked.run(
        [sys.executable, "-m", "cli.main", "review", "create", "flights", "--pr", "7"],
        cwd=checkout.folder,
        env={"PATH": checkout.environment["PATH"], "HOME": str(checkout.folder), "AWS_EC2_METADATA_DISABLED": "true"},
    )  # fmt: skip
    assert said.returncode == 1
    assert "Unable to locate credentials" in said.stderr
    assert not checkout.file("flights-pr-7").exists()


def test_the_local_cloud_emulates_an_account_only_on_request(checkout: Checkout) -> None:
    for value, said in [
        ("", "MILLRACE_STAND_IN=1 lets the local cloud emulate"),
        ("yes", "MILLRACE_STAND_IN='yes' is not known; expected 1"),
    ]:
        done = forked.run(
            [sys.executable, "-m", "cli.main", "review", "create", "flights", "--pr", "7"],
            cwd=checkout.folder,
            env={**checkout.environment, "MILLRACE_STAND_IN": value},
        )
        assert done.returncode == 1
        assert said in done.stderr
    assert checkout.recorded() == set()


def _run_with_answer(checkout: Checkout, answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run(
        [sys.executable, "-m", "cli.main", *arguments], cwd=checkout.folder, env=checkout.environment, input=answer
    )


# -- the platform, which is destroyed last -----------------------------------------------------------------------------


def write_shared_lake_files(checkout: Checkout) -> None:
    """Write the stack files of an environment whose use case keeps its data in the platform's lake."""
    dev = yaml.safe_load(checkout.file("flights-dev").read_text())
    environment = {"name": "prod", "image": dev["config"]["millrace:environment"]["image"]}
    for stack, more in (("flights-prod", {"lake": "shared"}), ("platform-prod", {})):
        config = {"aws:region": "eu-west-1", "millrace:environment": {**environment, **more}}
        checkout.file(stack).write_text(yaml.safe_dump({"config": config}))


def test_a_platform_is_destroyed_last_and_printed_steps_delete_the_rest(checkout: Checkout) -> None:
    write_shared_lake_files(checkout)
    prod = ("--env", "prod", "--yes")
    failed = checkout.millrace("deploy", "flights", *prod, "--create", code=1).stderr
    assert "`millrace deploy platform --env prod --create`" in failed
    # No earlier version exists to roll back to.
    assert "millrace rollback" not in failed
    assert "does not exist" in checkout.millrace("destroy", "flights", *prod).stdout
    # `millrace up` does not check this first, and leaves a Pulumi stack without resources.
    checkout.millrace("up", "--stack", "flights-prod", "--yes", code=1)
    assert "its empty state was removed" in checkout.millrace("destroy", "flights", *prod).stdout
    assert "does not exist" in checkout.millrace("destroy", "flights", *prod).stdout

    checkout.millrace("deploy", "platform", *prod, "--create")
    made = checkout.millrace("deploy", "flights", *prod, "--create").stdout
    assert "next  millrace retrain flights --env prod, millrace approve flights --env prod" in made
    refused = checkout.millrace("destroy", "platform", *prod, code=1).stderr
    assert "platform-prod is still used by flights-prod" in refused
    assert "`millrace destroy flights --env prod`" in refused
    checkout.millrace("destroy", "flights", *prod)
    said = json.loads(checkout.millrace("destroy", "platform", *prod, "--json").stdout)
    assert said["deleted"] == {"Dashboard": 1}
    assert {each["type"] for each in said["kept"]} == {"Bucket", "Key"}

    # The printed commands are run unchanged.
    for name in ("flights", "platform"):
        lines = json.loads(checkout.millrace("destroy", name, *prod, "--json").stdout)["next"]
        script = "\n".join(["set -e -o pipefail", *lines])
        done = subprocess.run(
            ["bash", "-c", script], cwd=checkout.folder, env={**checkout.environment, "AWS_REGION": "eu-west-1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "does not exist" in checkout.millrace("destroy", name, *prod).stdout
    assert not [each for each in checkout.client("s3").list_buckets()["Buckets"] if "prod" in each["Name"]]
    checkout.git("clean", "--quiet", "--force", "stacks")


def test_features_of_a_use_case_without_tables_cannot_be_paused(checkout: Checkout) -> None:
    readme = (checkout.folder / "README.md").read_text()
    for name, text in re.findall(r"```(?:python|yaml)\n# (stacks/\S+)\n(.*?)```", readme, re.DOTALL):
        (checkout.folder / name).parent.mkdir(exist_ok=True)
        (checkout.folder / name).write_text(text)
    for more in ((), ("--only", "retraining")):
        said = checkout.millrace("pause", "churn", "--only", "features", *more, code=1).stderr
        assert "use case churn has no feature tables" in said
        assert "nothing was changed; leave out `--only features`" in said
    checkout.git("clean", "--quiet", "--force", "-d", "stacks")
