# make demo   the main job on phantoms; the last line says where the report is
# make test   lint, types, import layers, the docs' site, the wheel, and all tests
# make docs   the documentation as a site: build/site/index.html
# make help   the rest
#
# Both set up a .venv of the project from pinned versions first, the demo with what a user needs,
# the tests with the rest. Options:
#   PYTHON=python3.12                      another Python, 3.11 or newer
#   PIP_FLAGS="--extra-index-url URL"      another index; PyTorch comes without CUDA by itself
#                                          where there is no NVIDIA GPU

PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEMO := $(VENV)/.ready-demo
INSTALL = $(BIN)/python .ci/install.py
export PIP_FLAGS
# per cent of lines and branches that the tests ran when it was last raised
COVERAGE_FLOOR := 85

.PHONY: help setup demo test lint types layers docs wheel unit matrix bench mutants pictures clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile
	@echo "make lint | types | layers | docs | wheel | unit   one part of make test"
	@echo "make pictures                               the README's pictures, from phantoms"
	@echo "make matrix                                 small tests on Spark 4.0, 4.1, 4.2 and 4.3"
	@echo "make bench                                  the benchmarks, with their table"
	@echo "make mutants                                which changed lines no test notices"
	@echo "make clean                                  remove .venv, demo/ and what was built"

setup: $(READY)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pulmospark needs Python 3.11 or newer, and $(PYTHON) is %d.%d: make PYTHON=python3.11" % sys.version_info[:2])'
	@echo "setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(READY_DEMO): pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALL) local
	@touch $@

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	@$(INSTALL) local dev
	@touch $(READY_DEMO) $@

demo: $(READY_DEMO)
	@$(BIN)/pulmospark demo

# Of the README, from phantoms; needs Chromium.
pictures: $(READY)
	$(BIN)/python docs/make_pictures.py

# Types take one core, and as long as the rest before the tests.
test: lint
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target types layers docs wheel
	@$(MAKE) --no-print-directory unit

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports --no-cache

# Strict: a dead link or anchor, a page that the navigation lacks, or one that would load anything
# from another host fails. Not --quiet, which would let warnings pass uncounted. The variable
# silences an advertisement of the theme's.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean

# The wheel is built from the source distribution, so that both are known to be whole. It is
# installed aside and run from there, not from the checkout.
wheel: $(READY)
	@rm -rf build/wheel build/installed
	$(BIN)/python -m build --no-isolation --outdir build/wheel . > /dev/null
	$(BIN)/twine check --strict build/wheel/*
	$(BIN)/python -m pip install --quiet --no-deps --target build/installed build/wheel/*.whl
	cd build && PYTHONPATH=installed ../$(BIN)/python -c 'import pathlib, pulmospark; assert "installed" in pathlib.Path(pulmospark.__file__).parts'
	cd build && PYTHONPATH=installed ../$(BIN)/python -m pulmospark doctor

# Tests that share what was made for the first of them stay together: see tests/conftest.py.
# One thread each: more than there are cores would wait for each other, and burn time doing so.
# Coverage is that of the tests without Spark, by which logic is to be tested: SlipCover's probes
# cannot be pickled, and Spark pickles what it sends.
PYTEST := -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder
unit: $(READY)
	@mkdir -p build
	OMP_NUM_THREADS=1 $(BIN)/python -m slipcover --branch --source src/pulmospark --json --out build/coverage.json \
	  $(PYTEST) -m "not spark"
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) -m spark
	$(BIN)/python tests/coverage_gate.py build/coverage.json $(COVERAGE_FLOOR)

# Downloads three more Sparks, 450 MB each, once.
matrix: $(READY)
	.ci/spark-matrix

# Ray and Hugging Face datasets are compared with, and are needed for nothing else.
bench: $(READY)
	@$(INSTALL) local dev bench
	$(BIN)/python -m benchmarks

# One line changed at a time: a test must fall. See [tool.mutmut] in pyproject.toml.
mutants: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt mutmut
	$(BIN)/python -m benchmarks.mutants

clean:
	rm -rf $(VENV) build dist demo
