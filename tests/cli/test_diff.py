"""Tests of `millrace diff` with recorded previews: sections, formats and exit codes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

import stacks
from cli.diff import markdown
from cli.diff.risks.risk import KINDS
from tests.cli.conftest import REPOSITORY, Millrace
from tests.cli.previewed import (
    PREVIEWS,
    comment_on,
    diff_recorded,
    diff_steps,
    make_preview,
    make_step,
    make_urn,
    run_diff,
    write_preview,
)


def lines(text: str) -> list[str]:
    return text.splitlines()


# -- recorded previews -------------------------------------------------------------------------------------------------


def test_a_changed_rollout_is_described_stage_by_stage() -> None:
    [traffic] = diff_recorded("rollout")["traffic"]

    assert traffic["moves_traffic"]
    # 30 percent per step: 30, 60, 90, 100; two minutes after each, the last before the old fleet is terminated.
    assert [(each["percent"], each["minutes"]) for each in traffic["rollout"]["stages"]] == [
        (30, 2), (60, 2), (90, 2), (100, 2),
    ]  # fmt: skip
    assert (traffic["rollout"]["minutes"], traffic["rollout"]["limit_minutes"]) == (8, 50)
    assert traffic["rollout"]["alarms"] == ["flights-local-errors", "flights-local-latency"]
    assert traffic["rollout_before"]["kind"] == "all at once"
    assert traffic["peak"] == "2 × ml.m5.large and 2 × ml.m5.large"


def test_an_added_feature_is_shown_with_the_changed_code() -> None:
    document = diff_recorded("feature")

    [table] = document["model"]["features"]
    assert (table["table"], table["added"], table["removed"]) == (
        "weather", [{"name": "pressure", "type": "Fractional"}], [],
    )  # fmt: skip
    code = document["model"]["code"]
    assert code["before"] != code["after"]
    assert len(code["before"]) == len(code["after"]) == 16
    # The pipeline definitions differ only in the code that they name, so no step counts as changed.
    assert [each["steps_changed"] for each in document["pipelines"]] == [[], [], []]
    assert all(each["code_changed"] for each in document["pipelines"])
    assert document["risks"] == []


def test_a_changed_role_is_described_action_by_action() -> None:
    [entry] = diff_recorded("role")["permissions"]

    groups = [
        f"arn:aws:sagemaker:eu-west-1:123456789012:feature-group/flights-local-{table}"
        for table in ("carrier-departures", "departures", "weather")
    ]
    assert (entry["of"], entry["name"]) == ("role", "flights-local-job-role")
    assert [(each["actions"], each["resources"], each["wildcard"]) for each in entry["gained"]] == [
        (["sagemaker:DeleteRecord"], groups, False)
    ]
    assert [(each["actions"], each["resources"]) for each in entry["lost"]] == [(["sagemaker:GetRecord"], groups)]


def test_another_instance_type_is_shown_with_its_cost_and_jobs() -> None:
    document = diff_recorded("instance")

    [traffic] = document["traffic"]
    [fleet] = traffic["fleet"]
    assert (fleet["before"]["instance"], fleet["after"]["instance"]) == ("ml.m5.large", "ml.m5.xlarge")
    # Two servers for 730 hours, and eight alarms, dashboards and keys for 4.60.
    assert document["cost"]["before"] == pytest.approx(2 * 730 * 0.128 + 4.60, abs=0.01)
    assert document["cost"]["after"] == pytest.approx(2 * 730 * 0.257 + 4.60, abs=0.01)
    # The price table has no price for this instance type.
    assert {each["kind"]: each["after"]["hourly"] for each in document["cost"]["hourly"]} == {
        "processing": None, "training": None,
    }  # fmt: skip
    text = markdown.render_comment(document)
    assert "`ml.m5.2xlarge` unknown" in text
    assert "steps `Ingest`, `Validate`, `Features`, `Evaluate`:" in text


def test_a_replaced_feature_group_is_shown_first() -> None:
    document = diff_recorded("group")
    text = markdown.render_comment(document)

    assert document["verdict"] == "risky changes"
    assert [(each["kind"], each["name"]) for each in document["risks"]] == [
        ("replaced", f"flights-local-{table}") for table in ("carrier-departures", "departures", "weather")
    ]
    assert "online store is recreated" in text
    assert "`offlineStoreConfig.tableFormat` changes" in text
    assert text.index("Check this first") < text.index("Unchanged: ")


def test_another_model_is_shown_by_its_version() -> None:
    document = diff_recorded("model")

    serves = document["model"]["serves"]
    assert (serves["before"]["version"], serves["after"]["version"]) == (1, 2)
    assert document["traffic"][0]["why"] == "the model changes"
    # The old configuration and model stay at AWS, so nothing is lost with them.
    assert document["risks"] == []
    assert "**Serves** version 1 → version 2" in markdown.render_comment(document)


def test_a_new_stack_is_created_without_risks() -> None:
    document = diff_recorded("new")

    assert document["new"]
    assert (document["verdict"], document["risks"]) == ("changes", [])
    assert set(document["counts"]) == {"create"}
    # One key, one dashboard, four alarms.
    assert (document["cost"]["before"], document["cost"]["after"]) == (0, pytest.approx(1.00 + 3.00 + 4 * 0.10))
    assert "**Creates all resources**" in markdown.render_comment(document)


def test_an_unchanged_stack_gives_a_short_comment() -> None:
    document = diff_recorded("same")

    assert document["verdict"] == "no changes"
    assert [line for line in lines(markdown.render_comment(document)) if line] == [
        "## Millrace: changes of `flights-local`", "**Nothing changes.**", "A test.",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["rollout", "feature", "role", "instance", "group", "model", "new", "same"])
def test_a_preview_always_gives_the_same_document_and_comment(name: str) -> None:
    first, second = diff_recorded(name), diff_recorded(name)

    assert json.dumps(first) == json.dumps(second)
    assert markdown.render_comment(first) == markdown.render_comment(second)
    # Names that the engine generates are shown as `-(new)`.
    assert "-(new)" in markdown.render_comment(first) or name in ("rollout", "feature", "role", "group", "same", "new")


# -- exit codes and formats --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "code"), [("same", 0), ("role", 2), ("new", 2), ("group", 3), ("failed", 1)])
def test_exit_codes_distinguish_no_change_change_risk_and_failure(
    capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    assert run_diff(capsys, "--preview", str(PREVIEWS / f"{name}.json"))[0] == code


def test_a_separate_process_reads_the_preview_from_stdin(tmp_path: Path) -> None:
    millrace = Millrace(tmp_path / "state")
    given = (PREVIEWS / "group.json").read_text()

    told = millrace("diff", "flights", "--preview", "-", code=3, stdin=given)
    wrong = millrace("diff", "flights", "--preview", "-", "--no-such-option", code=1)

    assert told.stdout.startswith("## Millrace: changes of `flights-local`")
    assert told.stderr == ""
    # Exit code 2 would mean that something changes.
    assert "No such option" in wrong.stderr
    # No state folder was created.
    assert not (tmp_path / "state").exists()


def test_json_has_all_sections_of_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_diff(capsys, "--preview", str(PREVIEWS / "instance.json"), "--json")

    document = json.loads(out)
    assert code == 2
    assert document["version"] == 2
    assert set(document) == {
        "version", "stack", "use_case", "environment", "region", "source", "verdict", "new", "counts", "unchanged",
        "risks", "traffic", "model", "permissions", "watching", "pipelines", "cost", "resources", "notes",
    }  # fmt: skip
    assert document["cost"]["currency"] == "USD"


def test_text_format_has_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_diff(capsys, "--preview", str(PREVIEWS / "group.json"), "--format", "text")

    assert code == 3
    assert "Replaces the feature group flights-local-carrier-departures" in out
    assert not {"`", "*", "<", "\x1b"} & set(out)


def test_output_goes_to_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "comment.md"

    code, out, err = run_diff(capsys, "--preview", str(PREVIEWS / "role.json"), "--output", str(file))

    assert (code, out) == (2, "")
    assert file.read_text().startswith("## Millrace")
    assert f"written to {file}" in err


def test_an_output_file_that_cannot_be_written_is_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "not" / "there.md"

    code, _, err = run_diff(capsys, "--preview", str(PREVIEWS / "role.json"), "--output", str(file))

    assert code == 1
    assert str(file) in err


# -- unreadable previews -----------------------------------------------------------------------------------------------

WHOLE = (PREVIEWS / "role.json").read_text()
UNSAYABLE = {
    "empty": ("", "is empty"),
    "blank": (" \n ", "is empty"),
    "cut off": (WHOLE[: len(WHOLE) // 2], "seems to be truncated"),
    "no JSON": ("error: no stack", "is not JSON"),
    "a list": ("[]", "contains list"),
    "another document": ('{"version": 3, "deployment": {}}', "has no list `steps`, only deployment, version"),
    "steps of another shape": ('{"steps": {"a": 1}}', "steps is an object; expected a list"),
    "a number of steps": ('{"steps": 5}', "steps is 5; expected a list"),
    "a step of another shape": ('{"steps": ["create"]}', "steps[0] has no `op` and `urn`"),
    "an unknown operation": (json.dumps(make_preview(make_step("transmogrify", "Key", "k", {}, {}))), "'transmogrify'"),
    "no URN": ('{"steps": [{"op": "create", "urn": "key"}]}', "steps[0].urn is 'key'"),
    "a state of another shape": (
        json.dumps({"steps": [{"op": "create", "urn": make_urn("Key", "k"), "newState": 3}]}),
        "steps[0].newState is not an object",
    ),
    "no steps at all": ('{"steps": []}', "has no steps and no changeSummary, so its stack is unknown"),
    "steps that were cut out": (
        json.dumps(make_preview(changeSummary={"same": 1, "update": 2})),
        "changeSummary reports update: 2, but `steps` contains 0; expected the complete JSON of a preview",
    ),
    "all steps cut out": ('{"changeSummary": {"same": 9, "delete": 1}}', "reports delete: 1, but `steps` contains 0"),
    "diagnostics of another shape": ('{"steps": [], "diagnostics": 3}', "`diagnostics` is not a list"),
    "nested without end": ("[" * 100_000, "is not JSON"),
}


@pytest.mark.parametrize("name", UNSAYABLE)
def test_invalid_previews_are_refused_naming_the_problem(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    text, expected = UNSAYABLE[name]
    path = write_preview(tmp_path / "preview.json", text)

    code, out, err = run_diff(capsys, "--preview", path)

    assert (code, out) == (1, "")
    assert path in err
    assert expected in err
    assert Path(path).read_text() == text


def test_missing_and_binary_preview_files_are_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b'{"steps": "\xff\xfe"}')

    assert "does not exist" in run_diff(capsys, "--preview", str(tmp_path / "none.json"))[2]
    assert "not UTF-8 (byte 11)" in run_diff(capsys, "--preview", str(binary))[2]
    assert "directory" in run_diff(capsys, "--preview", str(tmp_path))[2]


@pytest.mark.parametrize("name", ["rollout", "feature", "role", "instance", "group", "model", "new"])
def test_a_preview_without_its_changed_steps_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    document = json.loads((PREVIEWS / f"{name}.json").read_text())
    document["steps"] = [each for each in document["steps"] if each["op"] == "same"]

    code, out, err = run_diff(capsys, "--preview", write_preview(tmp_path / "preview.json", document))

    assert (code, out) == (1, "")
    assert "but `steps` contains 0" in err


def test_a_preview_without_steps_is_no_change(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Accept a preview made without `--show-sames`, in which the engine omits an empty list of steps."""
    assert (
        run_diff(capsys, "--preview", write_preview(tmp_path / "preview.json", {"changeSummary": {"same": 9}}))[0] == 0
    )


def test_a_byte_order_mark_is_accepted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "preview.json"
    path.write_bytes(b"\xef\xbb\xbf" + WHOLE.encode())

    assert run_diff(capsys, "--preview", str(path))[0] == 2


def test_a_failed_preview_reports_the_cause(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run_diff(capsys, "--preview", str(PREVIEWS / "failed.json"))

    assert (code, out) == (1, "")
    assert "flights-local-weather-schema: before hook" in err
    assert "'visib' is gone" in err
    # The engine's closing message adds nothing.
    assert "preview failed\n" not in err.partition("unknown:")[2]


def test_warnings_become_notes() -> None:
    document = diff_steps(diagnostics=[{"severity": "warning", "message": "warning: <{%fg 1%}>soon gone<{%reset%}>\n"}])

    assert document["notes"] == ["soon gone"]


def test_a_preview_of_another_stack_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_preview(tmp_path / "preview.json", WHOLE.replace("flights-local", "churn-prod"))

    code, _, err = run_diff(capsys, "--preview", path)

    assert code == 1
    assert "belongs to stack churn-prod; expected flights-local" in err


def test_a_preview_of_two_stacks_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    document = make_preview(make_step("create", "Key", "k", None, {}))
    document["steps"][0]["urn"] = document["steps"][0]["urn"].replace("flights-local", "churn-prod")

    code, _, err = run_diff(capsys, "--preview", write_preview(tmp_path / "preview.json", document))

    assert code == 1
    assert "covers several stacks: churn-prod, flights-local" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--preview", "x", "--base", "main"], "--preview and --base"),
        (["--preview", "x", "--refresh"], "--refresh needs"),
        (["--base", "main", "--save-plan", "plan.json"], "--save-plan needs"),
        (["--json", "--format", "text"], "--json and --format text"),
        (["--limit", "10"], "--limit"),
        (["--format", "html"], "--format"),
    ],
)
def test_contradictory_and_invalid_options_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    code, out, err = run_diff(capsys, *arguments)

    assert (code, out) == (1, "")
    assert expected in err


def test_a_preview_without_unchanged_resources_notes_its_limits() -> None:
    changed = make_step("update", "Key", "k", {"enableKeyRotation": False}, {"enableKeyRotation": True})
    document = diff_steps(changed)
    short = json.loads(json.dumps(make_preview(changed)))
    short["steps"] = short["steps"][1:]

    from tests.cli.previewed import diff_preview

    assert document["notes"] == []
    assert "lists only changed resources" in diff_preview(short)["notes"][0]
    assert "changed resources only" in markdown.render_comment(diff_preview(short))


def test_untouched_parts_are_listed() -> None:
    text = comment_on(make_step("update", "Topic", "t", {"displayName": "a"}, {"displayName": "b"}))

    assert "Unchanged: traffic; the model and its training; permissions; alarms, schedules and pipelines." in text


def test_every_kind_of_risk_is_documented() -> None:
    page = (REPOSITORY / "docs" / "reviewing.md").read_text()

    assert len(KINDS) > 12
    assert {kind for kind in KINDS if f"`{kind}`" not in page} == set()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("new", "The current program; nothing is deployed to compare it with."),
        ("role", "The current program, compared to the deployed stack."),
    ],
)
def test_the_comment_states_what_was_compared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    """Replace the engine, which is tested elsewhere, with a recorded preview."""
    found = json.loads((PREVIEWS / f"{name}.json").read_text())
    monkeypatch.setattr("cli.stack.connection.use_environment", lambda *_: None)
    monkeypatch.setattr("cli.pulumi.previews.preview_stack", lambda *_, **__: found)
    monkeypatch.setattr("cli.diff.lookups.make_lookups", lambda _: {})

    _, out, _ = run_diff(capsys, "--format", "markdown")

    assert expected in lines(out)
    assert name != "new" or "compared to the deployed stack" not in out


# -- two revisions -----------------------------------------------------------------------------------------------------


def mock_comparison(monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    """Replace the comparison, which is tested elsewhere, with a recorded preview."""
    document = json.loads((PREVIEWS / "role.json").read_text())
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.strip()
    document["compared"] = {
        "base": {"revision": "origin/main", "commit": commit, "found": found},
        "head": {"revision": "working tree", "commit": None},
    }
    monkeypatch.setattr("cli.base.comparison.compare_revisions", lambda target, base, progress: document)


def test_a_comparison_names_both_revisions(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    mock_comparison(monkeypatch, found=False)

    code, out, _ = run_diff(capsys, "--base", "origin/main")

    assert code == 2
    assert re.search(
        r"^What is declared in working tree, compared with origin/main \([0-9a-f]{10}\); the deployed stack may differ",
        out,
        re.M,
    )


def test_a_removed_gate_is_found_by_comparing_both_revisions(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mock_comparison(monkeypatch, found=True)
    loose = stacks.load("flights").model_copy(update={"gates": ()})
    monkeypatch.setattr("stacks.load", lambda name: loose)

    code, out, _ = run_diff(capsys, "--base", "origin/main", "--json")

    assert code == 3
    assert {each["consequence"] for each in json.loads(out)["risks"]} >= {"The gate on roc_auc is removed."}
