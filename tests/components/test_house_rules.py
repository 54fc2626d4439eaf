"""Common rules of all components, so that a component host can analyse them and a fork can rely on them."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pulumi
import pytest

FOLDER = Path(__file__).parents[2] / "components"
SOURCES = sorted(FOLDER.glob("*.py"))
COMPONENTS = [
    (path.stem, each.name)
    for path in SOURCES
    for each in ast.parse(path.read_text()).body
    if isinstance(each, ast.ClassDef) and any("ComponentResource" in ast.unparse(base) for base in each.bases)
]


def load_component(module: str, name: str) -> type[pulumi.ComponentResource]:
    """Return the class of a component."""
    found: type[pulumi.ComponentResource] = getattr(importlib.import_module(f"components.{module}"), name)
    return found


def test_components_are_found() -> None:
    assert len(COMPONENTS) >= 12


@pytest.mark.parametrize(("module", "name"), COMPONENTS)
def test_a_component_has_its_own_file_arguments_and_token(module: str, name: str) -> None:
    made = load_component(module, name)
    assert re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() == module
    parameters = inspect.signature(made).parameters
    assert list(parameters) == ["name", "args", "opts"]
    arguments = parameters["args"].annotation
    assert arguments.__name__ == f"{name}Args"
    assert is_dataclass(arguments)
    assert f'super().__init__("millrace:index:{name}", name, None, opts)' in inspect.getsource(made)


@pytest.mark.parametrize(("module", "name"), COMPONENTS)
def test_outputs_are_annotated_and_registered_once(module: str, name: str) -> None:
    made = load_component(module, name)
    outputs = inspect.get_annotations(made)
    source = inspect.getsource(made)
    assert source.count("self.register_outputs(") == 1
    for output in outputs:
        assert f"self.{output}" in source, f"{name}.{output} is declared and never set"
    assert made.__doc__


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_sources_avoid_what_a_component_host_cannot_use(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    # The analyzer of the host reads annotations, which the future import would turn into strings.
    assert "from __future__ import annotations" not in text
    for banned in (".merge(", "pulumi.Config", "os.environ", "pulumi.export(", "print(", "delete_before_replace"):
        assert banned not in text, f"{path.name} holds {banned}"
    top = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    names = {alias.name for each in top for alias in each.names} | {
        each.module for each in top if isinstance(each, ast.ImportFrom) and each.module
    }
    assert names.isdisjoint({"boto3", "botocore", "stacks", "training", "local", "cli"})
    assert len(text.splitlines()) < 500


def test_only_stack_workflow_and_platform_import_the_vocabulary() -> None:
    # Rollouts, metrics and errors are allowed: they do not depend on a use case.
    other = re.compile(r"^(from|import) millrace(?!\.(rollout|errors|watching)\b)", re.MULTILINE)
    knowing = {path.stem for path in SOURCES if other.search(path.read_text())}
    assert knowing == {"mlops_stack", "platform", "stack_args", "workflow"}


def test_importing_components_imports_no_boto3_and_no_use_case() -> None:
    imports = "; ".join(f"import components.{path.stem}" for path in SOURCES if path.stem != "__init__")
    program = (
        f"import sys; {imports}; print(sorted({{'boto3', 'stacks', 'training', 'local', 'numpy'}} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=FOLDER.parent, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
