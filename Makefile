# `make` lists the targets. The work is done by tools/*.py; this only names it.

PYTHON ?= python3
ENV ?= .venv
PROFILE ?= quick
DEVICE ?= cpu
SEED ?= 0
CONSTRAINTS ?=

# ENV=current uses the active environment, conda's for example, instead of .venv.
ifeq ($(ENV),current)
run := "$(PYTHON)"
else
run := .venv/bin/python
endif

given := --profile '$(PROFILE)' --device '$(DEVICE)' --seed '$(SEED)'

# Tests repeat the stored notebooks: one thread each, two at a time, no personal configuration.
test_variables := OMP_NUM_THREADS=1 PYTHONHASHSEED=0 IPYTHONDIR="$(CURDIR)/_build/ipython" \
  CLCORE_DATA="$(or $(CLCORE_DATA),$(CURDIR)/data)" CLCORE_RESULTS= MPLBACKEND=

.DEFAULT_GOAL := help
.PHONY: help book pdf record test coverage format serve clean environment-book environment-test

help:
	@echo "make book    execute the stale notebooks on this machine and build the site"
	@echo "             PROFILE=quick|full  DEVICE=cpu|cuda|cuda:N  SEED=0,1,..."
	@echo "make pdf     print the built site as one PDF and link it there; needs Chromium"
	@echo "make serve   show the built site on this machine only"
	@echo "make test    lint, types, tests, notebooks validated by execution, site in a browser"
	@echo "make coverage  the share of clcore, lines and branches, that tests run (without the book)"
	@echo "make record  refresh the executed notebooks kept in notebooks/ (for maintainers)"
	@echo "make format  format the code, that in the pages' cells too"
	@echo "make clean   remove _build; .venv stays (remove it by hand to start over)"
	@echo
	@echo "CONSTRAINTS=constraints.txt installs the very packages that were tested, by hash"
	@echo "             (Python 3.11, Linux, x86-64);"
	@echo "PYTHON=/path/to/python3.12 names the Python to make .venv with;"
	@echo "ENV=current uses the active environment, as conda users want."

environment-book environment-test: environment-%:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
	  echo "Python is missing: no '$(PYTHON)' found. Install Python 3.11 or newer, or name" \
	    "one: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@"$(PYTHON)" -m tools.set_up $* $(ENV) $(CONSTRAINTS)

book: environment-book
	@$(run) -m tools.book build $(given)

pdf: environment-test
	@$(run) -m tools.browser
	@$(run) -m tools.pdf

record: environment-book
	@$(run) -m tools.book record $(given)

test: environment-test
	@$(run) -m ruff check .
	@$(run) -m ruff format --check .
	@$(run) -m mypy
	@$(run) -m tools.browser
	@mkdir -p _build/ipython
	@$(test_variables) $(run) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10 \
	  --nbval --nbval-current-env --nbval-sanitize-with tests/book/sanitize.cfg tests notebooks

coverage: environment-test
	@mkdir -p _build
	@$(test_variables) COVERAGE_FILE=_build/coverage $(run) -m pytest -n 2 --dist loadfile \
	  --cov --cov-report=term tests --ignore=tests/book

format: environment-test
	@$(run) -m tools.format_cells
	@$(run) -m ruff check --fix-only --exit-zero .
	@$(run) -m ruff format .

serve: environment-book
	@$(run) -m tools.serve

clean:
	rm -rf _build
