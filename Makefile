# Every command that a person or CI uses. `make` alone lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PYTHON ?= python3
BIN := .venv/bin
STACK ?= dev
# Tests wait more than they compute.
JOBS ?= 4
LOCKS := api loader local infra dev
# Bytecode is kept whatever the shell says: the tests start Python a thousand times.
unexport PYTHONDONTWRITEBYTECODE

## up: PostgreSQL, S3 and SQS, the API and one loader on this machine; Ctrl-C stops them
.PHONY: up
up: .venv/local.stamp
	@$(BIN)/python -m local up

## env: the lines that point a shell at the running stack: eval "$(make env)"
.PHONY: env
env: .venv/local.stamp
	@$(BIN)/python -m local env

## test: every test; TESTS=tests/api for some, CHANGED=1 for those of what differs from main, FAILED=1 for those that failed last; JOBS=1 for one at a time, COV=1 with coverage, RECORD=1 writes down what takes long
.PHONY: test
test: .venv/dev.stamp
	@tests="$(TESTS)"; \
	$(if $(CHANGED),tests=$$($(BIN)/python -m tests.run.changed $(filter-out 1,$(CHANGED))) || exit; [ -n "$$tests" ] || exit 0;) \
	$(if $(RECORD),RATES_TESTS_RECORD=1) $(BIN)/python -m pytest $(if $(COV),--cov --cov-report=term) $(if $(FAILED),--last-failed) \
	  -n $(JOBS) --dist loadfile --no-loadscope-reorder $$tests

## nightly: every test in its long form, and whether each of the seeded faults is found
.PHONY: nightly
nightly: .venv/dev.stamp
	@RATES_NIGHTLY=1 $(MAKE) --no-print-directory test
	@$(BIN)/python -m tests.faults

## audit: what is known against the packages that are pinned; asks the internet
.PHONY: audit
audit: .venv/dev.stamp
	@$(BIN)/uv tool run pip-audit==2.10.1 --strict --require-hashes --disable-pip --requirement requirements/dev.txt

## bench: the table of figures and targets; BENCH=loader for a part, ROWS=50000,1000000 for other sizes
.PHONY: bench
bench: .venv/dev.stamp
	@$(BIN)/python -m benchmarks

## check: lint, format, types, migrations, who imports whom, house rules
.PHONY: check
check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check
	$(BIN)/squawk --config .squawk.toml database/migrations/versions/*.sql
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --quiet .github/workflows
	$(BIN)/python -m pytest -q --no-header tests/house

## format: what `check` would ask for
.PHONY: format
format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## schema: writes database/schema.sql anew from the migrations
.PHONY: schema
schema: .venv/dev.stamp
	$(BIN)/python -m local.schema

## cost: what each stack costs a month, idle and busy; STACKS="dev prod" for some; needs no AWS
.PHONY: cost
cost: .venv/dev.stamp
	@$(BIN)/python -m stacks.cost $(STACKS)
## stacks: writes what docs/ says of the stacks anew: sizes, costs, settings, and all that each declares
.PHONY: stacks
stacks: .venv/dev.stamp
	$(BIN)/python -m stacks.sizes > docs/stacks.md
	$(BIN)/python -m stacks.cost --document > docs/costs.md
	$(BIN)/python -m stacks.settings > docs/settings.md
	$(BIN)/python -m stacks.snapshot

## copy: a stack file for a copy: NAME=dev-alice FROM=dev (the default), OWNER=e-mail (git's), DAYS=14
.PHONY: copy
copy: .venv/dev.stamp
	@$(BIN)/python -m stacks.copies $(if $(FROM),--from="$(FROM)") $(if $(OWNER),--owner="$(OWNER)") $(if $(DAYS),--days="$(DAYS)") -- "$(NAME)"

## reap: lists copies past their last day and what would go with them; DESTROY=1 destroys those
.PHONY: reap
reap: .venv/dev.stamp
	@$(BIN)/python -m stacks.reap $(if $(filter 1,$(DESTROY)),--destroy)

## formats: writes docs/formats.md anew from the cases that the tests try
.PHONY: formats
formats: .venv/dev.stamp
	$(BIN)/python -m tests.loader.cases.page > docs/formats.md

## sample: writes local/sample.sql anew
.PHONY: sample
sample: .venv/local.stamp
	$(BIN)/python -m local.sample --output local/sample.sql

## images: builds both images with buildah, as the pipeline does; RDS_CERTIFICATES=file without internet
.PHONY: images
images: .venv/dev.stamp
	$(BIN)/python -m delivery.images

## preview: what `pulumi up` would change, and which rules it breaks; STACK=, DIFF=1 in full; OFFLINE=1 shows a new stack without AWS
.PHONY: preview
preview: .venv/dev.stamp
	@command -v pulumi >/dev/null || { echo "make preview needs the pulumi command: https://www.pulumi.com/docs/install/" >&2; exit 2; }
	$(if $(OFFLINE),$(BIN)/python -m tests.engine $(STACK),pulumi --stack $(STACK)) preview $(if $(DIFF),--diff) --policy-pack infra/policy_pack

## lock: pins every package and its hashes from pyproject.toml; UPGRADE=--upgrade takes newer ones
.PHONY: lock
lock: .venv/dev.stamp
	for extra in $(LOCKS); do \
	  $(BIN)/uv pip compile --quiet --config-file requirements/uv.toml --universal --python-version 3.11 --generate-hashes \
	    --no-annotate --no-header $(UPGRADE) --extra $$extra --output-file requirements/$$extra.txt pyproject.toml || exit; \
	done

.PHONY: help
help:
	@sed -n 's/^## /  make /p' $(MAKEFILE_LIST)

# One environment for all of it: what `make up` needs, and on top of that what the checks and tests need.
.venv/local.stamp: requirements/local.txt pyproject.toml
	$(call install,local,this once)

.venv/dev.stamp: requirements/dev.txt pyproject.toml
	$(call install,dev,with what checks and tests need)
	@touch .venv/local.stamp

# Nothing is compiled ahead: Python does that for the tenth of it that is ever imported.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rates needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=…")'
	@echo "installing requirements/$(1).txt into .venv, $(2)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --require-hashes --no-deps -r requirements/$(1).txt
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
endef
