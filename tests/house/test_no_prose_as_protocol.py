"""Check that no module matches on prose of another module: what two modules must agree on is a named value."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("cli", "components", "engine", "local", "millrace", "queries", "training")
SOURCES = [
    *(path for folder in FOLDERS for path in sorted((REPOSITORY / folder).rglob("*.py"))),
    REPOSITORY / "__main__.py",
]
#: A sentence or a part of one: two adjacent English words.
_PROSE = re.compile(r"[A-Za-z]{2,}[,;:]? [a-z]{2,}|^[a-z]{2,}: |[a-z]{2,}: $")
#: Methods that search for a text in another one.
_MATCHING = frozenset({"partition", "rpartition", "split", "startswith", "endswith", "removeprefix", "removesuffix",
                       "find", "index", "count", "search", "match", "fullmatch", "findall"})  # fmt: skip
#: Texts of other programs that offer no value instead: AWS, Pulumi, git, and formats that people write.
FOREIGN = {
    "local": "the words of AWS's SDKs, of moto and of boto3",
    "queries/client.py": "AWS's words for what does not exist",
    "queries/rollbacks.py": "SageMaker's FailureReason, which is all that it says of an ended deployment",
    "cli/pulumi": "Pulumi's words",
    "cli/diff/preview.py": "Pulumi's words",
    "cli/base": "Pulumi's words",
    "cli/stack/checkout.py": "git's and Pulumi's words",
    "cli/scaffold": "what people write into files of data",
    "cli/upgrading": "source code",
    "cli/delivery/rendering.py": "the head of files that this module writes itself",
    "cli/aws/endpoints.py": "SageMaker's words for an endpoint that does not exist",
    "cli/aws/model_packages.py": "reasons that version 0.1 kept in the registry, which had nothing else",
    "cli/examples.py": "a heading of its own in a help text",
    "millrace/errors.py": "pydantic's and Python's words",
}


def find_prose_matches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and text of each comparison with, or search for, a sentence."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(each, ast.In | ast.NotIn) for each in node.ops):
            if isinstance(node.left, ast.Constant) and is_prose(node.left.value):
                yield node.lineno, str(node.left.value)
        elif isinstance(node, ast.Compare):
            for side in (node.left, *node.comparators):
                if isinstance(side, ast.Constant) and is_prose(side.value):
                    yield node.lineno, str(side.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MATCHING:
            for given in node.args[:2]:
                if isinstance(given, ast.Constant) and is_prose(given.value):
                    yield node.lineno, str(given.value)


def is_prose(value: object) -> bool:
    return isinstance(value, str) and bool(_PROSE.search(value))


def test_prose_is_distinguished_from_values() -> None:
    assert is_prose("the deployment was rolled back")
    assert is_prose("not registered: ")
    assert is_prose(r"alone predicts (\w+)")
    assert not any(
        map(is_prose, ["InService", "aws:s3/bucket:Bucket", "s3://", "arn:", "rolled_back", ", ", "text/csv"])
    )
    found = list(
        find_prose_matches(
            ast.parse('if "was rolled back" in str(e) or x.startswith("everything under") or y == "a b": z')
        )
    )
    assert [text for _, text in found] == ["was rolled back", "everything under"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_module_matches_on_prose(path: Path) -> None:
    place = path.relative_to(REPOSITORY).as_posix()
    if any(place == each or place.startswith(f"{each}/") for each in FOREIGN):
        return
    assert list(find_prose_matches(ast.parse(path.read_text()))) == []
