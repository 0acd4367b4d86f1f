# What you need: Python 3.11 or newer with venv, GNU make, and PyPI.
# Every target makes the environment that it needs from pyproject.toml; none has to be active.
#   make test PYTHON=python3.13       in an environment of its own, .venv-python3.13
#   make test ARGS="-k cancel -x"     arguments for pytest

ifdef PYTHON
VENV = .venv-$(notdir $(PYTHON))
else
PYTHON = python3 python3.14 python3.13 python3.12 python3.11
VENV = .venv
endif
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip -qq --disable-pip-version-check
ARGS =
TAG =

SHELL = /bin/sh
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1
unexport PYTHONHOME PYTHONPATH

.DEFAULT_GOAL = help
.PHONY: help demo test test-oldest check fix docs coverage bench clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.runtime  ## run examples/counter.py; installs the package and what it needs, nothing else
	$(BIN)/python examples/counter.py

test: $(VENV)/.test  ## run the tests; those against ASP.NET Core are skipped if there is no dotnet
	$(BIN)/python -m pytest $(ARGS)

test-oldest:  ## run the tests with the oldest dependencies that pyproject.toml allows
	@$(MAKE) --no-print-directory VENV=$(VENV)-oldest $(VENV)-oldest/.oldest
	$(VENV)-oldest/bin/python -m pytest $(ARGS)

test-newest: $(VENV)/.test  ## run the tests with the newest dependencies that there are today
	@extras=$$($(BIN)/python -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"], sep=",")'); \
	$(PIP) install --upgrade --upgrade-strategy eager --editable ".[$$extras]" --group test
	$(BIN)/python -m pytest $(ARGS)

test-all: $(VENV)/.made  ## run the tests on every Python that is here; on the oldest with the oldest dependencies too
	@$(BIN)/python -m tests.packaging.pythons

# pyright finds the environment by the python on PATH; its --verifytypes ignores --pythonpath.
check: $(VENV)/.dev  ## look without changing: format, lint, types; workflows and forms too
	@failed=; \
	run() { echo "$$*"; "$$@" || failed="$$failed $${1##*/}"; }; \
	run $(BIN)/ruff format --check .; \
	run $(BIN)/ruff check .; \
	run $(BIN)/zizmor --offline --quiet .github; \
	run $(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml; \
	run $(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml)); \
	run $(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml; \
	run $(BIN)/mypy; \
	PATH="$(CURDIR)/$(BIN):$$PATH"; \
	run pyright; \
	run pyright --verifytypes trio_signalr --ignoreexternal; \
	test -z "$$failed" || { echo "make check: not content:$$failed" >&2; exit 1; }

fix: $(VENV)/.dev  ## format, and repair what ruff can repair
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs:  ## build the documentation into build/docs; a warning is an error
	@$(MAKE) --no-print-directory VENV=.venv-docs .venv-docs/.docs
	.venv-docs/bin/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet docs build/docs $(ARGS)
	@echo "build/docs/index.html"

coverage: $(VENV)/.test  ## run the tests and say which lines and branches they miss; details in htmlcov/
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage html --quiet
	$(BIN)/python -m coverage report

bench:  ## compare with other clients; needs dotnet, and node for the JavaScript one; ARGS=--help tells more
	@$(MAKE) --no-print-directory VENV=.venv-bench .venv-bench/.bench
	.venv-bench/bin/python -m tests.benchmarks $(ARGS)

.PHONY: test-newest test-all dist release-check

dist:  ## build sdist and wheel into dist/, check them, and use them in new environments
	@$(MAKE) --no-print-directory VENV=$(VENV)-dist $(VENV)-dist/.dist
	$(VENV)-dist/bin/python -m tests.packaging.dist

release-check: $(VENV)/.made  ## say whether TAG=v1.2.3 is the version, and the changelog has it
	@$(BIN)/python -m tests.packaging.release "$(TAG)"

clean:  ## remove environments, caches and whatever else was made here
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov build dist
	rm -rf tests/aspnetcore/.build tests/javascript/.build tests/benchmarks/.build tests/benchmarks/javascript/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: which of the project's dependencies an environment has. Each set holds those before it.

$(VENV)/.made:
	@for python in $(PYTHON); do \
		base=$$("$$python" -c 'import sys; sys.version_info >= (3, 11) and print(sys._base_executable)' 2>/dev/null); \
		if [ -n "$$base" ]; then break; fi; \
	done; \
	if [ -z "$$base" ]; then \
		echo "trio_signalr needs Python 3.11 or newer; tried: $(PYTHON)." >&2; \
		echo "If you have one elsewhere: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "making $(VENV) with $$("$$base" --version)"; \
	rm -rf $(VENV) && "$$base" -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: pyproject.toml $(VENV)/.made
	$(PIP) install --editable .
	@touch $@

$(VENV)/.pip: $(VENV)/.made
	$(PIP) install "pip>=25.1"  # the first with --group
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.pip
	$(PIP) install --editable ".[cli,otel,testing]" --group test
	@touch $(VENV)/.runtime $@

$(VENV)/.dev: pyproject.toml $(VENV)/.pip
	$(PIP) install --editable ".[cli,otel,testing]" --group dev
	@touch $(VENV)/.runtime $(VENV)/.test $@

$(VENV)/.dist: pyproject.toml $(VENV)/.pip
	$(PIP) install --group dist
	@touch $@

$(VENV)/.bench: pyproject.toml $(VENV)/.pip
	$(PIP) install --editable . --group bench
	@touch $@

$(VENV)/.docs: pyproject.toml $(VENV)/.pip
	$(PIP) install --editable . --group docs
	@touch $@

$(VENV)/.oldest: pyproject.toml $(VENV)/.pip
	@$(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*(d.split("[")[0].split(">=")[0] + "==" + d.split(">=")[1] for d in \
		project["dependencies"] + sum(project["optional-dependencies"].values(), [])), sep="\n")' >$(VENV)/oldest.txt
	$(PIP) install --editable ".[cli,otel,testing]" --group test --constraint $(VENV)/oldest.txt
	@touch $@
