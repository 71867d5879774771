# Two commands do everything: `make dev` starts langlog with the example project, `make test` runs all checks.

VENV := .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 2024

# The first Python that is new enough and can make virtual environments; say PYTHON=… to choose another.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)

.PHONY: dev test again check types imports format clean

dev: $(VENV)/.installed
	$(BIN)/langlog dev --config examples/chat/langgraph.json --host $(HOST) --port $(PORT)

test: check types imports
	$(BIN)/pytest || $(MAKE) --no-print-directory again

# Brokers, databases and browsers are real, and so are stalls of a busy machine: up to three tests that failed are run once more,
# by themselves. What fails twice is broken; what fails once has been named by the first run, and wants mending too.
again:
	@failed=$$(grep -c :: .pytest_cache/v/cache/lastfailed); test $$failed -ge 1 && test $$failed -le 3
	@echo "failed once, run again by themselves:" && grep :: .pytest_cache/v/cache/lastfailed
	$(BIN)/pytest --last-failed --last-failed-no-failures none

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
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "langlog needs Python 3.11 or newer with venv (on Debian: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed
