# make demo   set up and compress the built-in model, end to end
# make test   set up and run the tests, in WORKERS processes of one thread each; make test-slow runs the long ones;
# make lint   checks style and types
# make docs   writes the tables of docs/ that follow from the code
# make test-exchange   the tests of snnq export and bench that need other libraries, in an environment of their own

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXCHANGE := .venv-exchange
WORKERS ?= 2

.PHONY: demo test test-slow test-exchange lint format docs clean

demo: $(VENV)/.installed
	$(BIN)/snnq demo demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow --timeout 3600

test-exchange: $(EXCHANGE)/.installed
	$(EXCHANGE)/bin/python -m pytest -m exchange tests/exporting tests/bench

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) $(EXCHANGE) demo build *.egg-info

# pip compiles what it installs, but not snnq, which stays where it is: where PYTHONDONTWRITEBYTECODE is set, as in many
# containers, every process would compile it anew.
INSTALL := pip install --quiet --disable-pip-version-check -c constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(INSTALL) -e .
	$(BIN)/python -m compileall -q snnq
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(INSTALL) -e '.[dev]'
	$(BIN)/python -m compileall -q snnq
	touch $(VENV)/.installed $@

$(EXCHANGE)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(EXCHANGE)
	$(EXCHANGE)/bin/$(INSTALL) \
		-e '.[dev,compressed-tensors,qonnx,nir,openvino,onnxruntime]'
	touch $@
