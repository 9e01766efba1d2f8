# `make` lists the targets. Every target that needs the environment makes it first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
ARGS ?=
PAGE_ARGS ?=
WORKERS ?= 2
FRAMEWORKS ?= torch ray spark
IMAGE_EXTRAS := gateway subscriber dashboard embedded asyncio-redis build

# A candidate counts when it runs, is new enough and can make environments (Debian splits ensurepip off).
FITS = import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	"$$p" -c '$(FITS)' >/dev/null 2>&1 && { echo "$$p"; exit; }; done)

.PHONY: help install demo test frameworks check audit chaos soak fuzz bench bench-quick gallery gallery-lock format lock clean python

help: ## list the targets
	@echo 'make TARGET [ARGS="..."]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## make the environment in .venv from the lock, with every extra

demo: $(STAMP) ## run the whole pipeline and its dashboard on the embedded server
	@exec $(BIN)/headrace demo $(ARGS)

test: $(STAMP) ## run the tests (ARGS="tests/unit -k codec")
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

# Each has an environment of its own, from `tests/frameworks/NAME.txt`: they are heavy, and do not agree on versions.
frameworks: python ## try the adapters of heavy frameworks (FRAMEWORKS="torch ray spark"; a gigabyte each)
	@for name in $(FRAMEWORKS); do \
		env=.frameworks/$$name; \
		if [ ! -e $$env/.stamp ] || [ tests/frameworks/$$name.txt -nt $$env/.stamp ]; then \
			$(PYTHON) -m venv --clear $$env; \
			$$env/bin/pip install -qq --disable-pip-version-check --no-deps --require-hashes -r tests/frameworks/$$name.txt; \
			if [ -e tests/frameworks/$$name.late.txt ]; then \
				$$env/bin/pip install -qq --disable-pip-version-check -r tests/frameworks/$$name.late.txt; \
			fi; \
			$$env/bin/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .; \
			touch $$env/.stamp; \
		fi; \
		$$env/bin/pytest -p no:cacheprovider tests/frameworks $(ARGS); \
	done

check: $(STAMP) ## lint, format, types and the import directions
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

chaos: $(STAMP) ## inflict hundreds of faults on a running pipeline and balance the books (ARGS="--help")
	@$(BIN)/python -m tests.chaos $(ARGS)

soak: $(STAMP) ## ten minutes at 80 % of the capacity, then half an hour with an open page: nothing may grow (PAGE_ARGS="--help")
	@status=0; $(BIN)/python -m tests.chaos.soak $(ARGS) || status=1; \
		$(BIN)/python -m tests.e2e.soak $(PAGE_ARGS) || status=1; exit $$status

# The fuzzer lives in a folder of its own: it is for some systems and releases of Python only.
fuzz: $(STAMP) ## five minutes of bytes that no reader of foreign bytes may stumble over (ARGS="--seconds 300")
	@test -d .fuzz/packages/atheris || $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps \
		--only-binary :all: --target .fuzz/packages atheris || { rm -rf .fuzz/packages; \
		echo 'There is no fuzzer for this system, or no package index: nothing was tried.' >&2; exit 1; }
	@PYTHONPATH=.fuzz/packages $(BIN)/python -m tests.fuzz $(ARGS)

# The auditor lives in an environment of its own, as the resolver does.
audit: python ## compare the locked packages with the published advisories
	@test -x .audit/bin/pip-audit || { $(PYTHON) -m venv .audit && \
		.audit/bin/pip install -qq --disable-pip-version-check pip-audit; } || { rm -rf .audit; \
		echo 'The auditor cannot be installed without a package index: nothing was found out.' >&2; exit 1; }
	@.audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock $(ARGS) || { status=$$?; \
		echo 'Advisories were found, or could not be asked for (see above).' >&2; exit $$status; }

bench: $(STAMP) ## measure everything, peers too; goes on where it was interrupted (ARGS="--help")
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(STAMP) ## run the benchmarks small enough for a look
	@$(BIN)/python -m benchmarks --quick $(ARGS)

gallery: $(STAMP) ## run the gallery, each framework in its own environment, and table the results (ARGS="NAME...")
	@$(BIN)/python examples/gallery/table.py $(ARGS)

format: $(STAMP) ## apply the formatter and the safe fixes
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format


# The resolver lives in an environment of its own: nothing else needs it.
# The second file is what the container image installs: the same releases without the developers' tools.
RESOLVE = .lock/bin/uv pip compile pyproject.toml --quiet --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
# A peer's file says what it needs; the libraries that do the work are of the same release as here.
SAME := numpy|scipy|scikit-learn|skops|joblib|threadpoolctl
PEERS := $(patsubst benchmarks/peers/%.py,%,$(wildcard benchmarks/peers/[a-z]*.py))

# Torch has another build for each platform and index. It comes last and without hashes, with what it wants of CUDA.
RESOLVE_FRAMEWORK = .lock/bin/uv pip compile pyproject.toml --quiet --no-annotate --generate-hashes \
	--python-version 3.11 --extra embedded --extra testing \
	--extra build --constraint requirements.lock --no-emit-index-url --no-emit-find-links \
	--custom-compile-command 'make lock'

lock: python ## make the lock files again from pyproject.toml (UPGRADE=1 takes newer releases)
	@test -x .lock/bin/uv || { $(PYTHON) -m venv .lock && .lock/bin/pip install -qq --disable-pip-version-check uv; }
	@$(RESOLVE) --all-extras $(if $(UPGRADE),--upgrade) --output-file requirements.lock
	@$(RESOLVE) $(addprefix --extra ,$(IMAGE_EXTRAS)) --constraint requirements.lock --output-file requirements-image.lock
	@for name in $(FRAMEWORKS); do \
		lock=tests/frameworks/$$name; \
		$(RESOLVE_FRAMEWORK) $$lock.in --output-file $$lock.txt; \
		if grep -q '^torch==' $$lock.txt; then \
			sed -n 's/^\(torch==[^ ]*\).*/\1/p' $$lock.txt >$$lock.late.txt; \
			awk '/^[^ ]/ { keep = !/^(torch==|nvidia-|cuda-|triton==)/ } keep' $$lock.txt >$$lock.new; \
			mv $$lock.new $$lock.txt; \
		fi; \
	done
	@for peer in $(PEERS); do grep -E '^($(SAME))==' requirements.lock | sed 's/ *\\$$//' | \
		$(subst pyproject.toml,benchmarks/peers/$$peer.py,$(RESOLVE)) $(if $(UPGRADE),--upgrade) --constraint - \
		--output-file benchmarks/peers/$$peer.lock; done

gallery-lock: python ## make the lock files of the gallery's frameworks again
	@test -x .lock/bin/uv || { $(PYTHON) -m venv .lock && .lock/bin/pip install -qq --disable-pip-version-check uv; }
	@for file in examples/gallery/requirements/*.in; do \
		$(subst 'make lock','make gallery-lock',$(RESOLVE)) $$file --extra build --constraint requirements.lock \
			$(if $(UPGRADE),--upgrade) --output-file $${file%.in}.txt; done

clean: ## remove the environment, caches and build products
	@rm -rf $(VENV) .lock .audit .fuzz .frameworks .gallery .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis \
		.coverage htmlcov build dist *.egg-info benchmarks/peers/.venvs benchmarks/.parts
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

python:
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c '$(FITS)' >/dev/null 2>&1; then \
		echo 'headrace needs Python 3.11 or newer with venv and pip. On Debian 12, Ubuntu 24.04 and newer:' >&2; \
		echo '  sudo apt-get install -y python3 python3-venv' >&2; \
		exit 1; \
	fi

$(STAMP): requirements.lock pyproject.toml | python
	@if [ ! -e $@ ]; then \
		echo 'Making $(VENV) with $(PYTHON); this takes a minute or two, once.'; \
		$(PYTHON) -m venv --clear $(VENV); \
	fi
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
