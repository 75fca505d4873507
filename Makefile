# The commands of this repository; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Settings, given on the command line: make reproduce PROFILE=fashion REVIEWS=reviews.jsonl
PROFILE = replica
REVIEWS =
LABELS  =
JOBS    =
AGAINST =
# Where `make check` also writes what it found, as JUnit XML and as Markdown.
JUNIT    ?=
MARKDOWN ?=
PYTHON  = python3
VENV    = .venv
UPGRADE =
# The index to take torch from, if not the one pip uses: PyTorch publishes a CPU one, and one for each CUDA version.
TORCH_INDEX ?=

export PROFILE REVIEWS LABELS JOBS AGAINST JUNIT MARKDOWN TORCH_INDEX
# Nothing that we run reports home, and no profile but `paper` needs a model hub.
export DVC_NO_ANALYTICS       := 1
export ITERATIVE_DO_NOT_TRACK := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export HF_HUB_OFFLINE         ?= 1
export TOKENIZERS_PARALLELISM := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# DVC's stages say `python`: the environment's comes first.
IN_VENV = PATH="$$(cd "$(VENV)/bin" && pwd):$$PATH" VIRTUAL_ENV="$$(cd "$(VENV)" && pwd)"
PIP = "$(VENV)/bin/python" -m pip install -qq --no-input --progress-bar off
# Minor versions of Python 3: the first supported one and the first that is not.
MINORS := $(shell sed -n 's/^requires-python = ">=3\.\([0-9]*\),<3\.\([0-9]*\)"$$/\1 \2/p' pyproject.toml)

.PHONY: help setup reproduce science check test lint lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r target text; do printf 'make %-10s %s\n' "$$target" "$$text"; done

setup: $(VENV)/.stamp  ## build the environment in .venv, once (TORCH_INDEX=url: take torch from another index)
	@echo "$(VENV) is ready"

reproduce: $(VENV)/.stamp  ## run a profile and print its report's path (PROFILE=replica REVIEWS=file LABELS=file JOBS=n)
	@$(IN_VENV) python -m pipeline run --profile "$$PROFILE" $${REVIEWS:+--reviews "$$REVIEWS"} \
	  $${LABELS:+--labels "$$LABELS"} $${JOBS:+--jobs "$$JOBS"}

science:  ## run the experiments: readings of the clip, variants, a larger step size (45 minutes)
	@$(MAKE) --no-print-directory reproduce PROFILE=science

check: $(VENV)/.stamp  ## recompute from committed samples and compare with what is committed: the gate, no training (PROFILE=replica AGAINST=commit JUNIT=file MARKDOWN=file)
	@$(IN_VENV) python -m pipeline check --profile "$$PROFILE" $${AGAINST:+--against "$$AGAINST"} \
	  $${JUNIT:+--junit "$$JUNIT"} $${MARKDOWN:+--markdown "$$MARKDOWN"}

test: $(VENV)/.stamp  ## run the tests, and say which were left out
	@$(IN_VENV) python -m pytest -q -rs

lint: $(VENV)/.stamp  ## check style, format and types
	@$(IN_VENV) ruff check .
	@$(IN_VENV) ruff format --check .
	@$(IN_VENV) mypy

lock:  ## write requirements.lock anew from pyproject.toml (UPGRADE=1: let transitive versions move)
	@$(PYTHON) .ci/lock.py $(if $(UPGRADE),--upgrade)

clean:  ## remove the environment and the tools' caches; results and the DVC cache stay
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	@find pipeline tests .ci -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment, once for each version of the lock. The CPU build of torch is asked for first, because the other one
# brings several GB of CUDA libraries; where the index has no such build, its own build of that version is taken.
$(VENV)/.stamp: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, $(word 1,$(MINORS))) <= sys.version_info[:2] < (3, $(word 2,$(MINORS))))' 2>/dev/null \
	  || { echo "error: $(PYTHON) is not Python 3.$(word 1,$(MINORS)) or newer, below 3.$(word 2,$(MINORS)); name another with PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "error: $(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 2; }
	@if [ -e "$(VENV)" ] && [ ! -f "$(VENV)/pyvenv.cfg" ]; then \
	  echo "error: VENV=$(VENV) exists and is not a virtual environment; name a new folder" >&2; exit 2; fi
	@echo "Setting up $(VENV) (once, about 2 minutes; 420 MB to download with torch's CPU build) ..."
	@$(PYTHON) -m venv --clear "$(VENV)"
	@torch="$$(grep '^torch==' requirements.lock)"; \
	  echo "  $$torch"; \
	  $(PIP) --no-deps $${TORCH_INDEX:+--index-url "$$TORCH_INDEX"} "$$torch+cpu" 2>/dev/null \
	  || $(PIP) --no-deps $${TORCH_INDEX:+--index-url "$$TORCH_INDEX"} "$$torch"
	@echo "  $$(grep -c == requirements.lock) packages of requirements.lock"
	@$(PIP) --use-pep517 -r requirements.lock
	@touch "$@"
	@echo "  done"
