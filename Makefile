# Every target does its own set-up; nothing needs to be installed first but Python 3.11, Go and make.
PYTHON ?= python3.11
BIN := .venv/bin
SHELL := /bin/bash
EVIDENTLY := from pathlib import Path; from tests.clients.__main__ import make_python_environment as make; \
    print(make(Path("benchmarks/requirements-evidently.lock"), "evidently"))

.PHONY: up deployer test pytest lint types layers engine browser docs fleet clients faults bench bench-monitor rates lock setup
.DELETE_ON_ERROR:

# The whole loop of the first use case on this machine, up to a real prediction.
up: setup
	@$(BIN)/millrace up

# What a build that deploys models needs: an interpreter on PATH that has the locked packages is used as it is.
deployer:
	@prefix=$$(python -c 'import sys; print(sys.prefix)' 2>/dev/null); \
	if cmp -s requirements.lock "$$prefix/.lock"; then ln -sfn "$$prefix" .venv; \
	else $(MAKE) --no-print-directory setup engine; fi

# The checks run beside the tests: most of them keep one core busy.
test:
	@$(MAKE) --no-print-directory -j 2 pytest lint types layers

# One worker more than two cores have: many tests wait for a process, a bake or a clock.
pytest: setup engine browser
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

# Before the tests, because a first build takes longer than a test may.
engine: setup
	$(BIN)/python -m engine

# A real browser, for the tests of what a web page may do to the local cloud; they are skipped where there is none.
browser:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	    echo "• installing chromium" && apt-get update -qq && \
	    apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	    echo "• no chromium on PATH: the tests in a browser are skipped"

# The pages of docs/ as a site in build/site; the diagrams are drawn first.
docs: setup
	@$(BIN)/python docs/diagrams/draw.py
	@NO_MKDOCS_2_WARNING=1 COLUMNS=100 $(BIN)/mkdocs build --strict && echo "build/site/index.html, or $(BIN)/mkdocs serve"

# Every planted fault must be named, and clean cases must stay quiet; the result is docs/faults.md. Takes some minutes.
faults: setup
	@$(BIN)/python -m tests.faults --write

# Two dozen use cases on one platform; the tests have a dozen. Takes some minutes.
fleet: setup engine
	MILLRACE_TEST_FLEET=24 $(BIN)/pytest tests/e2e/test_fleet.py

# Clients that nobody here wrote, each in a cached environment of its own; the last result is in docs/local.md. Takes
# some minutes, and some more the first time.
clients: setup
	@$(BIN)/python -m tests.clients --write

# The time of every stage, of previews and invocations, and the daemon's memory.
bench: setup
	$(BIN)/python -m benchmarks

# The monitor of a million rows, part by part, beside the parsing of its capture and beside Evidently, which has a cached
# environment of its own; it needs 5 GiB of memory and of disk, and about ten minutes.
bench-monitor: setup
	@$(BIN)/python -m benchmarks.monitor --evidently "$$($(BIN)/python -c '$(EVIDENTLY)')"

setup: .venv/.ready

# One at a time where `flock` is there; what an interrupted run left half done is restarted.
.venv/.ready: requirements.lock requirements-bootstrap.lock pyproject.toml
	@exec 9>.setup.lock; if command -v flock >/dev/null; then flock 9; fi; set -e; \
	echo "• setting up .venv (locked, hash-checked)"; \
	$(BIN)/pip --version >/dev/null 2>&1 || { rm -rf .venv; $(PYTHON) -m venv .venv; }; \
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock; \
	$(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock; \
	$(BIN)/uv pip install --quiet --no-deps --editable .; \
	cp requirements.lock .venv/.lock; touch $@

# How often decisions are wrong, on made data of which the truth is known; about two hours.
rates: setup
	$(BIN)/python -m benchmarks.decisions
	$(BIN)/python -m benchmarks.drift
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.inferred

lock: setup
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --extra local --extra flights --extra dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 -c requirements.lock training/image/requirements.in -o requirements-runtime.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 benchmarks/requirements-evidently.in -o benchmarks/requirements-evidently.lock
