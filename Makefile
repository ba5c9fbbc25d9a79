PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help setup run test coverage lint bench crash-test crash-campaign quirk-test stop clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-16s %s\n", $$1, $$2}'

$(VENV)/.run: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Making the virtual environment $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing the packages of requirements.txt into $(VENV) ..."
	@$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo "Installing the packages of requirements-dev.txt into $(VENV) ..."
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

$(VENV)/.bench: requirements-bench.txt $(VENV)/.run
	@echo "Installing the packages of requirements-bench.txt into $(VENV) ..."
	@$(INSTALL) -r requirements-bench.txt
	@touch $@

setup: $(VENV)/.run ## the virtual environment in .venv, and the code compiled, so that no restart compiles it
	@$(BIN)/python -m compileall -q trader state observers paper_gateway

run: setup ## trade a session on the embedded paper gateway
	$(BIN)/python trader.py

test: $(VENV)/.run ## every test, under five minutes on two cores
	$(BIN)/python -m pytest -q -n 4 --dist worksteal

coverage: $(VENV)/.dev ## every test, and the share of lines and branches that they reach
	$(BIN)/python -m pytest -q -n 4 --dist worksteal --cov --cov-report=term:skip-covered --cov-report=html

lint: $(VENV)/.dev ## style and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy trader.py
	$(BIN)/mypy trader state observers paper_gateway tests bench crashlab

bench: $(VENV)/.bench ## speed against floors and peers; writes docs/SPEED.md
	$(BIN)/python -m bench --write

crash-test: $(VENV)/.run ## kills, power cuts and disk failures for a few minutes; what was tried and what was lost
	$(BIN)/python -m crashlab quick $(if $(SEED),--seed $(SEED))

crash-campaign: $(VENV)/.run ## the same for MINUTES=60 (SEED=N repeats what was drawn)
	$(BIN)/python -m crashlab full --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED))

quirk-test: $(VENV)/.run ## each step of a trade under each quirk of the paper gateway (QUIRK=, STEP=, PAIRS=, SEED=)
	$(BIN)/python -m crashlab quirks $(if $(QUIRK),--quirk $(QUIRK)) $(if $(STEP),--step $(STEP)) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(SEED),--seed $(SEED))

stop: setup ## end the embedded paper gateway
	-$(BIN)/python -m paper_gateway ctl stop

clean: ## remove the virtual environments and the caches; logs stay
	rm -rf $(VENV) .venv-* *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
