# Two commands are enough: `make repro` runs the pipeline, `make test` the tests. Each sets up what
# it needs in .venv first, with nothing but python3 (3.11 or newer), git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# DVC runs each stage as `python -m stages.NAME`: the environment's own python has to come first.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro in-git open runs new docs verify test test-all lint format audit benchmark \
	requirements clean

help: ## print these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.run $(BIN)/classifier ## make .venv with what the pipeline needs; EXTRAS="serve export"
	@test -z "$(EXTRAS)" || python -m tools.extras $(EXTRAS)

repro: in-git setup ## run the pipeline: download, split, preprocess, train, evaluate, plot
	@python -m classifier repair && dvc repro || { python -m classifier.sources; exit 1; }
	@git diff --quiet HEAD -- dvc.lock metrics || printf '%s\n' \
		"These results are not those of the last commit. To make them the baseline of" \
		"compare and of dvc's diffs: git add dvc.lock metrics && git commit"

# A downloaded ZIP has no history, and DVC keeps its metrics and experiments in Git.
in-git:
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo 'error: this folder is no Git repository, which' \
		'DVC needs: git init && git add . && git commit -m "Begin", and again.'; exit 1; }

open: ## open the report of the last run
	@test -f metrics/report.html || { echo 'error: there is no report yet: make repro'; exit 1; }
	@python3 -m webbrowser -t "file://$(CURDIR)/metrics/report.html" >/dev/null; echo metrics/report.html

runs: setup ## list the experiments on this commit
	@python -m classifier runs

new: setup ## make NAME=…: turn this clone into a project of your own
	@python -m tools.new_project "$(NAME)"

docs: $(VENV)/.dev ## build the site of these pages in build/site, and check its links
	@python -m tools.site && NO_MKDOCS_2_WARNING=1 uvx --from mkdocs --with mkdocs-material mkdocs build --strict --quiet
	@echo build/site/index.html

verify: setup ## run the pipeline twice from scratch in temporary clones and compare every byte
	@python -m classifier verify

test: $(VENV)/.dev $(BIN)/classifier ## run the tests (under 10 minutes on two cores)
	@python -m pytest -n logical --dist worksteal -m "not slow"

test-all: $(VENV)/.dev $(BIN)/classifier ## run all tests, the slow ones too
	@python -m pytest -n logical --dist worksteal

lint: $(VENV)/.dev ## check style, types, and that imports keep to the layers
	@ruff check .
	@ruff format --check .
	@mypy
	@PYTHONPATH=. lint-imports --no-logo --no-cache

format: $(VENV)/.dev ## format the code and mend what ruff can mend
	@ruff check --fix .
	@ruff format .

audit: $(VENV)/.dev ## ask the advisory service of PyPI about every pinned package
	@for file in requirements.txt requirements-dev.txt; do \
		uvx pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$file || exit 1; \
	done

benchmark: $(VENV)/.dev ## run the measurements in benchmarks/
	@python -m benchmarks

requirements: $(VENV)/.dev ## compile pyproject.toml into the pinned requirements files
	@uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--python-version 3.11 pyproject.toml -o requirements.txt
	@uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--python-version 3.11 --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt

clean: ## remove what runs leave behind, not the environment or the DVC cache
	git clean -fdqX -- data/raw data/splits data/prepared data/predictions data/explain \
		models metrics runs .run ':(exclude)models/kept' ':(exclude)models/pretrained'
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'error: python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 …'; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The command `classifier` is `python -m classifier` of the project that it is called in.
$(BIN)/classifier: | $(BIN)/python
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -m classifier "$$@"\n' > $@ && chmod +x $@

# The stamps hold a copy of what was installed: a file that was only touched installs nothing.
$(VENV)/.run: requirements.txt | $(BIN)/python
	@cmp -s $< $@ || cmp -s requirements-dev.txt $(VENV)/.dev \
		|| python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@cp $< $@

$(VENV)/.dev: requirements-dev.txt | $(BIN)/python
	@cmp -s $< $@ \
		|| python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@cp $< $@
