# Everything a developer or a first visitor types. `make serve` is enough to see it run.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
# The first interpreter that is there, starts, and is new enough; `make PYTHON=...` chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo $$python && break; done)

# uv trusts the certificates of this machine, as pip does, and not only those it brings.
export UV_SYSTEM_CERTS := 1
export UV_NATIVE_TLS := 1

ifdef UV
PIP_INSTALL := $(UV) pip install --python $(BIN)/python
else
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
endif

.PHONY: help install dev serve test lint format bench bench-key torture mutants dashboards pictures lock clean

help:
	@echo 'make serve    install and start the gateway (with the simulator if there is no Venice key)'
	@echo 'make install  only install: $(BIN)/venice-gateway'
	@echo 'make test     install and run the tests          make lint     style and types'
	@echo 'make bench    measure                            make torture  long runs with crashes'
	@echo 'make mutants  break the code on purpose          make format   rewrite to the style'
	@echo 'make dashboards  write the JSON of Grafana from its Python'
	@echo 'make pictures    draw what dashboards show of a demonstration'
	@echo 'make lock     renew the locked requirements      make clean    remove what was made here'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'CPython 3.11 or newer is needed; none was found.' >&2; exit 1; }
ifdef UV
	$(UV) venv --quiet --python "$$(command -v $(PYTHON))" $(VENV)
else
	$(PYTHON) -m venv $(VENV)
endif

# An environment made by uv has no pip of its own, should uv be gone by now.
define have_installer
	@test -n "$(UV)" || $(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip
endef

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	$(have_installer)
	$(PIP_INSTALL) --quiet --require-hashes -r requirements.txt
	$(PIP_INSTALL) --quiet --no-deps --no-build-isolation -e .
	@touch $@

# The development set is a superset, so one installation makes both stamps.
$(VENV)/.dev: requirements-dev.txt requirements.txt pyproject.toml | $(BIN)/python
	$(have_installer)
	$(PIP_INSTALL) --quiet --require-hashes -r requirements-dev.txt
	$(PIP_INSTALL) --quiet --no-deps --no-build-isolation -e .
	@touch $(VENV)/.installed $@

install: $(VENV)/.installed

dev: $(VENV)/.dev

# A variable that is set but empty is a mistake, and left to the program to refuse.
serve: install
	@if [ -n "$${VENICE_API_KEY+set}$${VENICE_API_KEY_FILE+set}" ] \
	  || grep -qis '^[[:space:]]*venice_api_key' gateway.toml; then \
	  exec $(BIN)/venice-gateway serve; \
	else \
	  exec $(BIN)/venice-gateway serve --simulator; \
	fi

# Most tests wait for real processes, so more of them run at once than there are cores; those of one
# file stay together and share what they started.
TEST_AT_ONCE ?= 4

test: dev
	$(BIN)/python -m pytest -n $(TEST_AT_ONCE) --dist loadfile $(ARGS)

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: dev
	$(BIN)/python -m tests.bench $(ARGS)

bench-key: dev
	$(BIN)/python -m tests.bench.shared_key $(ARGS)

# All of it, what is whole in a second as well as what takes hours; a client, an nginx or an strace that
# is missing is a failure here.
torture: dev
	TOOLS_REQUIRED=1 $(BIN)/python -m pytest -n $(TEST_AT_ONCE) --dist loadfile $(ARGS)
	TOOLS_REQUIRED=1 $(BIN)/python -m pytest -m torture --timeout=3600 $(ARGS)

mutants: dev
	$(BIN)/python -m tests.mutants $(ARGS)

dashboards: dev
	$(BIN)/python -m grafana.build

# What the dashboards show of a demonstration, for the documentation; needs Prometheus and Chromium.
pictures: dashboards
	$(BIN)/python -m tests.monitoring $(ARGS)

# One resolution for CPython 3.11 to 3.14 on every platform, with hashes and without addresses: the
# only index used is the public one, whatever this machine is configured to.
LOCK := uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate $(LOCK_ARGS)
CLIENTS := tests/dropin/locks

lock:
	@command -v uv >/dev/null || { echo 'make lock needs uv.' >&2; exit 1; }
	$(LOCK) pyproject.toml --group build -o requirements.txt
	$(LOCK) pyproject.toml --group build --extra otel -c requirements.txt -o requirements-otel.txt
	$(LOCK) pyproject.toml --group build --group dev --extra otel -c requirements.txt \
	  -c requirements-otel.txt -o requirements-dev.txt
	for client in $(CLIENTS)/*/requirements.in; do \
	  $(LOCK) $$client -o $${client%.in}.txt || exit 1; done
	for client in $(CLIENTS)/*/package.json; do (cd $${client%/*} && npm install --silent \
	  --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts) || exit 1; done
	$(BIN)/python -m tests.dropin.environments --strip-addresses
	@! grep -rnE '://|--(index|extra-index|find-links)' requirements*.txt $(CLIENTS)

clean:
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find gateway grafana tests -name __pycache__ -type d -prune -exec rm -rf {} +
