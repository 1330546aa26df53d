# Two commands do everything on a fresh machine: `make bench` measures, `make test` tests.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
FLOORS ?= .venv-floors
FLOORS_STAMP := $(FLOORS)/.installed
FLOOR_EXTRAS := load parquet mlflow
FLOOR_TESTS := tests/base tests/suite tests/record tests/store tests/report/test_exports.py tests/report/test_report_html.py \
  tests/cli/test_cli.py tests/cli/test_cli_baselines.py tests/cli/test_cli_history.py tests/load/test_load_scrape.py \
  tests/docs/test_docs.py tests/conditions/test_verbs.py

comma := ,
space := $() $()
MINUTES ?= 60
SEED ?=
LOAD ?= busy
SUITE ?= suites/quick.suite.yaml
RUNS ?= 5
LOADS ?= idle busy
JOBS ?= $(shell nproc)
KILLS ?= 40
CHAOS_MINUTES ?= 10
AXE := node_modules/axe-core/axe.min.js
AXE_VERSION := 4.14.1

.PHONY: help bench test check floors browser perf spread chaos gate-experiment fuzz clean
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

test: $(STAMP)   ## the whole test suite, in JOBS processes (one per CPU)
	$(BIN)/python -m pytest tests -n $(JOBS) --dist worksteal

check: $(STAMP)  ## lint, types, architecture, suites
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/lmbench suites validate suites

# An environment of its own; what the tests themselves need besides is at its lowest version too.
$(FLOORS_STAMP): pyproject.toml .ci/floors.py
	$(PYTHON) -m venv --clear $(FLOORS)
	$(PYTHON) .ci/floors.py $(FLOOR_EXTRAS) > $(FLOORS)/floors.txt
	$(FLOORS)/bin/python -m pip install --quiet --disable-pip-version-check --prefer-binary --constraint $(FLOORS)/floors.txt \
	  --editable '.[$(subst $(space),$(comma),$(FLOOR_EXTRAS))]' hypothesis==6.120 pytest-timeout==2.3.1
	@touch $@

floors: $(FLOORS_STAMP)  ## suites, commands and a gate with the lowest versions that pyproject.toml declares
	$(FLOORS)/bin/python -m pytest -q $(FLOOR_TESTS)

browser: $(STAMP)  ## what the tests of the report site look at it with; what cannot be had here is told, and they skip
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[site-tests]' \
	  || echo 'browser: no playwright, tests in a browser are skipped'
	@command -v chromium || command -v chromium-browser || command -v google-chrome \
	  || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } \
	  || echo 'browser: no Chromium (apt-get install chromium, as root), tests in a browser are skipped'
	@test -f $(AXE) || npm install --prefix . --no-save --no-audit --no-fund --ignore-scripts axe-core@$(AXE_VERSION) \
	  || echo 'browser: no axe-core (npm is needed), tests of accessibility are skipped'

perf: $(STAMP)   ## lmbench against a bare loop, in pairs until the ratio is known to 1 %, and a doubled model against stored runs
	$(BIN)/python -m tests.perf.agreement
	$(BIN)/python -m tests.perf.slower

spread: $(STAMP) ## how far headline metrics move from run to run: RUNS=5 of SUITE under each of LOADS="idle busy"; rewrites a table
	$(BIN)/python -m tests.perf.spread run $(SUITE) --runs $(RUNS) --loads "$(LOADS)" --page docs/methodology.md

gate-experiment: $(STAMP)  ## the gate's error rates here: 50 cases unchanged and slowed, for MINUTES=60 under LOAD=busy (none, starved); prints a table
	$(BIN)/python -m tests.perf.gate_experiment run --minutes $(MINUTES) --load $(LOAD) --out build/gate-$(LOAD).jsonl

chaos: $(STAMP)  ## KILLS=40 kills at random moments (SEED=7 again), in at most CHAOS_MINUTES=10: what is lost and what is left
	$(BIN)/python -m tests.chaos.campaign --kills $(KILLS) --minutes $(CHAOS_MINUTES) $(if $(SEED),--seed $(SEED))

# MINUTES is an hour for the experiment above, and ten minutes here unless it is given.
fuzz: $(STAMP)   ## every reader on hostile inputs for MINUTES=10 at most; SEED=7 repeats what a line of its output says
	$(BIN)/python -m tests.fuzz.run --minutes $(if $(filter-out file,$(origin MINUTES)),$(MINUTES),10) $(if $(SEED),--seed $(SEED))

clean:           ## remove the virtual environments
	rm -rf $(VENV) $(FLOORS)
