"""Tests of the runner, with small pages."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
import pytest

from local import client
from tests.docs import runner
from tests.docs.pages import PageError, parse_blocks, parse_commands
from tests.docs.runner import Ran
from tests.e2e.stand import eventually


def follow(folder: Path, text: str, *, timeout: float = 20.0) -> Ran:
    """Follow a page with this text in a folder that contains one file, `there.py`."""
    (folder / "there.py").write_text("def area(r):\n    # of a circle\n    return 3 * r * r\n")
    page = folder / "page.md"
    page.write_text(text)
    return runner.run_page(page, folder, variables={"PATH": os.environ["PATH"]}, timeout=timeout)


def get_refusal(folder: Path, text: str, *, timeout: float = 20.0) -> str:
    """Return the error of the runner for a page that cannot be followed."""
    with pytest.raises(PageError) as error:
        follow(folder, text, timeout=timeout)
    return str(error.value)


def format_console_block(*lines: str) -> str:
    return "\n".join(["```console", *lines, "```", ""])


def test_commands_run_in_one_shell_and_in_order(tmp_path: Path) -> None:
    ran = follow(
        tmp_path,
        format_console_block("mkdir below", "cd below", "export WORD=kept")
        + "then\n\n"
        + format_console_block("echo $WORD; pwd"),
    )
    assert ran.done[-1].output.split() == ["kept", str(tmp_path / "below")]
    assert [each.command.line for each in ran.done] == [2, 3, 4, 9]


def test_a_continued_line_is_one_command(tmp_path: Path) -> None:
    ran = follow(tmp_path, format_console_block("echo one \\", "  two", "", "# said by nobody", "echo three"))
    assert [each.output for each in ran.done] == ["one two\n", "three\n"]


def test_a_failing_command_shows_page_line_command_and_output(tmp_path: Path) -> None:
    said = get_refusal(tmp_path, "# Page\n\n" + format_console_block("echo before", "echo so; false"))
    assert "page.md:5: ended with exit code 1, expected 0" in said
    assert "echo so; false" in said
    assert "it printed:\nso" in said


def test_a_failure_within_a_pipe_fails_the_page(tmp_path: Path) -> None:
    assert "exit code 1" in get_refusal(tmp_path, format_console_block("false | cat"))


def test_an_expected_exit_code_is_accepted_and_another_refused(tmp_path: Path) -> None:
    follow(tmp_path, format_console_block("(exit 3)  # exit code 3"))
    assert "ended with exit code 0, expected 3" in get_refusal(tmp_path, format_console_block("true  # exit code 3"))


def test_a_command_that_times_out_is_reported_and_killed(tmp_path: Path) -> None:
    said = get_refusal(tmp_path, format_console_block("sleep 5071 & echo $!; wait"), timeout=1)
    assert "took more than 1 s" in said
    pid = int(said.splitlines()[-1])
    eventually(lambda: True if _has_ended(pid) else None, "the end of the background process", 10)


def _has_ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_background_process_does_not_block_the_page(tmp_path: Path) -> None:
    ran = follow(tmp_path, format_console_block("sleep 5072 &", "echo on"))
    assert ran.done[-1].output == "on\n"


def test_a_command_that_reads_input_fails(tmp_path: Path) -> None:
    assert "exit code 1" in get_refusal(tmp_path, format_console_block("read answer"))


def test_a_command_that_ends_the_shell_is_reported(tmp_path: Path) -> None:
    assert "ended the shell" in get_refusal(tmp_path, format_console_block("exit 0"))


def test_a_file_is_written_before_the_commands_after_it(tmp_path: Path) -> None:
    ran = follow(tmp_path, '```yaml title="made/a.yaml"\nkey: 1\n```\n\n' + format_console_block("cat made/a.yaml"))
    assert ran.done[0].output == "key: 1\n"
    assert ran.written == ["made/a.yaml"]


def test_an_indented_block_loses_its_indentation(tmp_path: Path) -> None:
    follow(
        tmp_path,
        '1. Write:\n\n    ```python title="a.py"\n    if True:\n        x = 1\n    ```\n'
        + format_console_block("true"),
    )
    assert (tmp_path / "a.py").read_text() == "if True:\n    x = 1\n"


def test_a_diff_block_changes_its_file(tmp_path: Path) -> None:
    change = '```diff title="there.py"\n     # of a circle\n-    return 3 * r * r\n+    return 3.1 * r * r\n```\n'
    follow(tmp_path, change + format_console_block("grep 3.1 there.py"))
    assert (tmp_path / "there.py").read_text().endswith("    # of a circle\n    return 3.1 * r * r\n")


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ('```diff title="there.py"\n-    return 4 * r * r\n```\n', "stands 0 times in there.py, expected once"),
        ('```diff title="gone.py"\n-a\n```\n', "there is no file gone.py"),
        ('```diff title="there.py"\n@@ -1 +1 @@\n```\n', "begins with none of"),
        ('```python title="from there.py"\nreturn 4 * r * r\n```\n', "do not stand in there.py"),
        ('```python title="from gone.py"\nx = 1\n```\n', "there is no file gone.py"),
        ("```bash\ntrue\n```\n", "a block of 'bash' is not run: use console"),
        ("```\ntrue\n```\n", "a block of no language is not run"),
        ("```python\nx = 1\n```\n", "without a file is not tried"),
        ('```python title="/etc/x"\nx = 1\n```\n', "leaves the checkout"),
        ('```python title="../x"\nx = 1\n```\n', "leaves the checkout"),
        ('```console title="later"\ntrue\n```\n', "need a reason"),
        ("```console\n$ true\n```\n", "a prompt cannot be typed"),
        ("```console\ntrue \\\n```\n", "goes on after the block"),
        ("```text\nnever closed\n", "is never closed"),
    ],
)
def test_a_block_that_cannot_be_followed_is_refused(tmp_path: Path, block: str, said: str) -> None:
    assert said in get_refusal(tmp_path, format_console_block("true") + block)


def test_an_excerpt_that_matches_its_file_is_accepted(tmp_path: Path) -> None:
    follow(
        tmp_path,
        '```python title="from there.py"\n# of a circle\nreturn 3 * r * r\n```\n' + format_console_block("true"),
    )


def test_commands_with_a_reason_are_skipped_and_reported(tmp_path: Path) -> None:
    text = '```console title="on AWS: needs an account"\nfalse\n```\n'
    [block] = follow(tmp_path, format_console_block("true") + text).skipped
    assert block.reason == "on AWS: needs an account"
    assert [command.text for command in parse_commands(block)] == ["false"]


def test_a_page_without_commands_is_refused(tmp_path: Path) -> None:
    assert "there is nothing to run" in get_refusal(tmp_path, "# Page\n\n```text\nx\n```\n")


def test_a_longer_fence_may_contain_a_shorter_one() -> None:
    [block] = parse_blocks("page.md", "````text\n```bash\n```\n````\n")
    assert block.text == "```bash\n```\n"


def test_the_cloud_of_a_page_is_stopped_with_its_clone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        format_console_block("git status --porcelain", "millrace local start --json > started.json", "false")
    )
    with pytest.raises(PageError, match=r"page\.md:4: ended with exit code 1"), runner.clone(tmp_path) as checkout:
        runner.run_page(page, checkout, timeout=60)
    started = json.loads((checkout / "started.json").read_text())
    assert str(checkout) in json.dumps(started)
    assert client.find_daemon(checkout / ".millrace") is None
    assert _has_ended(started["pid"])
