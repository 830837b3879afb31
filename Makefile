# Two commands matter: `make demo` and `make test`. Everything else serves them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo demo-clean field test test-long faults fuzz audit lint contract faces lock clean

demo: $(STAMP)
	@$(BIN)/anju demo $(ARGS)

demo-clean: $(STAMP)
	@$(BIN)/anju demo-clean

# Simulated devices on their own protocols and ports, one gateway before them, the server behind it.
field: $(STAMP)
	@$(BIN)/anju simulate field $(ARGS)

test: $(STAMP) lint
	$(BIN)/pytest -m "not long"

# Kills, a whole year of real meters, the demo from nothing: minutes, not seconds.
test-long: $(STAMP)
	$(BIN)/pytest -m long

# Eight seeded runs of a real site whose parts are killed, stopped, cut off and starved: over 350 kills, about seven minutes.
faults: $(STAMP)
	ANJU_TEST_FAULT_RUNS=$(or $(RUNS),8) $(BIN)/pytest -s tests/faults tests/simulation

# A million random and bent inputs for every codec and every push parser, a million hostile messages for ingest and a hundred
# thousand hostile requests for the API: about a quarter of an hour.
fuzz: $(STAMP)
	$(BIN)/python -m tests.devices.fuzzing --inputs $(or $(INPUTS),1000000)
	$(BIN)/python -m tests.ingest.hostile --inputs $(or $(INPUTS),1000000)
	$(BIN)/python -m tests.api.hostile --inputs $$(($(or $(INPUTS),1000000) / 10))

# Known weaknesses of what we build on. Needs the world outside; what it cannot ask about it says.
audit: $(STAMP)
	$(BIN)/pip-audit --requirement locks/runtime.txt --require-hashes --disable-pip --progress-spinner off

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The wire contract's schemas and the register's column list, from the code.
contract: $(STAMP)
	$(BIN)/anju contract

# Faces without a compiler: dlib as a wheel, and face-recognition without its declared dependencies.
faces: $(STAMP)
	$(BIN)/pip install --quiet --require-hashes --no-deps --no-build-isolation -r locks/faces.txt

$(STAMP): locks/dev.txt pyproject.toml deploy/bootstrap.sh
	@sh deploy/bootstrap.sh $(PYTHON) $(VENV)
	@touch $(STAMP)

# Needs uv. No index host stands in a lock.
lock:
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command 'make lock' -q -o locks/runtime.txt
	uv pip compile pyproject.toml --extra embedded --extra bench --extra notify --extra vision --extra cluster --extra dev --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command 'make lock' -q -o locks/dev.txt
	uv pip compile locks/faces.in --override locks/faces-override.in --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command 'make lock' -q -o locks/faces.txt

clean: demo-clean
	rm -rf $(VENV) build *.egg-info
