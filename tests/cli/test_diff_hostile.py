"""Tests that text from resources stays text: no markup, no mentions, no secrets, and never too long."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest

from cli.diff import markdown
from cli.diff.values import SIGNATURE
from tests.cli.previewed import UNKNOWN, comment_on, diff_steps, make_preview, make_step, run_diff, write_preview

SECRET = "hunter2-and-more"

# -- markup ------------------------------------------------------------------------------------------------------------

NASTY = [
    "a | b | c",
    "`rm -rf`",
    "``` ```",
    "<script>alert(1)</script>",
    "</details><h1>merged</h1>",
    "<!-- hidden",
    "@octocat please",
    "[click](https://example.com)",
    "![](https://example.com/x.png)",
    "fixes #123",
    "**bold** __under__ ~~gone~~",
    "# heading",
    "- [x] done\n- [ ] undone",
    "1. one\n\n    code",
    "&lt;b&gt;",
    "$x^2$",
    "\x1b[31mred\x1b[0m",
    "\u202eesrever",
    "a\\",
]


def remove_code(text: str) -> str:
    """Return a comment without its code, in which markup has no effect."""
    fenced = re.sub(r"^( *)(`{3,})diff\n.*?^\1\2$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "CODE", fenced)


@pytest.mark.parametrize("nasty", NASTY)
def test_text_from_resources_is_escaped(nasty: str) -> None:
    old, new = {"description": "before", "name": nasty}, {"description": nasty, "name": nasty, nasty: nasty}
    policy = {"policy": json.dumps({"Statement": {"Effect": "Allow", "Action": nasty, "Resource": nasty}})}
    alarm = {"name": nasty, "metricName": nasty, "threshold": 1, "comparisonOperator": nasty}
    model = {"primaryContainer": {"environment": {nasty: nasty}, "modelPackageName": nasty}}
    text = comment_on(
        make_step("update", "Key", nasty, old, new, because=None, changed=[nasty]),
        make_step("delete", "Bucket", nasty, {"bucket": nasty}, because=[nasty]),
        make_step("update", "RolePolicy", nasty, {"policy": "{}"}, policy),
        make_step("create", "Alarm", nasty, None, alarm),
        make_step("replace", "Model", nasty, {}, model, because=[nasty], before={"retainOnDelete": True}),
    )

    seen = remove_code(text)
    assert not re.search(r"(?<!\\)<(?!/?details>|/?summary>)", seen), seen
    assert not re.search(r"(?<!\\)(\[|!\[)[^\]]*\]\(", seen), seen
    assert not re.search(r"@\w", seen), seen
    assert not re.search(r"#\d", seen), seen
    assert text.count("<details>") == text.count("</details>\n") == 1
    assert "\x1b" not in text
    assert "\u202e" not in text
    # Every row of a table has as many cells as its header.
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        cells = [len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()]
        assert len(set(cells)) == 1, block


def test_pipes_in_names_are_escaped_in_the_cost_table() -> None:
    """Escape pipes, because a pipe ends a cell even within code."""
    text = comment_on(make_step("create", "Alarm", "a", None, {"name": "x | y", "period": 60}))

    assert "| `x \\| y`, `MetricAlarm` | $0.00 | $0.10 |" in text


def test_documents_cannot_close_their_code_block() -> None:
    old = {"pipelineDefinition": json.dumps({"Steps": [], "Metadata": {"a": "1"}})}
    new = {"pipelineDefinition": json.dumps({"Steps": [], "Metadata": {"a": "```\n</details>\n@octocat"}})}
    text = comment_on(make_step("update", "Pipeline", "p", old, new))

    [fence] = re.findall(r"^ *(`{3,})diff$", text, flags=re.MULTILINE)
    inside = text[text.index(f"{fence}diff") + len(fence) :]
    assert fence not in inside[: inside.index("</details>")]
    assert len(fence) == 4


# -- secrets -----------------------------------------------------------------------------------------------------------


def make_secret(value: str = SECRET) -> dict[str, str]:
    return {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "plaintext": json.dumps(value), "ciphertext": value}


@pytest.mark.parametrize(
    "inputs",
    [
        {"value": make_secret()},
        {"nested": {"list": [{"value": make_secret()}]}},
        {"password": SECRET},
        {"dbPassword": SECRET},
        {"environment": {"API_TOKEN": SECRET}},
        {"environment": {"variables": [{"name": "STRIPE_SECRET", "value": SECRET}]}},
        {"accessKey": SECRET, "secretAccessKey": SECRET},
        {"credentials": {"user": "a", "pass": SECRET}},
        {"tokens": [SECRET]},
        {"url": f"https://user:{SECRET}@example.com/x"},
        {"text": "AKIAABCDEFGHIJKLMNOP and hunter2-and-more"[:24]},
        {"text": "-----BEGIN RSA PRIVATE KEY-----\nhunter2-and-more\n-----END RSA PRIVATE KEY-----"},
        {
            "pipelineDefinition": json.dumps(
                {"Steps": [{"Name": "A", "Arguments": {"Environment": {"KEY_TOKEN": SECRET}}}]}
            )
        },
        {"body": json.dumps({"deep": json.dumps({"api_key": SECRET})})},
        # A kind of value that is not known here is not shown.
        {"value": {SIGNATURE: "a-new-kind", "plaintext": SECRET}},
    ],
    ids=range(15),
)
@pytest.mark.parametrize("form", ["markdown", "json", "text"])
def test_no_secret_is_ever_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Any, inputs: dict[str, Any], form: str
) -> None:
    changed = json.loads(json.dumps(inputs).replace(SECRET, f"{SECRET}-after").replace("ABCDEF", "GHIJKL"))
    steps = [
        make_step("update", "Pipeline", "p", inputs, changed, changed=list(inputs)),
        make_step("create", "Queue", "made", None, inputs),
        make_step("delete", "Topic", "gone", inputs),
    ]
    failed = {"severity": "warning", "message": "https://a:hunter2-and-more@example.com"}

    code, out, err = run_diff(
        capsys,
        "--preview",
        write_preview(tmp_path / "p.json", make_preview(*steps, diagnostics=[failed])),
        "--format",
        form,
    )

    assert code == 3
    assert "hunter2" not in out + err
    assert "AKIA" not in out
    assert "[secret]" in out.replace("\\", "")


def test_a_changed_secret_is_reported() -> None:
    text = comment_on(make_step("update", "Queue", "q", {"value": make_secret("one")}, {"value": make_secret("two")}))
    same = comment_on(
        make_step("update", "Queue", "q", {"value": make_secret("one"), "a": 1}, {"value": make_secret("one"), "a": 2}),
    )

    assert "`value` *\\[secret\\]* → *\\[secret\\]*" in text
    assert "`value`" not in same


def test_a_changed_secret_hidden_by_the_engine_is_reported() -> None:
    text = comment_on(
        make_step("update", "Queue", "q", {"value": "[secret]"}, {"value": "[secret]"}, changed=["value"])
    )

    assert "`value` changes; its values are not shown" in text


def test_values_that_only_look_like_secrets_are_shown() -> None:
    inputs = {
        "kmsKeyId": "arn:aws:kms:key",
        "maxTokens": 5,
        "key": "code/x",
        "secretName": "n",
        "bucketKeyEnabled": True,
    }
    text = comment_on(make_step("update", "Queue", "q", dict.fromkeys(inputs, "before"), inputs))

    assert "secret\\]" not in text
    assert all(f"`{json.dumps(value) if not isinstance(value, str) else value}`" in text for value in inputs.values())


def test_files_are_shown_by_their_hash_and_not_by_their_path() -> None:
    source = {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "hash": "0123456789abcdef0123", "path": "/home/me/x.pyz"}
    text = comment_on(make_step("create", "aws:s3/bucketObjectv2:BucketObjectv2", "o", None, {"source": source}))
    document = diff_steps(make_step("create", "aws:s3/bucketObjectv2:BucketObjectv2", "o", None, {"source": source}))

    assert "/home/me" not in text + json.dumps(document)
    assert document["resources"][0]["inputs"] == {"source": "file of SHA-256 0123456789abcdef"}


# -- values known after deployment -------------------------------------------------------------------------------------


def test_values_known_after_deployment_are_marked() -> None:
    """Use one mark for every kind of unknown value."""
    kinds = [UNKNOWN, "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7", "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2"]
    new = {f"p{place}": kind for place, kind in enumerate(kinds)} | {"part": f"arn:{UNKNOWN}:x", "token": UNKNOWN}
    document = json.loads(json.dumps(diff_steps(make_step("update", "Queue", "q", {}, new))))
    text = comment_on(make_step("update", "Queue", "q", {}, new))

    assert {each["path"]: each["after"] for each in document["resources"][0]["properties"]} == {
        "p0": "known after deployment", "p1": "known after deployment", "p2": "known after deployment",
        "part": "arn:known after deployment:x", "token": "known after deployment",
    }  # fmt: skip
    assert "`p0` nothing → *known after deployment*" in text
    assert UNKNOWN not in text


def test_a_pipeline_definition_known_after_deployment_is_marked() -> None:
    text = comment_on(
        make_step("update", "Pipeline", "p", {"pipelineDefinition": '{"Steps": []}'}, {"pipelineDefinition": UNKNOWN})
    )

    assert "Pipeline `p` changes: its definition is known after deployment" in text


# -- length ------------------------------------------------------------------------------------------------------------


def make_many_steps(count: int) -> list[dict[str, Any]]:
    """Return steps that delete alarms and steps that change keys."""
    gone = [
        make_step("delete", "Alarm", f"alarm-{n:04}", {"name": f"alarm-{n:04}", "metricName": "m"})
        for n in range(count)
    ]
    changed = [
        make_step("update", "Key", f"key-{n:04}", {"description": "a" * 300}, {"description": "b" * 300})
        for n in range(count)
    ]
    return [*gone, *changed]


@cache
def _diff_many_steps(count: int) -> dict[str, Any]:
    return diff_steps(*make_many_steps(count))


def test_a_comment_that_fits_is_not_shortened() -> None:
    text = comment_on(*make_many_steps(20))

    assert len(text) < 65_536
    assert "Shortened" not in text
    assert "key-0019" in text


@pytest.mark.parametrize("limit", [65_536, 20_000, 8_000, 4_000, 2_000, 1_000])
@pytest.mark.parametrize("count", [250, 1_500])
def test_no_comment_is_longer_than_its_limit(count: int, limit: int) -> None:
    text = markdown.render_comment(_diff_many_steps(count), limit)

    assert len(text) <= limit
    assert f"**⚠ {count} risks**" in text
    assert "Shortened to fit" in text
    assert "--format text" in text


def test_the_folded_part_is_cut_first_and_risks_last() -> None:
    document = diff_steps(*make_many_steps(60))
    lengths = {limit: markdown.render_comment(document, limit) for limit in (40_000, 12_000, 1_000)}

    # Properties are cut first, then resources, then everything but the risks.
    assert "key-0059" in lengths[40_000]
    assert "aaa" not in lengths[12_000]
    for limit in (40_000, 12_000):
        assert all(f"alarm-{n:04}" in lengths[limit] for n in range(60))
    # Where even the risks do not fit, their number is printed.
    assert re.search(r"and \d+ risks more, omitted for length", lengths[1_000])


def test_risks_that_fit_are_shown_in_full() -> None:
    text = markdown.render_comment(diff_steps(*make_many_steps(30)), 8_000)

    assert all(f"alarm-{n:04}" in text for n in range(30))
    assert "Nobody is notified any more" in text
    assert "Check this first" in text
