# make run     install everything into .venv (once), then open Pairsmith, or without a terminal run its demonstration
# make test    install what the tests need too, then format check, lint, type check and all tests
# make bench   the benchmarks           make faults   long loops: kills, full disks, hostile servers; new examples
# make lint    the checks alone         make clean    remove .venv and everything built here

PYTHON := $(or $(PYTHON),$(shell for python in .venv/bin/python python3 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; break; }; done))
JOBS ?= 2
BENCHMARKS ?= $(wildcard benchmarks/[a-z]*.py)
BIN := .venv/bin
ROOMS := $(patsubst %/__init__.py,%,$(wildcard assets/__init__.py backends/__init__.py cli/__init__.py \
	pairs/__init__.py training/__init__.py tui/__init__.py))
TOOLS := $(patsubst tools/%.py,%,$(wildcard tools/*.py))

.PHONY: run test bench faults lint clean install install-dev python

run: install
	@if [ -t 0 ] && [ -t 1 ] && [ -f tui/app.py ]; then exec $(BIN)/pairsmith; else exec $(BIN)/pairsmith demo; fi

# Real terminals, servers and processes on a machine that others use, too: what failed beside other tests counts as
# failed where it fails alone as well, and is named either way.
TESTS := $(BIN)/pytest -q --cache-clear -n $(JOBS) --dist loadfile --no-loadscope-reorder
test: lint
	@$(TESTS) || { [ $$? -eq 1 ] && echo "== what failed, once more, alone:" && \
		$(BIN)/pytest -v --last-failed --last-failed-no-failures none; }

bench: install-dev
	@for benchmark in $(BENCHMARKS); do \
		echo "== $$benchmark $(ARGS)"; $(BIN)/python "$$benchmark" $(ARGS); code=$$?; \
		if [ $$code -eq 2 ]; then echo "left out: make bench BENCHMARKS=$$benchmark ARGS='...'"; \
		elif [ $$code -ne 0 ]; then exit $$code; fi; \
	done

faults: install-dev
	@$(BIN)/pytest -m faults
	@$(BIN)/pytest -q -n $(JOBS) -m 'hypothesis and not faults' --hypothesis-profile new

lint: install-dev
	@$(BIN)/ruff format --check --output-format concise
	@$(BIN)/ruff check
	@mkdir -p build/types && ln -sfn ../.. build/types/pairsmith
	@$(BIN)/mypy $(addprefix -p pairsmith.,$(ROOMS)) $(addprefix -m ,$(TOOLS)) -p tools.embedded

install: python
	@$(PYTHON) tools/install.py

install-dev: python
	@$(PYTHON) tools/install.py --dev

python:
	@test -n "$(PYTHON)" || { echo "Pairsmith needs Python 3.11 or newer, and none was found (tried python3, python3.13," \
		"python3.12, python3.11, python). Install one, or name it: make run PYTHON=/path/to/python"; exit 1; }

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
