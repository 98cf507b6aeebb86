# `make` lists the targets. On a fresh machine Python 3.11 to 3.13 and make are enough.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-calls test-fresh test-pythons test-long test-hours test-peers test-doors check lint format lock drill mutants clean

# Compiled tests are kept, also where the environment says not to: each process of pytest would
# compile all of them anew, a quarter of a minute.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
# A file stays on one worker, with the lab that it started.
TESTS := -m pytest -q --dist loadfile
PYTEST := $(BIN)/python $(TESTS) -n 2
# Three workers: two leave a sixth of two cores idle, because some of these tests wait.
QUICK := -n 3 -m "not slow and not e2e and not peers"
# Two halves: the second runs also when the first failed, and the target fails if either did.
BOTH := scripts/both
# The tests on virtual time beside those in real time.
HALVES := scripts/halves
# What waits for real time is tried once more, alone, when little of it failed; both runs are printed.
TWICE := scripts/twice

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: ## what runs: .venv from requirements.lock, Holdline itself editable in it
	@scripts/setup requirements.lock

setup-dev: setup ## what tests, too: requirements-dev.lock
	@scripts/setup requirements-dev.lock

demo: setup ## a talking agent without keys: open the one URL that it prints; PORT=8081 another port
	@$(BIN)/holdline demo $(if $(PORT),--port $(PORT))

test: setup-dev ## the quick tests and one whole call; six minutes on two cores
	@$(BIN)/python $(TESTS) $(QUICK)

test-calls: setup-dev ## whole calls, in browsers too; some ten minutes
	@$(HALVES) slow $(PYTEST) -m "(slow or e2e) and not long and not hours and not peers and not doors"

test-fresh: setup-dev ## the quick tests with make and the newest Python that is here, and no other tool; as root
	@python=$$(scripts/pythons | tail -n 1); \
		$${python:-$(BIN)/python} tests/fresh_machine.py $(TESTS) $(QUICK)

test-pythons: setup-dev ## the quick tests on each other Python that is here; six minutes each
	@pythons=$$(scripts/pythons) || exit; failed=0; for python in $$pythons; do \
		$$python --version; $$python $(TESTS) $(QUICK) || failed=1; done; exit $$failed

test-long: setup-dev ## the longest tests: outages from end to end, several servers, demonstrations
	@$(BOTH) '$(HALVES) long $(PYTEST) -m "long and not alone and not hours and not peers and not doors"' \
		'$(TWICE) alone $(BIN)/python -m pytest -q -m "long and alone"'

test-hours: setup-dev ## an hour of faults in each stage, a call of 2,000 turns: some twenty minutes
	@$(BIN)/python -m pytest -q -m hours

test-peers: setup-dev ## calls through a real LiveKit with real SIP phones, built first if need be
	@scripts/peers || echo "holdline: what cannot be built stays unproven" >&2
	@$(TWICE) peers $(PYTEST) -rs -m "peers and not long"

test-doors: setup-dev ## the same through every door: twelve behaviours with their table, strangers
	@scripts/peers || echo "holdline: what cannot be built stays unproven" >&2
	@$(BOTH) '$(BIN)/python scripts/doors_table.py' '$(TWICE) doors $(PYTEST) -m doors'

check: setup-dev lint ## lint, types, imports and the quick tests; about six minutes
	@$(BIN)/python $(TESTS) $(QUICK)

lint: setup-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

format: setup-dev ## rewrite the code in the house's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

drill: setup-dev ## break everything on purpose, beside stock Pipecat: takes hours; ONLY=ROW,... some
	@$(BIN)/holdline drill --baseline stock-pipecat $(if $(ONLY),--only $(ONLY))

mutants: setup-dev ## which changes of a decision does no test notice? takes long; ONLY=FILE,... some
	@$(BIN)/python scripts/mutants.py $(if $(JOBS),--jobs $(JOBS)) $(if $(TENTH),--tenth) $(ONLY)

# Named versions and hashes, no index and no host; the same file for every platform and Python.
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --group setup --quiet

lock: setup ## renew both lock files from pyproject.toml
	@$(BIN)/$(LOCK) -o requirements.lock
	@$(BIN)/$(LOCK) --group dev --all-extras -c requirements.lock -o requirements-dev.lock

clean: ## forget what was built here
	@rm -rf .venv .venv-* .pytest_cache .ruff_cache .hypothesis out
