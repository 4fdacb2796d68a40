# `make` says what there is. Each target does the set-up that it needs; a second call does none.
PYTHON ?= python3
# A checkout that is set up already, such as when a workflow runs on a laptop.
TOOLS ?= $(or $(LLMOPS_TOOLS),$(CURDIR))
BIN := $(TOOLS)/.venv/bin
export PATH := $(BIN):$(TOOLS)/node_modules/.bin:$(PATH)
export PYTHONPATH := $(CURDIR)/scripts
.DEFAULT_GOAL := help
.PHONY: help setup beam demo test lint bench clean lock format

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: ## install everything into .venv and node_modules (the others do it by themselves)
	@$(PYTHON) requirements/install.py --tools "$(TOOLS)"

beam: setup ## also install Apache Beam, for `llmops data build --beam`
	@$(PYTHON) requirements/install.py --tools "$(TOOLS)" --beam

demo: setup ## two pull requests, judged, merged, deployed and rolled back on this machine
	@$(BIN)/python -m llmops.cli demo

# Most of a slow test is waiting: two files at once. What a file's tests share is started once.
test: setup $(if $(FAST),,beam) ## all tests; FAST=1 leaves out the slow ones
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone $(if $(FAST),and not slow)"
	@$(if $(FAST),,$(BIN)/python -m pytest -m alone)

lint: setup ## format, rules, types, import layers, workflows
	@requirements/lint.sh

bench: setup ## measure, and write docs/benchmarks.md
	@$(BIN)/python -m tests.bench

format: setup
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

lock: setup ## pin and hash the newest packages that requirements/*.in allow
	@requirements/lock.sh

clean: ## stop the local cloud and remove what set-up and runs made
	@if test -x $(BIN)/python; then $(BIN)/python -m llmops.cli local down || true; fi
	rm -rf .venv .venv-beam node_modules .llmops .mypy_cache .pytest_cache .ruff_cache .hypothesis build
