# Everything is done in .venv, which the first target that needs it makes.
# Stamps inside .venv remember what was installed: pip runs again only when pyproject.toml or
# constraints.txt changed, so a second call works without a network.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
INSTALL := $(PIP) install --constraint constraints.txt
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
MILVUS := .milvus-venv

# What another environment or its settings would change about the one made here.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV

# A .venv whose Python has gone is made anew, and what was installed there counts no more.
$(shell test -x $(BIN)/python || rm -f $(RUNTIME) $(DEV) $(DOCS))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check docs milvus lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(RUNTIME) ## install what visavis needs to run, and show it at work
	@$(BIN)/visavis demo

test: check ## make check, then all tests, the slow ones last
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal

check: $(DEV) ## format, lint, types and layers, without changing a file
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy --strict
	@$(BIN)/lint-imports --no-logo

docs: $(DOCS) ## build the documentation into site/, warnings are errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

milvus: $(MILVUS)/.installed ## install a Milvus server, which its tests need, into .milvus-venv

# Keeps the versions already locked; "make lock UPGRADE=--upgrade" takes the newest of all,
# "make lock UPGRADE='--upgrade-package numpy'" of one.
lock: $(RUNTIME) ## resolve constraints.txt again from pyproject.toml
	@$(PIP) install uv
	@$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
		--extra client --extra onnxruntime --extra dlib --extra milvus --extra postgres \
		--extra report --extra search --extra serve --extra train \
		--group dev --group docs --group benchmark \
		--annotation-style line --custom-compile-command "make lock" \
		--output-file constraints.txt $(UPGRADE)

clean: ## remove what the other targets made, except .venv and .milvus-venv
	@rm -rf site demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache .grimp_cache
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "visavis needs Python 3.11 or newer, and there is no '$(PYTHON)';" \
			"name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "visavis needs Python 3.11 or newer, and '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1);" \
			"name another with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV) || { \
		echo "could not make $(VENV); on Debian and Ubuntu install python3-venv first" >&2; \
		rm -rf $(VENV); exit 1; }

$(RUNTIME): $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing visavis into $(VENV) (once; about a minute) ..." >&2
	@$(INSTALL) --editable .
	@touch $@

# pip learnt to read dependency groups in 25.1.
$(DEV): $(RUNTIME)
	@echo "Installing the tools for tests into $(VENV) (once) ..." >&2
	@$(PIP) install 'pip>=25.1'
	@$(INSTALL) --group dev
	@touch $@

$(DOCS): $(RUNTIME)
	@echo "Installing the tools for the documentation into $(VENV) (once) ..." >&2
	@$(PIP) install 'pip>=25.1'
	@$(INSTALL) --group docs
	@touch $@

# The server is an old one, and wants old packages: hence a venv of its own.
$(MILVUS)/.installed:
	@echo "Installing a Milvus server into $(MILVUS) (once) ..." >&2
	@"$(PYTHON)" -m venv --clear $(MILVUS)
	@$(MILVUS)/bin/python -m pip --quiet --disable-pip-version-check --no-input install \
		milvus==2.3.5 'setuptools<80' 'marshmallow<4'
	@touch $@
