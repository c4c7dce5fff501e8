# make demo   a small real site with its worker, in one terminal
# make test   the whole suite on SQLite and on a real PostgreSQL that comes in a wheel; it tells how
#             far it is, and names a test as soon as it fails
#             (also on MariaDB or MySQL: make test MYSQL_URL=mysql://root@127.0.0.1:3306/django_jobs)
# make bench  throughput and latency beside bare SQL and Celery (ARGS=--quick, ARGS=--help),
#             and beside twenty other job queues (ARGS=peers)
# make torture  breaks things on purpose, with servers of its own (hours; ARGS=--fast, ARGS=--help)
# make mutants  plants bugs, one at a time, and shows which test fails
# make lint   ruff, mypy, missing migrations
# make docs   docs/_build/index.html, without a warning
# make wheel  dist/*.whl
# make clean  remove all that these made
#
# Python 3.11 or newer with its venv is all that it takes (Debian: apt install make python3-venv).
# Another Python or Django, in an environment of its own:
#   make test PYTHON=python3.13 DJANGO='~=6.1.0' VENV=.venv-313

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
VENV ?= .venv
DJANGO ?=
EXTRAS = test$(if $(MYSQL_URL),$(comma)mysql)
ARGS ?=

comma := ,
STAMPS = $(VENV)/installed-
MANIFESTS = setup.cfg pyproject.toml

.PHONY: demo test bench torture mutants lint docs wheel clean

demo: $(STAMPS)demo
	$(VENV)/bin/python -m testproject.demo

test: $(STAMPS)$(EXTRAS)
	$(VENV)/bin/python -m tests.databases $(ARGS)

bench: $(STAMPS)bench$(if $(MYSQL_URL),$(comma)mysql)
	$(VENV)/bin/python -m benchmarks $(ARGS)

torture: $(STAMPS)$(EXTRAS)
	$(VENV)/bin/python -m tests.torture $(ARGS)

mutants: $(STAMPS)$(EXTRAS)
	$(VENV)/bin/python -m tests.torture.mutants $(ARGS)

lint: $(STAMPS)dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python manage.py makemigrations --check --dry-run

docs: $(STAMPS)docs
	$(VENV)/bin/sphinx-build -W --keep-going -q docs docs/_build

wheel: $(VENV)/bin/python
	$(VENV)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each set of extras: repeated runs install nothing. Python compiles what it imports,
# a part of what pip would compile. The warnings are the build backend's, about editable
# installations as such.
$(STAMPS)%: $(VENV)/bin/python $(MANIFESTS)
	@echo 'Installing django-background-jobs[$*] and Django$(DJANGO) into $(VENV): this takes a minute the first time.'
	@PYTHONWARNINGS=ignore $(VENV)/bin/python -m pip install --quiet --no-compile --editable '.[$*]' 'Django$(DJANGO)'
	touch '$@'

# An environment that was made by half would be taken for a whole one the next time.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo 'Python 3.11 or newer with its venv is needed (Debian, Ubuntu: apt install python3-venv).' >&2; \
		echo 'The one here: $(or $(PYTHON),none). Name another one with PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@$(VENV)/bin/python -m pip install --quiet --upgrade pip
