# Everything a developer types. `make help` lists it; README.md explains the first two.
.DEFAULT_GOAL := help
.NOTPARALLEL:

UV := tools/uv
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
FAST := not slow and not server and not faults and not browser
ARGS ?=

# Built anew when its interpreter is gone (an upgrade removed it) or another one is asked for.
ifneq ($(wildcard $(BIN)/python)$(PYTHON),$(BIN)/python)
.PHONY: .venv/.ready
endif

.PHONY: help run test check format nightly bench matrix clean
.PHONY: packages mysql sessions suite template-tests bench-smoke lint types laws fast migrations

help: ## this list
	@awk -F ':.*## ' '/^##@/ {print "\n" substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

.venv/.ready: uv.lock pyproject.toml
	@$(UV) sync --frozen --inexact
	@touch $@

##@ The two commands

run: .venv/.ready ## a project from the template on http://127.0.0.1:8000 (PORT=8001)
	@exec $(BIN)/python tools/project.py serve

test: packages mysql sessions template-tests bench-smoke ## everything, with every real service it needs

##@ While working

check: lint types laws fast migrations ## formatting, lint, types, import laws, fast tests
	@$(UV) lock --check

format: .venv/.ready ## write the formatting and the safe lint fixes
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

nightly: .venv/.ready ## long random walks: each store beside the reference (ARGS="-k sqlite")
	@$(PYTEST) tests/store/test_state_machine.py --hypothesis-profile nightly $(ARGS)

bench: .venv/.ready ## ours against others, on each store (ARGS="--help" lists the options)
	@$(UV) sync --frozen --inexact --group bench
	@$(BIN)/python benchmarks/run.py $(ARGS)

matrix: ## fast tests on each Python and Django that this machine can offer
	@tools/matrix.sh -m "$(FAST)" $(ARGS)

clean: ## remove everything that make created here, the run project included
	@rm -rf .venv .cache run dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

##@ Parts of the above

packages: ## the Debian packages that the tests start, and what mysqlclient is built with
	@tools/packages.sh valkey-server,redis-server postgresql pgbouncer mariadb-server openssl \
		chromium chromium-driver default-libmysqlclient-dev pkg-config gcc

mysql: .venv/.ready ## the driver for MySQL and MariaDB, built where its library is
	@tools/mysql.sh

sessions: .venv/.ready ## the whole suite, fault tests beside the others, which takes half the time
	@tools/suite.sh

suite: .venv/.ready ## the suite, or a part of it, one test after another (ARGS="-k cron")
	@$(PYTEST) tests $(ARGS)

template-tests: .venv/.ready ## a fresh project's own tests
	@$(BIN)/python tools/project.py test

bench-smoke: .venv/.ready ## a very short benchmark run: it works, its numbers mean nothing
	@$(UV) sync --frozen --inexact --group bench
	@$(BIN)/python benchmarks/run.py --smoke

lint: .venv/.ready
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check

types: .venv/.ready
	@$(BIN)/mypy

laws: .venv/.ready
	@$(BIN)/lint-imports --no-logo --no-cache

fast: .venv/.ready ## tests that need no server, browser or patience
	@$(PYTEST) tests -m "$(FAST)" $(ARGS)

migrations: .venv/.ready
	@DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m django makemigrations --check --dry-run
