# One command per habit. Each does its own set-up in .venv and needs nothing
# but Python 3.11, make and a package registry.
PYTHON ?= $(shell for python in python3.11 python3 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	2>/dev/null && echo "$$python" && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Where `keras-prompt tasks prepare super_glue/rte` left its records.
DATA_DIR ?= $(HOME)/tensorflow_datasets
SOURCES := keras_prompt models tasks tests demo recipes benchmarks notebooks

# TensorFlow's and oneDNN's start-up lines; nothing is computed differently.
export TF_CPP_MIN_LOG_LEVEL := 3
export KERAS_BACKEND := tensorflow

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install demo test quick check parity bench golden wheel clean

help:  ## lists these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12

install: .venv/dev-installed  ## makes .venv with all that work here needs

demo: .venv/demo-installed  ## tunes a prompt on real reviews, in minutes
	@$(BIN)/python demo/run.py

test: .venv/dev-installed  ## every test that needs neither torch nor transformers
	@$(BIN)/python -m pytest --quiet

quick: .venv/dev-installed  ## the tests that take seconds
	@$(BIN)/python -m pytest --quiet -m "not slow and not parity"

check: .venv/dev-installed  ## format, lint, types, import directions
	$(BIN)/python -m ruff format --check $(SOURCES)
	$(BIN)/python -m ruff check $(SOURCES)
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy demo
	$(BIN)/python -m mypy recipes
	$(BIN)/python -m mypy benchmarks
	$(BIN)/lint-imports --no-cache

parity: .venv/parity-installed  ## compares with torch, transformers, PEFT, tensorstore
	@$(BIN)/python -m pytest --quiet -m parity

bench: .venv/parity-installed  ## speed beside PEFT and KerasHub; minutes, alone
	$(BIN)/python benchmarks/speed/speed.py --data-dir $(DATA_DIR)
	$(BIN)/python benchmarks/speed/growth.py

golden: .venv/parity-installed  ## writes tests/golden anew from the oracles
	$(BIN)/python tests/golden/make.py

wheel: .venv/dev-installed  ## builds dist/*.whl
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check \
		--no-deps --wheel-dir dist .
	@ls -l dist

clean:  ## removes .venv and everything that was built
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

# The files below say that a step is done; pip fills in what a broken one left.
.venv/runtime-installed: requirements/runtime.txt setup.cfg
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed and was not" \
		"found. Say where it is: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv .venv
	@echo "Installing into .venv (about 3 GB, once) ..."
	@$(PIP) --no-deps -r requirements/runtime.txt
	@$(PIP) --no-deps --editable .
	@touch $@

.venv/dev-installed: .venv/demo-installed requirements/dev.txt
	@$(PIP) --no-deps -r requirements/dev.txt
	@touch $@

.venv/demo-installed: .venv/runtime-installed requirements/demo.txt
	@$(PIP) --no-deps -r requirements/demo.txt
	@touch $@

.venv/parity-installed: .venv/dev-installed requirements/parity.txt
	@echo "Installing the oracles into .venv (once) ..."
	@$(PIP) --no-warn-conflicts -r requirements/parity.txt \
		-c requirements/runtime.txt
	@touch $@
