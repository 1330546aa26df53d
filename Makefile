# Two commands do everything on a fresh machine: `make bench` measures, `make test` tests.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

MINUTES ?= 60
LOAD ?= busy
AXE := node_modules/axe-core/axe.min.js
AXE_VERSION := 4.14.1

.PHONY: help bench test check browser perf gate-experiment clean
help:            ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

bench: $(STAMP)  ## measure this machine: the quick suite, compared with the last runs and stored
	$(BIN)/python -m pytest suites/quick.suite.yaml --benchmark-compare --benchmark-autosave

test: $(STAMP)   ## the whole test suite
	$(BIN)/python -m pytest tests

check: $(STAMP)  ## lint, types, architecture, suites
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/lmbench suites validate suites

browser: $(STAMP)  ## what the tests of the report site look at it with; what cannot be had here is told, and they skip
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[site-tests]' \
	  || echo 'browser: no playwright, tests in a browser are skipped'
	@command -v chromium || command -v chromium-browser || command -v google-chrome \
	  || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } \
	  || echo 'browser: no Chromium (apt-get install chromium, as root), tests in a browser are skipped'
	@test -f $(AXE) || npm install --prefix . --no-save --no-audit --no-fund --ignore-scripts axe-core@$(AXE_VERSION) \
	  || echo 'browser: no axe-core (npm is needed), tests of accessibility are skipped'

perf: $(STAMP)   ## lmbench against bare loops, alternated, and a doubled model against stored runs; prints ratios
	$(BIN)/python -m tests.perf.agreement
	$(BIN)/python -m tests.perf.slower

gate-experiment: $(STAMP)  ## the gate's error rates here: 50 cases unchanged and slowed, for MINUTES=60 under LOAD=busy (or none); prints a table
	$(BIN)/python -m tests.perf.gate_experiment run --minutes $(MINUTES) --load $(LOAD) --out build/gate-$(LOAD).jsonl

clean:           ## remove the virtual environment
	rm -rf $(VENV)
