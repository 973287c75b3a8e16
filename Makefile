# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# As many test processes as processors; a file's tests stay together until one of them runs dry.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test test-long test-all check lint native kotlin wheel clean

demo: $(VENV)/demo.installed
	$(BIN)/python benchmarks/demo.py

# The fast circle: linters, types, every test that is not slow, and one whole road of each verb.
test: lint native
	$(PYTEST) -m "not slow or road"

# The rest: kills at random moments, matrices over families, emulation, a browser, other runtimes.
test-long: native kotlin
	$(PYTEST) -m "slow and not road"

test-all: test test-long

# Linters, types, and the fast tests of what changed since the last commit (or since SINCE).
check: lint
	$(BIN)/python tests/changed.py $(SINCE)

lint: $(VENV)/dev.installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy && $(BIN)/mypy --explicit-package-bases benchmarks

# The benchmark binary for x86-64, aarch64 and armv7, with no system toolchain.
native: $(VENV)/dev.installed
	$(BIN)/python benchmarks/native/build.py

# The compiler that the Android app's Kotlin is checked with; where there is no npm, tests skip.
kotlin: $(VENV)/dev.installed
	$(BIN)/python tests/android_support.py

# A wheel in a clean environment without TensorFlow: the light road. It carries the binaries.
wheel: $(VENV)/dev.installed native
	$(BIN)/python tests/check_wheel.py

clean:
	rm -rf $(VENV) build dist demo *.egg-info edgekit/benchmark/bin

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/demo.installed: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet -e ".[train,weights,demo]"
	touch $@

$(VENV)/dev.installed: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet -e ".[train,weights,demo,dev]"
	touch $@
