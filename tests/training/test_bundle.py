"""The bundle: one executable file, with the same bytes for the same sources."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import pytest

from millrace import MillraceError, UseCase
from tests.training import synthetic
from training import bundle


def test_equal_sources_give_equal_bytes_despite_file_times_and_modes(tmp_path: Path) -> None:
    case = synthetic.use_case()
    one = synthetic.build(tmp_path / "one", case)
    two = synthetic.build(tmp_path / "two", case)
    source = tmp_path / "two/repository/stacks/toy_orders/data.py"
    os.utime(source, (0, 0))
    source.chmod(0o755)
    again = bundle.build_bundle(case, tmp_path / "two/repository", tmp_path / "three")
    assert one.read_bytes() == two.read_bytes() == again.read_bytes()
    assert one.name == f"millrace-toy-orders-{hashlib.sha256(one.read_bytes()).hexdigest()[:16]}.pyz"


def test_the_bundle_contains_only_code_and_declaration(tmp_path: Path) -> None:
    case = synthetic.use_case()
    synthetic.build(tmp_path, case)
    package = tmp_path / "repository/stacks/toy_orders"
    (package / "notes.ipynb").write_text("{}")
    (package / ".secret.json").write_text("{}")
    (package / "__pycache__").mkdir()
    (package / "__pycache__/old.py").write_text("")
    (package / "rules.sql").write_text("SELECT 1")
    (package / "tests").mkdir()
    (package / "tests/test_toy_orders.py").write_text("import pytest\n")
    other = tmp_path / "repository/stacks/other"
    other.mkdir()
    (other / "__init__.py").write_text("")
    pyz = bundle.build_bundle(case, tmp_path / "repository", tmp_path / "out")
    with zipfile.ZipFile(pyz) as archive:
        names = archive.namelist()
        assert bundle.read_contract(archive.read("contract.json")) == case
    assert names == sorted(names)
    stacks = [name for name in names if name.startswith("stacks/")]
    assert stacks == [
        "stacks/__init__.py", "stacks/toy_orders/__init__.py", "stacks/toy_orders/data.py",
        "stacks/toy_orders/rules.sql",
    ]  # fmt: skip
    assert {"__main__.py", "training/__main__.py", "training/data/join.py", "millrace/declaration.py"} < set(names)
    assert not [name for name in names if name.startswith(("tests", "local", "components"))]


def test_the_declaration_is_part_of_the_code(tmp_path: Path) -> None:
    first = synthetic.build(tmp_path / "one", synthetic.use_case())
    second = synthetic.build(tmp_path / "two", synthetic.use_case(seed=1))
    assert first.name != second.name


def test_the_bundle_runs_standalone_and_lists_its_steps(tmp_path: Path) -> None:
    pyz = synthetic.build(tmp_path, synthetic.use_case())
    done = synthetic.run_step(pyz, tmp_path / "job", "--help")
    for step in ("ingest", "validate", "dataset", "train", "evaluate", "publish", "monitor", "serve", "replay"):
        assert step in done.stdout
    unknown = synthetic.run_step(pyz, tmp_path / "job", "dance", check=False)
    assert unknown.returncode == 2
    assert "invalid choice: 'dance'" in unknown.stderr


def test_a_failing_step_gives_its_reason_in_one_line(tmp_path: Path) -> None:
    pyz = synthetic.build(tmp_path, synthetic.use_case())
    done = synthetic.run_step(pyz, tmp_path / "job", "validate", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    message = (tmp_path / "job/output/message").read_text()
    assert message.endswith("manifest.json does not exist; expected the file that the previous step writes")
    assert done.stderr == f"error: validate: {message}\n"


def test_an_error_in_use_case_code_is_reported_with_its_traceback(tmp_path: Path) -> None:
    case = synthetic.use_case()
    source = synthetic.data(case) + "\n\ndef queues(since, until):\n    raise OSError('the disk is gone')\n"
    pyz = synthetic.build(tmp_path, case, source)
    done = synthetic.run_step(pyz, tmp_path / "job", "ingest", "--as-of", synthetic.AS_OF, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    line = source[: source.index("raise OSError")].count("\n") + 1
    said = (tmp_path / "job/output/message").read_text()
    assert said.startswith(f"queues() failed in stacks/toy_orders/data.py, line {line}: OSError: the disk is gone")


def test_a_use_case_without_a_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MillraceError, match=r"has no stacks/toy_orders/__init__.py; expected the package of"):
        bundle.build_bundle(synthetic.use_case(), tmp_path, tmp_path)


def test_code_that_cannot_be_compiled_is_refused_before_packing(tmp_path: Path) -> None:
    case = synthetic.use_case()
    synthetic.build(tmp_path, case)
    package = tmp_path / "repository/stacks/toy_orders"
    (package / "model.py").write_text("import json\n\ndef model(params)\n    return None\n")
    (package / "parts").mkdir()
    (package / "parts/sql.py").write_bytes(b"x = 1\nname = '\xff'\n")
    (package / "parts/zero.py").write_bytes(b"x = '\x00'\n")
    (package / "parts/runs.py").write_text("raise SystemExit('it is compiled, not run')\n")
    (package / "parts/notes.txt").write_text("def (")
    with pytest.raises(MillraceError) as refused:
        bundle.build_bundle(case, tmp_path / "repository", tmp_path / "out")
    first, model, sql, zero = str(refused.value).splitlines()
    assert first == "use case 'toy-orders', stacks/toy_orders:"
    assert model == "  - stacks/toy_orders/model.py, line 3: SyntaxError: expected ':'; correct it there"
    assert sql.startswith("  - stacks/toy_orders/parts/sql.py, line ")
    assert "'utf-8' codec can't decode byte 0xff" in sql
    assert zero.startswith("  - stacks/toy_orders/parts/zero.py")
    assert "null bytes" in zero
    assert not (tmp_path / "out").exists()
    for name in ("model.py", "parts/sql.py", "parts/zero.py"):
        (package / name).write_text("")
    assert bundle.build_bundle(case, tmp_path / "repository", tmp_path / "out").is_file()


def test_every_field_of_the_declaration_reaches_the_jobs(tmp_path: Path) -> None:
    case = synthetic.use_case(trusted=["size"], seed=2**32 - 1)
    with zipfile.ZipFile(synthetic.build(tmp_path, case)) as archive:
        written = archive.read("contract.json")
    assert set(json.loads(written)["use_case"]) == set(UseCase.model_fields)
    assert json.loads(written)["use_case"]["trusted"] == ["size"]
    assert bundle.read_contract(written) == case


def test_a_contract_of_another_version_is_refused() -> None:
    document = json.loads(bundle.render_contract(synthetic.use_case()))
    with pytest.raises(MillraceError, match=r"version=2 cannot be read; expected 1: build the bundle again"):
        bundle.read_contract(json.dumps({**document, "version": 2}).encode())
