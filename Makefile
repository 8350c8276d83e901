# Needs make and Python 3.11 or newer with venv; everything else comes from uv.lock into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SYNCED := $(VENV)/.synced

# Use the interpreter that made .venv, and that environment only.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(VENV)
# Trust what the machine trusts, as pip does: companies add their own authorities.
export UV_SYSTEM_CERTS := 1
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help setup check test docs generate bench demo clean

help:
	@echo 'make setup      build .venv from uv.lock (the other targets do it when it is needed)'
	@echo 'make check      style, types, import contracts, generated code'
	@echo 'make test       the test suite            (ARGS="tests/log -x")'
	@echo 'make docs       the documentation as a web site, in build/docs/html'
	@echo 'make demo       the guided tour, on an emulated fleet'
	@echo 'make bench      every benchmark           (ARGS="append" for one)'
	@echo 'make generate   write proto/_generated anew from the .proto files'
	@echo 'make clean      remove .venv, caches and build output'

setup: $(SYNCED)

check test docs generate bench: $(SYNCED)
	@$(BIN)/nox --session $@ -- $(ARGS)

demo: $(SYNCED)
	@$(BIN)/mulligan demo $(ARGS)

$(BIN)/uv: | uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed: make PYTHON=python3.11 setup' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo 'This Python cannot make virtual environments. On Debian or Ubuntu install the package:' >&2; \
	  $(PYTHON) -c 'import sys; print("  apt-get install python%d.%d-venv" % sys.version_info[:2])' >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@version=$$($(BIN)/python -c 'import tomllib; print(next(p["version"] for p in \
	  tomllib.load(open("uv.lock", "rb"))["package"] if p["name"] == "uv"))') \
	  && echo "Installing uv $$version" \
	  && $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$$version"

$(SYNCED): pyproject.toml uv.lock | $(BIN)/uv
	@$(BIN)/uv sync --frozen
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache .nox .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
