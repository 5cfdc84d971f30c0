# Three commands matter: `make app`, `make demo` and `make test`. They work on a bare machine with Python 3.11 or 3.12.

VENV ?= .venv
# The first interpreter of a version that all requirements are built for.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && { echo $$p; break; }; done)
BIN := $(VENV)/bin
export PYTHONUNBUFFERED = 1

.PHONY: help setup app demo test lint types chromium gltf-validator unit measure bench bench-gpu thumbnails gallery clean

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 16

$(VENV)/.runtime: requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; set PYTHON=/path/to/python3.11." >&2; exit 3; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	touch $@

setup: $(VENV)/.runtime  ## Create .venv, install, and build the body model's cache.
	$(BIN)/python app.py doctor --prepare

app: $(VENV)/.runtime  ## Start the web app on http://127.0.0.1:7860.
	$(BIN)/python app.py

demo: $(VENV)/.runtime  ## Replace the person in the bundled clip; prints the run folder.
	$(BIN)/python app.py replace assets/demo/walk.mp4

test: $(VENV)/.dev lint types unit  ## Everything that a change must pass.

lint: $(VENV)/.dev  ## Style and import rules.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev  ## Static types.
	$(BIN)/mypy

chromium:  ## Install the browser that the page's tests drive, where there is none.
	scripts/ensure_chromium.sh

gltf-validator: $(VENV)/.dev  ## Install the validator of exported GLB files, where it is not there.
	scripts/ensure_gltf_validator.sh $(VENV)

unit: $(VENV)/.dev chromium gltf-validator  ## The tests, on real parts.
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term

measure: $(VENV)/.dev  ## Measure replace, its avatars and mesh on known scenes and the footage in ../shared; takes long.
	@missed=; for name in measure wardrobe mesh_truth gymnast mesh_footage; do \
		$(BIN)/python benchmarks/$$name.py || missed="$$missed $$name"; done; \
		test -z "$$missed" || { echo "Not all is reached, or not all ran:$$missed" >&2; exit 1; }

bench: $(VENV)/.dev  ## Time replace and mesh: whole runs, rasterisers, another fit, memory; takes long.
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/mesh_raster.py
	$(BIN)/python benchmarks/mesh_keypoints2body.py
	$(BIN)/python benchmarks/mesh_memory.py

bench-gpu: $(VENV)/.dev  ## Time the diffusion engines on a graphics card, with random weights.
	$(BIN)/python benchmarks/gpu_bench.py

thumbnails: $(VENV)/.dev  ## Draw the avatars' pictures anew.
	$(BIN)/python scripts/make_thumbnails.py

gallery: $(VENV)/.dev  ## Draw the gallery's sheets and page anew, on the footage in ../shared; takes long.
	$(BIN)/python scripts/make_gallery.py

clean:  ## Remove the environment and all caches.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage
