# make demo runs an example. make test runs all tests that need no service. make e2e runs the tests with
# keystone, RabbitMQ and MariaDB. Each target creates .venv.

PYTHON ?= python3
VENV := .venv
ST2CLIENT := .venv-st2client
BIN := $(VENV)/bin

# Child executions of the long fault run.
SOAK := 2000

# Versions of Mistral that make e2e tests.
VERSIONS := 23.0.0 20.2.0

# The tests that make e2e runs, as an expression for pytest's option -k. Empty: all.
SELECT :=

.PHONY: demo sandbox test lint docs faults soak e2e e2e-all bench clean

demo: $(VENV)/.sandbox $(ST2CLIENT)/.made
	@$(BIN)/st2-mistral demo --st2 $(ST2CLIENT)/bin/st2 examples.mistral-basic cmd=date

sandbox: $(VENV)/.sandbox $(ST2CLIENT)/.made
	@$(BIN)/st2-mistral sandbox

# The tests of a file share a sandbox. They often wait: four files at once use two processors. The long ones
# are first. "make test COVERAGE=1" also measures the coverage, but not in the processes that the tests start.
test: lint $(ST2CLIENT)/.made
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(if $(COVERAGE),--cov --cov-report=term:skip-covered)
	@echo "Not run: the tests with real processes and keystone. Run them with 'make e2e' (needs RabbitMQ and MariaDB)."

# Tests that break sockets, processes and clocks. soak is the long form, with a report. They mostly wait: four
# files at once use two processors.
faults: $(VENV)/.test
	$(BIN)/python -m pytest -n 4 --dist loadfile tests/faults

soak: $(VENV)/.test
	ST2_MISTRAL_SOAK=$(SOAK) $(BIN)/python -m pytest -s tests/faults/test_every_result.py

e2e: $(VENV)/.test
	ST2_MISTRAL_E2E=required ST2_MISTRAL_E2E_VERSIONS="$(VERSIONS)" $(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder $(if $(SELECT),-k '$(SELECT)') tests/processes tests/cloud

e2e-all:
	$(MAKE) e2e VERSIONS="23.0.0 22.0.0 21.0.0 20.2.0"

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation site. It needs the sandbox's commands, to show their help.
docs: $(VENV)/.docs
	$(BIN)/sphinx-build --fresh-env --fail-on-warning --keep-going --quiet -b html docs build/docs
	@echo "The documentation is in build/docs/index.html."

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.with_items

clean:
	rm -rf $(VENV) $(ST2CLIENT) .e2e build dist *.egg-info sandbox/build sandbox/dist sandbox/*.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.sandbox: setup.cfg sandbox/setup.cfg | $(BIN)/python
	@echo "Installing Mistral and the package into $(VENV): about a minute the first time."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable . --editable ./sandbox
	@touch $@

$(VENV)/.test: setup.cfg sandbox/setup.cfg | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]' --editable ./sandbox
	@touch $@ $(VENV)/.sandbox

$(VENV)/.docs: $(VENV)/.test
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

# It needs a virtualenv of its own: its pins conflict with Mistral's.
$(ST2CLIENT)/.made:
	@echo "Installing StackStorm's command line into $(ST2CLIENT)."
	@$(PYTHON) -m venv $(ST2CLIENT)
	@$(ST2CLIENT)/bin/pip install --quiet --disable-pip-version-check st2client==3.9.0 'setuptools<81'
	@touch $@
