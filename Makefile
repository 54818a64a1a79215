# Everything a developer runs. Each target makes .venv when it is missing or older than what it was made from.
# Needs Python 3.11 or newer with venv, and make; nothing else.

PYTHON ?= python3
VENV ?= .venv
# The order of the tests. Any number; `default` draws a new one, and every run prints the one it used.
SEED ?= 20261121
BENCHMARKS ?= search features efficiency latency real_time_factor event_loop memory
# More arguments, as in: make test ARGS="tests/speech -k features"
ARGS ?=

PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet --no-input --disable-pip-version-check
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
COMPILED_STAMP := $(VENV)/.compiled
# Modules that compile their functions when they are imported, the longest first.
KERNELS := speech.search.kernels speech.search.transducer.kernels engines.kernels.campplus speech.search.prefix_tree \
  speech.biasing.batch
KERNEL_SOURCES := speech/compiling.py $(wildcard speech/search/*.py speech/search/transducer/*.py speech/biasing/*.py \
  engines/kernels/*.py)
SOURCES := protos batcher speech engines server client
PROTOS = $(shell find protos -name '*.proto' | sort)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow lint format protos protos-check bench requirements install clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(COMPILED_STAMP)  ## start a server, stream the demo audio to it, show the transcript
	@$(PY) -m client.demo $(ARGS)

test: $(DEV_STAMP)  ## run the tests
	@$(PY) -m pytest -p randomly --randomly-seed=$(SEED) $(ARGS)

test-slow: $(DEV_STAMP)  ## run the tests that need minutes or the real model
	@$(PY) -m pytest -p randomly --randomly-seed=$(SEED) -m slow $(ARGS)

lint: $(DEV_STAMP) protos-check  ## ruff, formatting, types, import rules, generated code
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

format: $(DEV_STAMP)  ## mend what ruff can mend
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

bench: $(DEV_STAMP)  ## measure speed, latency and memory; some with: make bench BENCHMARKS="search features"
	@set -e; for name in $(BENCHMARKS); do echo "== $$name" && $(PY) -m benchmarks.$$name $(ARGS); done

install: $(COMPILED_STAMP)  ## make .venv with the pinned run-time packages and the command `chorus`

# The repository root is the include path, so that generated code says `from protos import recognizer_pb2`.
define protoc
	$(PY) -m grpc_tools.protoc -I . --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) $(PROTOS)
endef

protos: $(DEV_STAMP)  ## generate the Python code of protos/*.proto, in place
	$(call protoc,.)

protos-check: $(DEV_STAMP)
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(call protoc,"$$fresh") && \
	  (cd "$$fresh" && find protos -type f) | while read -r file; do \
	    cmp -s "$$fresh/$$file" "$$file" || { echo "$$file is not what its proto generates: run 'make protos'" >&2; exit 1; }; \
	  done

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Chorus needs Python 3.11 or newer as '$(PYTHON)'; name another with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV)" >&2
	@$(PYTHON) -m venv --clear $(VENV)

# setuptools is among the pinned packages, so building the editable install fetches nothing.
define install
	@echo "Installing $(1) into $(VENV); this takes a minute or two the first time" >&2
	@$(PIP_INSTALL) --only-binary=:all: --require-hashes -r $(1)
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $(2)
endef

$(RUN_STAMP): requirements/run.txt pyproject.toml $(PY)
	$(call install,requirements/run.txt,$(RUN_STAMP))

$(DEV_STAMP): requirements/dev.txt pyproject.toml $(PY)
	$(call install,requirements/dev.txt,$(RUN_STAMP) $(DEV_STAMP))

# Ahead of the first start, two at a time: a server would compile one after the other. Kept in __pycache__ folders.
$(COMPILED_STAMP): $(KERNEL_SOURCES) $(RUN_STAMP)
	@echo "Compiling the searches; this takes less than a minute, once" >&2
	@printf '%s\n' $(KERNELS) | xargs -P 2 -I{} $(PY) -c 'import {}'
	@touch $@

# The options leave every address out of the pinned files. Takes newer versions only with ARGS=--upgrade.
PIP_COMPILE = CUSTOM_COMPILE_COMMAND="make requirements" $(PY) -m piptools compile --quiet --generate-hashes \
  --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
  --annotation-style=line $(ARGS)

requirements: $(DEV_STAMP)  ## pin the packages anew after a change of pyproject.toml
	$(PIP_COMPILE) --extra=plot --output-file=requirements/run.txt requirements/build.in pyproject.toml
	$(PIP_COMPILE) --output-file=requirements/dev.txt --constraint=requirements/run.txt --extra=dev \
	  requirements/build.in pyproject.toml

clean:  ## remove what the targets above made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
