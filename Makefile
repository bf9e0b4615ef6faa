# `make run` and `make test` create .venv and install on first use; nothing but Python >= 3.11 is needed.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help run test install clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## create .venv with the pinned versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed, this is " + sys.version.split()[0] + "; make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e '.[test]'
	touch $@

run: $(INSTALLED) ## the main job on the embedded default: GPart on a generated sentence task
	$(BIN)/python run.py profile=embedded method=gpart task=glue/sst2

test: $(INSTALLED) ## lint, types and tests; SLOW=1 adds the slow tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist worksteal $(if $(SLOW),--slow)

clean: ## remove the environment (never results)
	rm -rf .venv
