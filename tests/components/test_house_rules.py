"""What every component has in common, so that a component host can read them and a fork can rely on them."""

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


def component(module: str, name: str) -> type[pulumi.ComponentResource]:
    """The class."""
    found: type[pulumi.ComponentResource] = getattr(importlib.import_module(f"components.{module}"), name)
    return found


def test_there_are_components() -> None:
    assert len(COMPONENTS) >= 12


@pytest.mark.parametrize(("module", "name"), COMPONENTS)
def test_a_component_is_one_noun_a_file_with_its_arguments_and_its_token(module: str, name: str) -> None:
    made = component(module, name)
    assert re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() == module
    parameters = inspect.signature(made).parameters
    assert list(parameters) == ["name", "args", "opts"]
    arguments = parameters["args"].annotation
    assert arguments.__name__ == f"{name}Args"
    assert is_dataclass(arguments)
    assert f'super().__init__("millrace:index:{name}", name, None, opts)' in inspect.getsource(made)


@pytest.mark.parametrize(("module", "name"), COMPONENTS)
def test_outputs_are_annotated_and_registered_once(module: str, name: str) -> None:
    made = component(module, name)
    outputs = inspect.get_annotations(made)
    source = inspect.getsource(made)
    assert source.count("self.register_outputs(") == 1
    for output in outputs:
        assert f"self.{output}" in source, f"{name}.{output} is declared and never set"
    assert made.__doc__


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_sources_keep_to_what_a_component_host_and_other_programs_can_stand(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    # The host's analyzer reads annotations, which the future import turns into texts.
    assert "from __future__ import annotations" not in text
    for banned in (".merge(", "pulumi.Config", "os.environ", "pulumi.export(", "print(", "delete_before_replace"):
        assert banned not in text, f"{path.name} holds {banned}"
    top = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    names = {alias.name for each in top for alias in each.names} | {
        each.module for each in top if isinstance(each, ast.ImportFrom) and each.module
    }
    assert names.isdisjoint({"boto3", "botocore", "stacks", "training", "local", "cli"})
    assert len(text.splitlines()) < 500


def test_only_the_stack_its_workflow_and_the_platform_know_the_vocabulary() -> None:
    # How traffic moves is a fact of SageMaker, which needs no use case.
    other = re.compile(r"^(from|import) millrace(?!\.(rollout|errors)\b)", re.MULTILINE)
    knowing = {path.stem for path in SOURCES if other.search(path.read_text())}
    assert knowing == {"mlops_stack", "platform", "workflow"}


def test_importing_all_components_brings_no_boto3_and_no_use_case() -> None:
    imports = "; ".join(f"import components.{path.stem}" for path in SOURCES if path.stem != "__init__")
    program = (
        f"import sys; {imports}; print(sorted({{'boto3', 'stacks', 'training', 'local', 'numpy'}} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=FOLDER.parent, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
