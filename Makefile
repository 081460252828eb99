# make demo: see a Mistral workflow run StackStorm actions. make test: all tests. Both make .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo sandbox test lint bench clean

demo: $(VENV)/.sandbox
	@$(BIN)/st2-mistral demo examples.mistral-basic cmd=date

sandbox: $(VENV)/.sandbox
	@$(BIN)/st2-mistral sandbox

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.with_items

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.sandbox: setup.cfg | $(BIN)/python
	@echo "Installing Mistral and the package into $(VENV): about a minute the first time."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[sandbox]'
	@touch $@

$(VENV)/.test: setup.cfg | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.sandbox
