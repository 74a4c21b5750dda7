# Each target does its own set-up: a fresh machine needs CPython 3.11 or later, make, gcc and the package registries.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FULL := .venv-full
UV := $(BIN)/uv pip install -q --python $(BIN)/python
MEDIA := .cache/media
SAMPLE := out/demo/reel.mp4
# Files as a whole go to one process, and all that start Ray or fill the machine to the same one (tests/conftest.py).
PARALLEL := -n logical --maxprocesses 4 --dist loadscope

.PHONY: demo serve test test-embedded test-full check format full bench bench-service bench-gpu bench-truth schema lock clean

demo: $(VENV)/.base
	$(BIN)/reelscope models fetch
	$(BIN)/python -m tests.media.reel $(SAMPLE)
	$(BIN)/reelscope analyze $(SAMPLE) --out out/demo --format html

# The page and the HTTP interface on http://127.0.0.1:8003; files below out/ may be named by their path.
serve: $(VENV)/.base
	$(BIN)/reelscope models fetch
	$(BIN)/python -m tests.media.reel $(SAMPLE)
	REELSCOPE_MEDIA_ROOTS=$${REELSCOPE_MEDIA_ROOTS:-$(CURDIR)/out} $(BIN)/reelscope serve


test: test-embedded test-full

test-embedded: $(VENV)/.dev
	$(BIN)/reelscope models fetch
	$(BIN)/python -m pytest --ignore tests/full $(PARALLEL)

# The models of the full profile need torch (7 GB), which the embedded profile must work without: another environment.
test-full: $(FULL)/.full
	$(FULL)/bin/reelscope models fetch
	$(FULL)/bin/reelscope models fetch easyocr_english transnet_v2
	$(FULL)/bin/python -m pytest tests/full

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/boundary
	$(BIN)/python -m pipeline.schema --check
	$(BIN)/python -m serve_app.models_doc --check
	$(BIN)/python -m serve_app.api.openapi --check

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	$(BIN)/reelscope models fetch
	$(BIN)/python -m benchmarks.run

bench-service: $(VENV)/.dev
	$(BIN)/reelscope models fetch
	$(BIN)/python -m benchmarks.service

full: $(FULL)/.full

bench-gpu: $(FULL)/.full
	$(FULL)/bin/reelscope models fetch
	$(FULL)/bin/reelscope models fetch easyocr_english transnet_v2
	$(FULL)/bin/python -m benchmarks.gpu

bench-truth: $(VENV)/.dev
	$(BIN)/reelscope models fetch
	$(BIN)/python -m benchmarks.truth

schema: $(VENV)/.base
	$(BIN)/python -m pipeline.schema
	$(BIN)/python -m serve_app.models_doc
	$(BIN)/python -m serve_app.api.openapi

# Lock files carry names, versions and hashes only, never a registry's address.
lock: $(VENV)/.uv
	$(BIN)/uv pip compile pyproject.toml --python-version 3.11 --no-header --no-emit-index-url --generate-hashes -q -o requirements/base.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev -c requirements/base.txt --python-version 3.11 --no-header --no-emit-index-url --generate-hashes -q -o requirements/dev.txt
	$(BIN)/uv pip compile pyproject.toml --extra full --extra dev -c requirements/dev.txt --python-version 3.11 --no-header --no-emit-index-url --generate-hashes -q -o requirements/full.txt

clean:
	rm -rf out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check uv==0.13.9
	touch $@

$(VENV)/.base: $(VENV)/.uv requirements/base.txt pyproject.toml
	$(UV) --no-deps --require-hashes -r requirements/base.txt
	$(UV) --no-deps -e .
	touch $@

$(VENV)/.dev: $(VENV)/.base requirements/dev.txt
	$(UV) --no-deps --require-hashes -r requirements/dev.txt
	touch $@

$(FULL)/.full: $(VENV)/.uv requirements/full.txt pyproject.toml
	$(PYTHON) -m venv $(FULL)
	$(BIN)/uv pip install -q --python $(FULL)/bin/python --no-deps --require-hashes -r requirements/full.txt
	$(BIN)/uv pip install -q --python $(FULL)/bin/python --no-deps -e .
	touch $@
