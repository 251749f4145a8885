# Everything a person or CI needs is here, and needs nothing but make and Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Touched after each installation: younger than pyproject.toml, it says that there is nothing to install.
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.installed-bench
FUZZ_INSTALLED := $(VENV)/.installed-fuzz
# Quiet twice, or it warns of everything that an index of its own does not have; errors are still shown. What is imported
# is compiled then, which is a small part of it all.
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-compile

# Half of the tests' time is spent waiting, so twice as many files at a time as two processors could run. Empty: one
# after another.
WORKERS ?= -n 4 --dist loadfile --no-loadscope-reorder
# Words for pytest, such as: make test ARGS="tests/unit -x"
ARGS ?=

# Images of Python often set it. The tests start a thousand processes, each of which would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test pythons servers lrs clickhouse otel constraints lint format bench client peers faults fuzz edge screenshots clean

help: ## show this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

venv: $(INSTALLED) ## make .venv with everything in it

demo: $(INSTALLED) ## show the whole way of some events; DEMO_EVENTS=file.jsonl adds your own
	@$(BIN)/python -m dispatcher.local.demo

test: $(INSTALLED) ## run all tests; ARGS="tests/unit -x" runs some
	@$(BIN)/python -m pytest $(WORKERS) $(ARGS)

pythons: $(INSTALLED) ## run unit and contract tests on every other CPython from 3.11 on that the machine has
	@.ci/pythons $(ARGS)

servers: $(INSTALLED) ## fetch Redis 6.2 to 8 and Valkey 8 into .servers, for the tests; installs nothing
	@.ci/servers

lrs: $(INSTALLED) ## fetch event-routing-backends and Ralph, an LRS, into .venvs, for the tests; installs nothing
	@.ci/venvs lrs

clickhouse: $(INSTALLED) ## fetch chDB, ClickHouse's engine, into .venvs, for the tests; 183 MB, installs nothing
	@.ci/venvs clickhouse

otel: $(INSTALLED) ## fetch OpenTelemetry's SDK, which apps trace with, into .venvs, for the tests; installs nothing
	@.ci/venvs otel

constraints: $(INSTALLED) ## write constraints.txt anew: the newest release of all that is needed
	@.ci/constraints

lint: $(INSTALLED) ## check style, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(INSTALLED) ## put the code into the one style
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

client: ## build the browser's client, dispatcher/collector/client/dist, from its sources; needs npm
	@cd dispatcher/collector/client && npm ci --silent --ignore-scripts && npm run --silent build && npm run --silent types

peers: ## fetch other browser clients, which some tests run against the collector; needs npm
	@cd tests/peers && npm ci --silent --ignore-scripts --include=dev

bench: $(BENCH_INSTALLED) ## measure against the peers; ARGS="crowd rest" measures some rows
	@$(BIN)/python -m tests.benchmarks $(ARGS)

faults: $(INSTALLED) ## kill, stop, fill and starve everything under load, then count; two cases at a time
	@$(BIN)/python -m tests.faults --json .faults/results.json $(ARGS)

fuzz: $(FUZZ_INSTALLED) ## attack the collector with hostile requests beside good ones; ARGS="--target board"
	@$(BIN)/python -m tests.fuzz $(ARGS)

edge: $(INSTALLED) ## count clicks that survive the end of a page, ours and those of `make peers`; needs Debian's chromium
	@$(BIN)/python -m tests.edge --json .edge/results.json $(ARGS)

screenshots: $(INSTALLED) ## take the docs' pictures of Flower and the board again; needs Debian's chromium and chromium-driver
	@SCREENSHOTS=docs/images $(BIN)/python -m pytest -q -p no:randomly tests/integration/test_board_outages.py
	@SCREENSHOTS=docs/images $(BIN)/python -m pytest -q -p no:randomly tests/integration/test_flower.py -k an_outage_shows

clean: ## remove .venv and all that was made
	@rm -rf $(VENV) .venvs .servers .demo .bench .faults .edge dist build *.egg-info
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find dispatcher tasks tests -type d -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed, and $(PYTHON) is not: make PYTHON=python3.12" >&2; exit 1; }
	@echo "installing into $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(BENCH_INSTALLED): $(INSTALLED)
	@$(PIP) --constraint constraints.txt --editable '.[bench]'
	@touch $@

$(FUZZ_INSTALLED): $(INSTALLED)
	@$(PIP) --constraint constraints.txt --editable '.[fuzz]'
	@touch $@
