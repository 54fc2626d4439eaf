"""The use case of the README: a dozen lines run the whole loop, on the wall clock and without feature tables."""

from __future__ import annotations

import json
import re

import pytest

from .stand import Stand

pytestmark = pytest.mark.timeout(600)

#: A file in the README: its path in the comment of the first line, then its content.
_FILE = re.compile(r"```(?:python|yaml)\n# (stacks/\S+)\n(.*?)```", re.DOTALL)


def test_the_readme_use_case_trains_serves_and_answers(stand: Stand) -> None:
    files = dict(_FILE.findall((stand.folder / "README.md").read_text()))
    assert sorted(files) == ["stacks/Pulumi.churn-local.yaml", "stacks/churn/__init__.py", "stacks/churn/data.py"]
    code = "\n".join(text for name, text in files.items() if name.endswith(".py"))
    assert len([line for line in code.splitlines() if line.strip() and '"""' not in line]) <= 12
    for name, text in files.items():
        (stand.folder / name).parent.mkdir(exist_ok=True)
        (stand.folder / name).write_text(text)

    summary = json.loads(stand.millrace("up", "churn", "--json", timeout=500).stdout)

    assert summary["endpoint"]["status"] == "InService"
    assert summary["version"] == 1
    assert [gate["metric"] for gate in summary["gates"]] == ["roc_auc"]
    answers = {}
    for calls in (0, 8):
        record = {"customer": "new", "asked_at": "2030-01-01T00:00:00Z", "calls": calls, "plan": "basic"}
        done = stand.millrace("invoke", "churn", "--json", json.dumps(record), "--json-output")
        answers[calls] = json.loads(done.stdout)["answer"]["score"]
    # The odds of leaving are e^(calls - 2) by construction.
    assert answers[0] < 0.3
    assert answers[8] > 0.7
