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

SHELL = /bin/sh
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1
unexport PYTHONHOME PYTHONPATH

.DEFAULT_GOAL = help
.PHONY: help demo test test-oldest check fix coverage bench clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.runtime  ## run examples/counter.py; installs the package and what it needs, nothing else
	$(BIN)/python examples/counter.py

test: $(VENV)/.test  ## run the tests; those against ASP.NET Core are skipped if there is no dotnet
	$(BIN)/python -m pytest $(ARGS)

test-oldest:  ## run the tests with the oldest dependencies that pyproject.toml allows
	@$(MAKE) --no-print-directory VENV=.venv-oldest .venv-oldest/.oldest
	.venv-oldest/bin/python -m pytest $(ARGS)

# pyright finds the environment by the python on PATH; its --verifytypes ignores --pythonpath.
check: $(VENV)/.dev  ## look without changing: format, lint, types
	@failed=; \
	run() { echo "$$*"; "$$@" || failed="$$failed $${1##*/}"; }; \
	run $(BIN)/ruff format --check .; \
	run $(BIN)/ruff check .; \
	run $(BIN)/mypy; \
	PATH="$(CURDIR)/$(BIN):$$PATH"; \
	run pyright; \
	run pyright --verifytypes trio_signalr --ignoreexternal; \
	test -z "$$failed" || { echo "make check: not content:$$failed" >&2; exit 1; }

fix: $(VENV)/.dev  ## format, and repair what ruff can repair
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

coverage: $(VENV)/.test  ## run the tests and say which lines and branches they miss; details in htmlcov/
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage html --quiet
	$(BIN)/python -m coverage report

bench:  ## compare with other clients; needs dotnet, and node for the JavaScript one; ARGS=--help tells more
	@$(MAKE) --no-print-directory VENV=.venv-bench .venv-bench/.bench
	.venv-bench/bin/python -m tests.benchmarks $(ARGS)

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
	$(PIP) install --editable ".[testing,cli]" --group test
	@touch $(VENV)/.runtime $@

$(VENV)/.dev: pyproject.toml $(VENV)/.pip
	$(PIP) install --editable ".[testing,cli]" --group dev
	@touch $(VENV)/.runtime $(VENV)/.test $@

$(VENV)/.bench: pyproject.toml $(VENV)/.pip
	$(PIP) install --editable . --group bench
	@touch $@

$(VENV)/.oldest: pyproject.toml $(VENV)/.pip
	@$(BIN)/python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*(d.split("[")[0].split(">=")[0] + "==" + d.split(">=")[1] for d in \
		project["dependencies"] + sum(project["optional-dependencies"].values(), [])), sep="\n")' >$(VENV)/oldest.txt
	$(PIP) install --editable ".[testing,cli]" --group test --constraint $(VENV)/oldest.txt
	@touch $@
