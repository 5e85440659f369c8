PYTHON ?= python3
BIN := .venv/bin
SEED ?= 1
FILES ?= 10000
NIGHTS ?= 50
CLIPS ?= 20000
# tests work on small tensors, for which a second thread is only a thread to wait for
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo up test test-slow test-browser test-av faults fuzz lint lint-containers types bench bench-gpu bench-pipeline soak bench-quality install clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/runs ## a night of labelling on clips made here: embedded Postgres, Prefect, table of answers
	@$(BIN)/wordwave demo

up: .venv/runs ## Postgres, the Prefect server with its UI and all flows, until Ctrl-C
	@$(BIN)/wordwave up

test: .venv/tests lint types ## every check: style, types, arrows between packages, tests
	$(PYTEST) --numprocesses 2 --dist loadfile

lint: .venv/tests ## ruff and the arrows between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

lint-containers: .venv/tests ## the Dockerfile by hadolint, compose.yaml by the Compose Specification
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[containers]'
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

types: .venv/tests ## mypy, strict
	$(BIN)/mypy

test-slow: .venv/tests ## the suites that take minutes: full-size models, many kills
	$(PYTEST) -m slow

test-browser: .venv/tests ## the UI as a person uses it, in headless Chromium (CHROMIUM names another one)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[browser]'
	$(PYTEST) -m browser

test-av: .venv/tests ## what PyAV decodes: m4a, mp4, mov, 3gp, aac, webm and mkv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[av]'
	$(PYTEST) tests/core/test_av.py

faults: .venv/tests ## some 300 nights that are killed, cut off and lied to, each compared with an undisturbed one (SEED)
	SEED=$(SEED) $(PYTEST) -m faults tests/faults

fuzz: .venv/tests ## damaged files of every container and coding through the decoding child (FILES, SEED)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.run --files $(FILES) --seed $(SEED)

bench: .venv/tests ## the figures of the README: codec, labelling, database, waits, SQL of analysts
	$(BIN)/python -m benchmarks.codec
	$(BIN)/python -m benchmarks.labelling
	$(BIN)/python -m benchmarks.database
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.analysts

bench-gpu: .venv/tests ## codec, labelling and generation on a GPU against what it can do
	$(BIN)/python -m benchmarks.gpu

bench-pipeline: .venv/tests ## 10,000 clips from S3 into Postgres against what limits them
	$(BIN)/python -m benchmarks.pipeline

soak: .venv/tests ## 50 nights in one `wordwave up` and 20,000 clips in one night: is all flat? hours (NIGHTS, CLIPS)
	$(BIN)/python -m benchmarks.soak --nights $(NIGHTS) --clips $(CLIPS)

bench-quality: .venv/tests ## quality on real clips, beside baselines and the paper (WORDWAVE_TEST_DATA); well over an hour
	-$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[quality]'
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.reconstruction
	$(BIN)/python -m benchmarks.tagging
	$(BIN)/python -m benchmarks.tables
	$(BIN)/python -m benchmarks.generation

install: .venv/runs ## the environment in .venv, for use

clean: ## removes the environment
	rm -rf .venv

.venv/runs: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable .
	touch $@

.venv/tests: .venv/runs
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[test]'
	touch $@
