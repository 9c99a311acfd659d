# Every command of this repository. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= .segsmith
DEMO := .segsmith/demo
PORT ?= 8000
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
export PYTHONUNBUFFERED := 1
export NO_ALBUMENTATIONS_UPDATE := 1
# Threads of torch that wait should sleep, not spin: with more threads than cores, spinning made a step three times slower.
export OMP_WAIT_POLICY ?= PASSIVE

# Small networks gain nothing from more threads, and the tests run several processes at once.
TEST_ENVIRONMENT := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1}

# Tests that start processes wait much: three at a time keep two cores busy. Files with long tests stand first.
SPREAD := -n 3 --dist loadfile --no-loadscope-reorder
SUITES := tests/integration tests/api tests/hostile tests/unit

DISTRIBUTIONS := shared services/api services/worker-gpu services/evaluator client
PROJECTS := $(DISTRIBUTIONS:%=%/pyproject.toml)
SOURCES := $(DISTRIBUTIONS:%=%/src)

.PHONY: help install demo up images compose-env smoke test test-slow check format test-chaos test-e2e test-gpu test-compose test-mutants bench bench-gpu bench-scale \
    requirements clean clean-all

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/installed  ## make .venv with the pinned packages (INSTALLER=pip to do without uv)

$(VENV)/installed: requirements/dev.txt requirements/install $(PROJECTS)
	@requirements/install $(VENV)

demo: install  ## the whole product on drawn data: real services, synthetic pairs, a report (minutes)
	@rm -rf $(DEMO)/drawn $(DEMO)/result
	@$(BIN)/segsmith dataset draw $(DEMO)/drawn --pairs 120 --side 96 --seed 7
	@$(BIN)/python -m segsmith_shared.embedded --data $(DEMO)/stack --gpu-workers 2 exec -- \
	    $(BIN)/segsmith run $(DEMO)/drawn --name demo --preset tiny-cpu --k 2 --test-fraction .25 \
	    --samples-per-source 1 --ms-ssim-pairs 200 --seed 7 --seeds 3 --threads 1 --jobs 2 --stand-ins --output $(DEMO)/result

up: install  ## serve the whole stack on this machine without Docker (DATA=.segsmith PORT=8000)
	@$(BIN)/python -m segsmith_shared.embedded --data $(DATA) --port $(PORT)

compose-env:  ## write .env with random secrets for docker compose; what is there already is kept
	@compose/make-env

images: compose-env  ## build the three images (docs/compose.md: mirrors, CPU builds of torch)
	@docker compose build

smoke: install  ## the whole job on a running stack, through its API alone (SEGSMITH_URL=http://… SEGSMITH_API_KEY=sgs_…)
	@export SEGSMITH_URL=$${SEGSMITH_URL:-http://127.0.0.1:8000} && \
	    export SEGSMITH_API_KEY=$${SEGSMITH_API_KEY:-$$(sed -n 's/^SEGSMITH_FIRST_API_KEY=//p' .env 2>/dev/null)} && \
	    $(PYTEST) tests/smoke

test: check  ## everything that must hold before a change is merged (up to 15 minutes)
	@$(TEST_ENVIRONMENT) $(PYTEST) $(SPREAD) -m "not slow and not gpu" $(SUITES)

test-slow: install  ## the tests of the same folders that take most of a minute each
	@$(TEST_ENVIRONMENT) $(PYTEST) $(SPREAD) -m slow $(SUITES)

check: install  ## format, lint, types and the walls between the rooms
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy $(SOURCES) tests benchmarks
	@$(BIN)/lint-imports

format: install  ## let ruff format and mend what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

test-chaos: install  ## kill things at random moments and lose nothing (long)
	@$(TEST_ENVIRONMENT) $(PYTEST) tests/chaos

test-e2e: install  ## the product as a user runs it, from the command line to the report
	@$(TEST_ENVIRONMENT) $(PYTEST) tests/e2e

test-compose: install  ## restart, kill and take down a real compose stack, and lose nothing (Docker, built images; long)
	@$(PYTEST) tests/compose

test-gpu: install  ## what needs a CUDA device
	@$(PYTEST) -m gpu tests/gpu

test-mutants: install  ## put small faults into the modules that figures come from; tests must notice 85 % (ONLY=loss,kid; long)
	@$(TEST_ENVIRONMENT) $(BIN)/python -m benchmarks.mutation $(if $(ONLY),--only $(ONLY)) --output mutation.json

bench: install  ## ratios against named baselines, also written to bench.json (ONLY=engine,importing)
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) --output bench.json

bench-gpu: install  ## the same on a CUDA device, written to bench-gpu.json; says so and fails where there is none
	@$(BIN)/python -m benchmarks --gpu $(if $(ONLY),--only $(ONLY)) --output bench-gpu.json

bench-scale: install  ## a database of 10^6 pairs and 10^5 jobs: sizes, plans, claims, written to bench-scale/ (SCALE=small|jobs|full)
	@$(BIN)/python -m benchmarks.scale --size $(or $(SCALE),small) --output bench-scale

requirements: install  ## pin requirements/*.in again, newest versions with hashes
	@for list in build vision api worker-gpu evaluator dev; do \
	    $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	        --no-header --no-emit-index-url --output-file requirements/$$list.txt requirements/$$list.in; \
	done

clean:  ## remove caches and built files
	@find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench.json bench-gpu.json bench-scale mutation.json

clean-all: clean  ## also remove .venv and what the demo left; the data of `make up` stays
	@rm -rf $(VENV) $(DEMO)
