"""Use cases: loading them, the cost of importing the vocabulary, and the validity of the committed stacks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import stacks
from millrace import DeclarationError, Environment, UseCase

REPOSITORY = Path(__file__).parents[1]
CONFIGURED = sorted((REPOSITORY / "stacks").glob("Pulumi.*.yaml"))


@pytest.fixture
def use_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield an empty folder that replaces `stacks/`."""
    monkeypatch.setattr(stacks, "__path__", [str(tmp_path)])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("stacks.") and "flights" not in name]:
        del sys.modules[name]


def write_use_case(folder: Path, package: str, source: str) -> None:
    """Write the package of a use case."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(source)


def render_declaration(name: str) -> str:
    return f'from millrace import UseCase\n\nUSE_CASE = UseCase(name="{name}", target="y", key="k", event_time="t")\n'


def test_a_use_case_is_found_by_its_name(use_cases: Path) -> None:
    write_use_case(use_cases, "churn_eu", render_declaration("churn-eu"))
    assert stacks.load("churn-eu") == UseCase(name="churn-eu", target="y", key="k", event_time="t")


def test_the_flights_use_case_is_loaded() -> None:
    assert stacks.load("flights").name == "flights"


def test_a_missing_use_case_is_refused_with_the_existing_names(use_cases: Path) -> None:
    with pytest.raises(DeclarationError) as refused:
        stacks.load("churn-eu")
    assert str(refused.value) == "use case 'churn-eu':\n  - package stacks/churn_eu does not exist; choose one of: none"
    write_use_case(use_cases, "churn_us", render_declaration("churn-us"))
    (use_cases / "notes").mkdir()
    (use_cases / "module.py").write_text("")
    with pytest.raises(DeclarationError, match=r"choose one of: churn-us$"):
        stacks.load("churn-eu")


@pytest.mark.parametrize("source", ["", "USE_CASE = {'name': 'churn'}\n", "use_case = 1\n"])
def test_a_package_without_a_declaration_is_refused(use_cases: Path, source: str) -> None:
    write_use_case(use_cases, "churn", source)
    with pytest.raises(
        DeclarationError, match=r"^use case 'churn':\n  - stacks/churn/__init__.py has no USE_CASE = UseC"
    ):
        stacks.load("churn")


def test_a_declaration_under_another_name_is_refused(use_cases: Path) -> None:
    write_use_case(use_cases, "churn", render_declaration("chum"))
    with pytest.raises(DeclarationError) as refused:
        stacks.load("churn")
    assert str(refused.value) == (
        "use case 'churn':\n  - stacks/churn declares name='chum'; give the name and the folder the same name"
    )


def test_an_invalid_declaration_is_refused_by_field(use_cases: Path) -> None:
    write_use_case(use_cases, "churn", render_declaration("churn").replace('key="k"', 'kye="k"'))
    with pytest.raises(DeclarationError, match=r"kye = 'k' is not a field; did you mean 'key'\?"):
        stacks.load("churn")


HEAD = "from millrace import Gate, Monitoring, UseCase\n\n"
#: The source of a use case's package, and its complete error message.
BROKEN: list[tuple[str, str, str]] = [
    (
        "a part",
        f"{HEAD}WATCHED = Monitoring(evry=3, psi_alarm=0)\n",
        "use case 'churn', stacks/churn:\n"
        "  - Monitoring(…): psi_alarm = 0: Input should be greater than 0; change it\n"
        "  - Monitoring(…): evry = 3 is not a field; did you mean 'every'?",
    ),
    (
        "the whole",
        render_declaration("churn").replace('key="k"', 'kye="k"'),
        "use case 'churn', stacks/churn:\n"
        "  - key is missing; add it\n"
        "  - kye = 'k' is not a field; did you mean 'key'?",
    ),
    (
        "another's whole",
        render_declaration("chum").replace('key="k", ', ""),
        "use case 'churn', stacks/churn:\n  - use case 'chum': key is missing; add it",
    ),
    (
        "its spelling",
        "import json\n\nUSE_CASE = UseCase(name=\n",
        "use case 'churn', stacks/churn:\n"
        "  - stacks/churn/__init__.py, line 3: SyntaxError: '(' was never closed; correct it there",
    ),
    (
        "its indentation",
        "def f():\npass\n",
        "use case 'churn', stacks/churn:\n"
        "  - stacks/churn/__init__.py, line 2: IndentationError: expected an indented "
        "block after function definition on line 1; correct it there",
    ),
    (
        "an import of what is not there",
        "import json\nimport pandsa.io\n",
        "use case 'churn', stacks/churn:\n"
        "  - stacks/churn/__init__.py, line 2: ModuleNotFoundError: No module named 'pandsa'; correct it there",
    ),
    (
        "an import of a name that is not there",
        "from millrace import Gates\n",
        "use case 'churn', stacks/churn:\n"
        "  - stacks/churn/__init__.py, line 1: ImportError: cannot import name 'Gates' "
        "from 'millrace'; correct it there",
    ),
    (
        "a bound without its side",
        f'{HEAD}GATE = Gate("roc_auc", 0.65)\n',
        "use case 'churn', stacks/churn:\n"
        "  - stacks/churn/__init__.py, line 3: TypeError: Gate.__init__() takes from 1 "
        "to 2 positional arguments but 3 were given; correct it there",
    ),
    (
        "what a library says",
        "import json\n\n\ndef read():\n    return json.loads('{')\n\n\nread()\n",
        "use case 'churn', stacks/churn:\n"
        "  - stacks/churn/__init__.py, line 5: JSONDecodeError: Expecting property name "
        "enclosed in double quotes: line 1 column 2 (char 1); correct it there",
    ),
    (
        "the end of the process",
        "import sys\nsys.exit(0)\n",
        "use case 'churn', stacks/churn:\n  - stacks/churn/__init__.py, line 2: SystemExit: 0; correct it there",
    ),
    (
        "nothing said",
        "assert 1 == 2\n",
        "use case 'churn', stacks/churn:\n  - stacks/churn/__init__.py, line 1: AssertionError; correct it there",
    ),
]


@pytest.mark.parametrize(("source", "said"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN])
def test_a_package_that_cannot_be_imported_is_refused_with_place_and_cause(
    use_cases: Path, source: str, said: str
) -> None:
    write_use_case(use_cases, "churn", source)
    with pytest.raises(DeclarationError) as refused:
        stacks.load("churn")
    assert str(refused.value) == said
    assert "stacks.churn" not in sys.modules


def test_the_error_names_the_file_with_the_mistake(use_cases: Path) -> None:
    write_use_case(use_cases, "churn_eu", "from stacks.churn_eu.parts import gates\n")
    (use_cases / "churn_eu" / "parts").mkdir()
    parts = use_cases / "churn_eu" / "parts" / "__init__.py"
    parts.write_text("import json\n\ngates = [1,\n")
    with pytest.raises(DeclarationError) as refused:
        stacks.load("churn-eu")
    assert str(refused.value) == (
        "use case 'churn-eu', stacks/churn_eu:\n"
        "  - stacks/churn_eu/parts/__init__.py, line 3: SyntaxError: '[' was never closed; correct it there"
    )
    parts.write_text("import json\n\ngates = [1 / 0]\n")
    with pytest.raises(DeclarationError, match=r"stacks/churn_eu/parts/__init__.py, line 3: ZeroDivisionError: div"):
        stacks.load("churn-eu")


@pytest.mark.parametrize("path", CONFIGURED, ids=lambda path: path.name)
def test_every_committed_stack_names_a_use_case_and_an_environment(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    stack = path.name.removeprefix("Pulumi.").removesuffix(".yaml")
    config = document["config"]
    environment = Environment.from_stack(stack, config["millrace:environment"], config["aws:region"])
    assert stacks.load(stack.removesuffix(f"-{environment.name}")).name
    assert config["aws:region"] == environment.region
    # A run must leave the work tree clean: without a salt the engine would write one into the file of a local stack.
    assert ("encryptionsalt" in document) == (environment.name == "local")


def test_the_flights_stacks_are_committed() -> None:
    assert {path.name for path in CONFIGURED} >= {"Pulumi.flights-local.yaml", "Pulumi.flights-dev.yaml"}


_BROUGHT = """
import json, sys
before = set(sys.modules)
import {module}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def _list_imported_packages(module: str) -> set[str]:
    """Return the top-level packages that an import loads in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", _BROUGHT.format(module=module)],
        cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_importing_millrace_imports_no_aws_pulumi_or_numpy() -> None:
    packages = _list_imported_packages("millrace")
    assert "pydantic" in packages
    assert packages.isdisjoint({"numpy", "boto3", "botocore", "pulumi", "pulumi_aws", "sklearn", "pandas", "duckdb"})


def test_importing_a_declaration_imports_no_aws_pulumi_or_numpy() -> None:
    packages = _list_imported_packages("stacks.flights")
    assert packages.isdisjoint({"numpy", "boto3", "botocore", "pulumi", "pulumi_aws", "sklearn"})
