# Two commands matter: `make live` opens the program, `make test` checks it. Both install what they need first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# The exact version matters: it is the one that the tests run against, and pip need not search for another.
TORCH := $(shell grep -E '^torch==' constraints.txt)
# Arguments for the program, e.g. make live ARGS="simulated:night --network edi"
ARGS ?=
# Workers for pytest: one more than the two cores that this has to be quick on, since many tests wait for programs.
JOBS ?= 3

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start hundreds of processes: where compiled modules may not be kept, each compiles the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help live test test-gpu bench bench-gpu soak soak-kill soak-mutate soak-record install dev system clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

live: $(VENV)/.stamp-install ## install, then open the viewer: at first the simulated rig, then what it showed last (headless where there is no display)
	@$(BIN)/halfmirror live $(ARGS)

test: $(VENV)/.stamp-dev ## install, then lint, types, layers and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	QT_QPA_PLATFORM=offscreen $(BIN)/pytest -n $(JOBS) -m "not soak and not gpu" $(ARGS)

test-gpu: $(VENV)/.stamp-dev ## tests that need a CUDA device
	QT_QPA_PLATFORM=offscreen $(BIN)/pytest -m gpu $(ARGS)

# These want an output folder, runs of training, or published weights.
BENCH_BY_HAND := %_gpu.py %/bench_all.py %/bench_all_entries.py %/bench_all_train.py %/bench_recipes.py %/bench_s_sdm.py

bench: $(VENV)/.stamp-dev ## measure: every benchmarks/bench_*.py on this machine that needs no weights and no data set
	@for f in $(filter-out $(BENCH_BY_HAND),$(sort $(wildcard benchmarks/bench_*.py))); do \
	  m=$${f%.py}; echo; echo "$$ python -m $${m//\//.}"; QT_QPA_PLATFORM=offscreen $(BIN)/python -m $${m//\//.}; \
	done

bench-gpu: $(VENV)/.stamp-dev ## measure on a CUDA device: every benchmarks/bench_*_gpu.py
	@$(BIN)/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("no CUDA device: see halfmirror doctor")'
	@for f in $(sort $(wildcard benchmarks/bench_*_gpu.py)); do \
	  m=$${f%.py}; echo; echo "$$ python -m $${m//\//.}"; $(BIN)/python -m $${m//\//.}; \
	done

soak: $(VENV)/.stamp-dev ## endurance runs (long)
	QT_QPA_PLATFORM=offscreen $(BIN)/pytest -m soak $(ARGS)

soak-kill: $(VENV)/.stamp-dev ## 100 recordings killed at random moments and repaired
	$(BIN)/pytest -s -m soak tests/recordings/test_killed_recorder.py $(ARGS)

soak-mutate: $(VENV)/.stamp-dev ## 300 damaged files of every format
	$(BIN)/pytest -s -m soak tests/recordings/test_mutated_datasets.py tests/recordings/test_prophesee_damage.py $(ARGS)

soak-record: $(VENV)/.stamp-dev ## half an hour of recording beside live restoring (HALFMIRROR_SOAK_SECONDS, _SEQUENCES)
	QT_QPA_PLATFORM=offscreen $(BIN)/pytest -s -m soak tests/app/test_soak_record.py $(ARGS)

install: $(VENV)/.stamp-install ## only install

dev: $(VENV)/.stamp-dev ## only install, with what tests need

system: ## install the system libraries that Qt and cameras need (root on Debian or Ubuntu), or name them
	@bash .ci/system-libraries

clean: ## remove the environment and caches (never output such as live-*)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: the second call starts at once, and a changed pyproject or constraints file installs again.

$(VENV)/.stamp-venv:
	@bash .ci/make-venv $(VENV)
	@touch $@

$(VENV)/.stamp-install: pyproject.toml constraints.txt | $(VENV)/.stamp-venv
	@bash .ci/system-libraries
	$(BIN)/python -m pip install -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install -c constraints.txt -e .
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-install
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@
