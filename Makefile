# make demo     publish real models, serve them, send real traffic   (ARGS=--once ends by itself)
# make test     every check: format, lint, types, import contracts, tests
# make prove    the tests with the counts that were promised; writes EVIDENCE.md   (ARGS="-k name" for some of them)
# make bench    speed, side by side with a bare echo and the usual server; writes benchmarks/RESULTS.md
#               (ARGS=--peers: with other model servers, too, for an hour)

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet
ARGS ?=
# Tests often wait for other processes, so there are more of them than cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))')

# Where it is set, each of thousands of processes compiles all of Cloche again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test prove bench check clean

demo: $(VENV)/.demo
	@$(VENV)/bin/cloche demo $(ARGS)

test: check $(VENV)/.pandas2
	$(VENV)/bin/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(VENV)/.test
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

prove: $(VENV)/.test $(VENV)/.pandas2
	$(VENV)/bin/python -m tests.prove $(ARGS)

bench: $(VENV)/.bench
	$(VENV)/bin/python -m benchmarks $(ARGS)

clean:
	rm -rf .venv .venv-pandas2 build dist .cloche-demo

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Cloche needs Python 3.11 or newer; this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing Cloche and what the demo needs: about 100 MB to download, a minute or two the first time."
	$(PIP) -r requirements/demo.txt
	$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/.test: requirements/test.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing what the checks need: about 390 MB to download, a minute or two the first time."
	$(PIP) -r requirements/test.txt
	$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.test
	$(PIP) -r requirements/bench.txt
	@touch $@

$(VENV)/.pandas2: requirements/pandas2.txt | $(VENV)/bin/python
	@echo "Installing a second environment with pandas 2: about 85 MB to download."
	$(PYTHON) -m venv .venv-pandas2
	.venv-pandas2/bin/python -m pip --disable-pip-version-check install --quiet -r requirements/pandas2.txt
	@touch $@
