# Two commands matter: `make demo` and `make test`. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo demo-clean field check fmt test coverage test-long faults fuzz audit lint contract faces lock clean

# A target's line carries its help text after two number signs.
help: ## list these targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

demo: $(STAMP) ## the whole product with a simulated estate, until Ctrl-C
	@$(BIN)/anju demo $(ARGS)

demo-clean: $(STAMP) ## remove what the demo left
	@$(BIN)/anju demo-clean

field: $(STAMP) ## simulated devices on their own protocols, a gateway before them, the server behind it
	@$(BIN)/anju simulate field $(ARGS)

check: $(STAMP) ## style, import arrows and the tidy tests, in seconds
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/tidy --ignore=tests/tidy/test_secrets.py

fmt: $(STAMP) ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

test: $(STAMP) lint ## types, import arrows and every test that is not marked long (WORKERS=2)
	$(BIN)/pytest -n $(or $(WORKERS),2) -m "not long"

coverage: $(STAMP) ## the same tests, with the share of branches that they take, services included
	$(BIN)/pytest -n $(or $(WORKERS),2) -m "not long" --cov --cov-report=term

# Kills, a whole year of real meters, the demo from nothing.
test-long: $(STAMP) ## the tests that take minutes each
	$(BIN)/pytest -m long

# Eight seeded runs of a real site whose parts are killed, stopped, cut off and starved: over 350
# kills, about seven minutes.
faults: $(STAMP) ## kill a real site's parts, in eight seeded runs (RUNS=8)
	ANJU_TEST_FAULT_RUNS=$(or $(RUNS),8) $(BIN)/pytest -s tests/faults tests/simulation

# A million random and bent inputs for every codec and every push parser, a million hostile messages
# for ingest and a hundred thousand hostile requests for the API: about a quarter of an hour.
fuzz: $(STAMP) ## random and hostile input for codecs, ingest and API (INPUTS=1000000)
	$(BIN)/python -m tests.devices.fuzzing --inputs $(or $(INPUTS),1000000)
	$(BIN)/python -m tests.ingest.hostile --inputs $(or $(INPUTS),1000000)
	$(BIN)/python -m tests.api.hostile --inputs $$(($(or $(INPUTS),1000000) / 10))

audit: $(STAMP) ## known weaknesses of our dependencies; needs the internet
	$(BIN)/pip-audit --requirement locks/runtime.txt --require-hashes --disable-pip --progress-spinner off

lint: $(STAMP) ## style, types and import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

contract: $(STAMP) ## write what is generated from code: wire schemas, register columns
	$(BIN)/anju contract

# Without a compiler: dlib as a wheel, and face-recognition without its declared dependencies.
faces: $(STAMP) ## install face recognition
	$(BIN)/pip install --quiet --require-hashes --no-deps --no-build-isolation -r locks/faces.txt

$(STAMP): locks/dev.txt pyproject.toml deploy/bootstrap.sh
	@sh deploy/bootstrap.sh $(PYTHON) $(VENV)
	@touch $(STAMP)

# Needs uv. No index host stands in a lock.
lock: ## pin the dependencies anew
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command 'make lock' -q -o locks/runtime.txt
	uv pip compile pyproject.toml --extra embedded --extra bench --extra notify --extra vision --extra cluster --extra dev --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command 'make lock' -q -o locks/dev.txt
	uv pip compile locks/faces.in --override locks/faces-override.in --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command 'make lock' -q -o locks/faces.txt

clean: demo-clean ## remove the demo and the virtual environment
	rm -rf $(VENV) build *.egg-info
