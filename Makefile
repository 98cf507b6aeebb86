# `make` lists the targets. A fresh machine needs only make and a Python from 3.11 to 3.14.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-calls test-fresh test-pythons test-long test-slow test-hours test-peers test-doors check lint format lock drill mutants clean

# Keep compiled tests even if the environment forbids it: otherwise each process of pytest would
# compile all of them again, which takes a quarter of a minute.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
# All tests of a file run in one worker of pytest, with the lab that they started.
TESTS := -m pytest -q --dist loadfile
PYTEST := $(BIN)/python $(TESTS) -n 2
# Four workers: two leave much of two cores idle, because some of these tests wait.
QUICK := -n 4 -m "not slow and not e2e and not peers"
# Runs two commands, the second even if the first failed; the target fails if either fails.
BOTH := scripts/both
# Runs the tests on virtual time in parallel with those in real time.
HALVES := scripts/halves
# Runs tests in real time. If only a few fail, these run once more, alone; both runs are printed.
TWICE := scripts/twice
# The slow tests that may run beside others, and those that may not.
BESIDE := not alone and not hours and not peers and not doors
ALONE := $(TWICE) alone $(BIN)/python -m pytest -q -m "long and alone"

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: ## set up .venv from requirements.lock, with Holdline itself editable in it
	@scripts/setup requirements.lock

setup-dev: setup ## add the packages for tests and development (requirements-dev.lock)
	@scripts/setup requirements-dev.lock

demo: setup ## a talking agent without keys: open the one URL that it prints; PORT=8081 uses another port
	@$(BIN)/holdline demo $(if $(PORT),--port $(PORT))

test: setup-dev ## the quick tests and one whole call; 15 to 24 minutes on two cores
	@$(TWICE) quick $(BIN)/python $(TESTS) $(QUICK)

test-calls: setup-dev ## whole calls, also in browsers; about ten minutes
	@$(HALVES) slow $(PYTEST) -m "(slow or e2e) and not long and $(BESIDE)"

test-fresh: setup-dev ## the quick tests with make and Python only, another version if there is one; needs root; SHARE=K/N: some files
	@python=$$(scripts/pythons newest) || exit; \
		files=$$(scripts/share $(SHARE)) || exit; \
		$${python:-$(BIN)/python} tests/fresh_machine.py $(TESTS) $(QUICK) $$files

test-pythons: setup-dev ## the quick tests on the other Python versions of this machine; as long for each
	@pythons=$$(scripts/pythons) || exit; failed=0; for python in $$pythons; do \
		$$python --version; $$python $(TESTS) $(QUICK) || failed=1; done; exit $$failed

test-long: setup-dev ## the longest tests: outages from end to end, several servers, and demonstrations
	@$(BOTH) '$(HALVES) long $(PYTEST) -m "long and $(BESIDE)"' '$(ALONE)'

test-slow: setup-dev ## test-calls and test-long at once; SHARE=K/N: some of their files, as in CI
	@files=$$(scripts/share $(SHARE)) || exit; \
		$(BOTH) "$(HALVES) slow $(PYTEST) $$files -m '(slow or e2e) and $(BESIDE)'" \
			'$(ALONE) '"$$files"' || test $$? = 5' # 5: a share may have none of these

test-hours: setup-dev ## an hour of faults in each stage, and a call of 2,000 turns; about twenty minutes
	@$(BIN)/python -m pytest -q -m hours

test-peers: setup-dev ## calls through a real LiveKit, which is built first if necessary, with real SIP phones; SHARE=K/N
	@scripts/peers || echo "holdline: what cannot be built stays unproven" >&2
	@files=$$(scripts/share $(SHARE)) || exit; $(TWICE) peers $(PYTEST) $$files -rs -m "peers and not long"

test-doors: setup-dev ## what test-calls tests with Twilio, on the other transports; and the table of twelve behaviours
	@scripts/peers || echo "holdline: what cannot be built stays unproven" >&2
	@$(BOTH) '$(BIN)/python scripts/doors_table.py' '$(TWICE) doors $(PYTEST) -m doors'

check: setup-dev lint ## lint, types, imports and the quick tests; as long as test
	@$(BIN)/python $(TESTS) $(QUICK)

lint: setup-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

format: setup-dev ## format the code, and fix what ruff can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

drill: setup-dev ## break everything on purpose, also on stock Pipecat; takes hours; ONLY=ROW,... runs some rows
	@$(BIN)/holdline drill --baseline stock-pipecat $(if $(ONLY),--only $(ONLY))

mutants: setup-dev ## find changes of decisions that no test notices; takes hours; ONLY=FILE,... checks some files
	@$(BIN)/python scripts/mutants.py $(if $(JOBS),--jobs $(JOBS)) $(if $(TENTH),--tenth) $(ONLY)

# Locked versions with hashes, without an index or a host; one file for all platforms and Pythons.
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --group setup --quiet

lock: setup ## renew both lock files from pyproject.toml
	@$(BIN)/$(LOCK) --extra server --extra mic -o requirements.lock
	@$(BIN)/$(LOCK) --group dev --all-extras -c requirements.lock -o requirements-dev.lock

clean: ## remove what was built here
	@rm -rf .venv .venv-* .pytest_cache .ruff_cache .hypothesis out
