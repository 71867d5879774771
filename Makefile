# Two commands do everything: `make dev` starts langlog with the example project, `make test` runs all checks.
# Both install the versions that constraints.txt names, which `make lock` exports from uv.lock.

VENV := .venv
BIN := $(VENV)/bin
SHELL := bash
# tests start hundreds of processes: none of them compiles everything anew
unexport PYTHONDONTWRITEBYTECODE
HOST ?= 127.0.0.1
PORT ?= 2024

# The first Python that is new enough and can make virtual environments; say PYTHON=… to choose another.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3.14 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)

# uv installs in seconds what takes pip up to a minute, so it is used where it is on the path; pip where it is not, or where uv fails
# (it does not read pip's configuration, which may name another index). A terminal sees how far they are.
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv)
PIP = $(BIN)/python -m pip install --disable-pip-version-check
define install
@echo "langlog: installing into $(VENV) what constraints.txt names, once: $(if $(UV),some seconds with uv,about a minute with pip)"
@began=$$SECONDS; set -o pipefail; \
	$(if $(UV),$(UV) pip install $$(test -t 2 || echo --quiet) --python $(BIN)/python -c constraints.txt -e '$(1)' ||) \
	if test -t 1; then $(PIP) -c constraints.txt -e '$(1)' | awk '/^(Collecting|Building|Installing)/ \
		{ printf "\r\033[K  %s", substr($$0, 1, 70); fflush() } END { printf "\r\033[K" }'; \
	else $(PIP) --quiet -c constraints.txt -e '$(1)'; fi && echo "langlog: installed in $$((SECONDS - began)) s"
endef

.PHONY: chaos faults simulate coverage release dev console console-dev console-check host pictures talk tail docs quick test test-newest test-lowest lock check types imports format clean

dev: $(VENV)/.installed console
	$(BIN)/langlog dev --config examples/chat/langgraph.json --host $(HOST) --port $(PORT)

# The console's pages, built from console/ where they have changed (the installation builds them too). Without Node or npm's
# registry langlog runs all the same, and /console says what is missing.
console: $(VENV)/.installed
	@$(BIN)/python node_build.py console || true

# The host of graphs in JavaScript and TypeScript, built from executor/graph-host/ in the same way. Without it langlog serves Python
# graphs all the same, and the start of a project with others says what is missing.
host: $(VENV)/.installed
	@$(BIN)/python node_build.py host || true

# Builds the console whenever a source changes and loads the page anew, against a server that runs: make console-dev SERVER=http://…
SERVER ?= http://127.0.0.1:2024
console-dev: $(VENV)/.installed
	$(BIN)/python node_build.py console --packages
	node console/dev.mjs $(SERVER)

console-check: $(VENV)/.installed
	$(BIN)/python node_build.py console --packages
	cd console && npm run --silent check && npm run --silent test

# Pictures of the console's pages for docs and README, taken of a real server: docs/pictures/.
pictures: $(VENV)/.installed-dev console
	$(BIN)/python -m tests.console.pictures

# In another terminal, while `make dev` runs: a conversation with the example, and the log's records as they come.
talk: $(VENV)/.installed
	@$(BIN)/python examples/chat/talk.py http://$(HOST):$(PORT)

tail: $(VENV)/.installed
	@$(BIN)/langlog log tail

# The documentation as a site, in build/docs/site; it stops on a warning.
docs: $(VENV)/.installed-dev
	$(BIN)/python -m docs.site

# Decisions, folds, schedules, formats: what needs no server and no process, in some fifteen seconds, for the edit loop.
QUICK := $(addprefix tests/,$(addsuffix .py,audit/test_index auth/test_permission_times \
	$(addprefix backbone/test_,configuration loopback server_versions service) checkpoints/test_serde checkpoints/test_storable \
	$(addprefix cli/test_,config_keys configuration reload timeline) consuming/test_golden docs/test_blocks \
	$(addprefix core/test_,decide fold multitask outcomes plans schedule strict_answers) \
	$(addprefix executor/test_,recorded run_input run_stream schemas) gateway/test_frames gateway/test_pure gateway/test_start \
	log/test_partitioner $(addprefix packaging/test_,compose docs docs_site one_place rooms sources) protocol/test_events protocol/test_feed \
	scheduler/test_firings store/test_conditions store/test_embeddings webhooks/test_policy))

quick: $(VENV)/.installed-dev
	$(BIN)/pytest -q $(QUICK) --deselect tests/consuming/test_golden.py::test_every_golden_event_is_folded_into_postgres

test: $(VENV)/.installed-dev
	$(MAKE) --no-print-directory -j3 check types imports
	$(BIN)/pytest -n auto --durations=30

# All faults at random on three brokers and two of each service, judged at the end: make chaos MINUTES=60, with SEED= as before.
MINUTES ?= 10
chaos: $(VENV)/.installed-dev
	$(BIN)/python -m tests.faults.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(OUT),--out $(OUT))

# Each fault of a real part on both logs, and how long clients wait meanwhile: docs/explanation/proof/faults.json and the page of it.
# On a quiet machine, since the figures are durations.
faults: $(VENV)/.installed-dev
	rm -f build/faults.jsonl && mkdir -p build
	LANGLOG_TEST_FIGURES=$(CURDIR)/build/faults.jsonl $(BIN)/pytest -q -p no:randomly tests/faults
	$(BIN)/python -m tests.faults.page build/faults.jsonl

# Worlds of the simulation (tests/simulation), one after the other: make simulate SEEDS=10000 for a night. A world that fails is made
# smaller and printed with the line that runs it again; so is what no world has reached.
SEEDS ?= 1000
FIRST ?= 1
simulate: $(VENV)/.installed-dev
	$(BIN)/python -m tests.simulation --first $(FIRST) --seeds $(SEEDS) $(if $(filter 1000 %0000,$(SEEDS)),--marks) $(FIGURES)

# What no test executes, over all processes that the tests start: make coverage, or make coverage TESTS="tests/core tests/cli".
# A process that a test kills leaves no figure, so that loss and outage tests count for little.
coverage: $(VENV)/.installed-dev
	rm -rf .coverage && mkdir .coverage
	$(BIN)/coverage run -m pytest $(if $(TESTS),$(TESTS),-n auto) || true
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --sort=cover
	@echo "line by line: $(BIN)/coverage html --directory .coverage/html"

# Version, changelog, tag, wheels, sdist and image, tried in a clone: make release VERSION=0.2.0. With GO=1 it is made here.
release: $(VENV)/.installed-dev
	@$(BIN)/python .ci/release.py $(or $(VERSION),$(error which version? make release VERSION=1.2.3)) $(if $(GO),--go) $(RELEASE_OPTIONS)

# The same tests against the newest release of every dependency, in an environment of their own. It stops nothing else:
# its output names each package whose version differs from the lock, and each test that fails with it.
test-newest:
	rm -rf .venv-newest
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@echo "other than in the lock:"
	@diff <(sed 's/ ;.*//' constraints.txt | tr 'A-Z_' 'a-z-' | sort) \
		<(.venv-newest/bin/python -m pip freeze --exclude-editable | tr 'A-Z_' 'a-z-' | sort) | grep '^>' || echo "> nothing"
	.venv-newest/bin/pytest -n auto

# The same tests on the lowest release of every dependency that pyproject.toml allows. tests/packaging/test_releases.py, which
# `make test` runs, starts one server on them.
test-lowest: $(VENV)/.installed-dev
	rm -rf .venv-lowest
	$(BIN)/uv venv --quiet --python $(BIN)/python .venv-lowest
	$(BIN)/python -m tests.stack.lowest .venv-lowest
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python -c .venv-lowest/constraints.txt -r .venv-lowest/tools.txt -e .
	.venv-lowest/bin/pytest -n auto --ignore tests/integrations

# Resolves every dependency anew within pyproject.toml's bounds. Commit both files.
lock: $(VENV)/.installed-dev
	$(BIN)/uv lock --upgrade
	$(BIN)/uv export --quiet --all-extras --no-emit-project --no-hashes --no-header --no-annotate --output-file constraints.txt

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

imports: $(VENV)/.installed-dev
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-newest .venv-lowest .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)$(UV)" || { echo "langlog needs Python 3.11 or newer with venv (on Debian: apt install python3-venv), or uv" >&2; exit 1; }
	@$(if $(UV),$(UV) venv --quiet --seed --python $(or $(PYTHON),3.12) $(VENV) ||) $(or $(PYTHON),python3) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,.)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,.[dev])
	@touch $@ $(VENV)/.installed
