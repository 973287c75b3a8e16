# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test native kotlin wheel clean

demo: $(VENV)/demo.installed
	$(BIN)/python benchmarks/demo.py

test: $(VENV)/dev.installed native kotlin
	@start=$$(date +%s); $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy \
	  && $(BIN)/mypy --explicit-package-bases benchmarks && $(BIN)/python -m pytest; \
	  code=$$?; echo "make test took $$(( $$(date +%s) - start )) s"; exit $$code

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
