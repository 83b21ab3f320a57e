# Two commands work on a fresh machine with Python (3.11 or newer) and make:
#   make demo   sets up, prunes a small trained network, verifies it and prints the table
#   make test   sets up and runs all tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo

.PHONY: demo test test-fast lint types tables pictures docs check clean

demo: $(VENV)/.installed
	$(BIN)/secateur inspect fixtures/shapes_caffe/shapes.prototxt fixtures/shapes_caffe/shapes.caffemodel
	$(BIN)/secateur prune fixtures/shapes_caffe/shapes.prototxt fixtures/shapes_caffe/shapes.caffemodel \
		--rate 0.3 --data fixtures/shapes.npz -o $(OUT)/caffe
	$(BIN)/secateur prune fixtures/shapes_darknet/shapes.cfg fixtures/shapes_darknet/shapes.weights \
		--rate 0.3 --data fixtures/shapes.npz -o $(OUT)/darknet

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto

# The inner loop: what needs under a minute on two cores.
test-fast: $(VENV)/.test
	$(BIN)/python -m pytest -n auto -m "not slow"

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

# mypy does not follow the editable install: it gets a folder in which `secateur` is this checkout.
types: $(VENV)/.lint
	mkdir -p $(VENV)/types && ln -sfn $(CURDIR) $(VENV)/types/secateur
	cd $(VENV)/types && MYPYPATH=. $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml \
		-p secateur.core -p secateur.formats -p secateur.proto -p secateur.workflows \
		-p secateur.cli

# docs/layers.md, from the layer declarations; a test checks that it is current.
tables: $(VENV)/.test
	$(BIN)/python docs/make_tables.py

# docs/pictures, by a headless Chromium.
pictures: $(VENV)/.test
	$(BIN)/python docs/take_pictures.py

# The site of docs/, into site/: the reference is made from the program, and a warning is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

check: lint types test

clean:
	rm -rf $(VENV) $(OUT) build dist site *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml setup.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lint]'
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@
