# One command for each thing a newcomer wants to do. Every target makes .venv when it is missing.

PYTHON ?= python3
# A plain "torch" from PyPI brings CUDA along on Linux. Where no CPU wheel is configured for pip, use
#   make test TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
# What `make nightly` puts in the place of releases; `--pre xarray dask distributed zarr` where git reaches no server.
GIT := git+https://github.com
DEVELOPMENT ?= $(GIT)/pydata/xarray $(GIT)/dask/dask $(GIT)/dask/distributed $(GIT)/zarr-developers/zarr-python
# For instance PYTEST_ARGS="-k grid -x"
PYTEST_ARGS ?=
# For instance CHAOS_ARGS="--trials 10000 --seed 2"
CHAOS_ARGS ?=
# Folder with real scenes; tests that need it are skipped where it is not set.
export XSR_DATA
# Processes of tests need not compile every module again.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo quick test types tests coverage chaos lowest nightly lint format docs dist bench clean

help:
	@echo "make demo    super-resolve a small synthetic cube"
	@echo "make quick   ruff and the quick tests, in minutes"
	@echo "make test    ruff, mypy, import contracts and all tests"
	@echo "make coverage all tests, and that they reach 95 % of the lines and branches"
	@echo "make chaos   the tests that damage and kill at random, for hours if wanted: CHAOS_ARGS=\"--trials 10000\""
	@echo "make lowest  the quick tests with the lowest version of every dependency, in .venv-lowest"
	@echo "make nightly the quick tests with development versions of xarray, Dask and Zarr, in .venv-nightly"
	@echo "make lint    the checks without the tests"
	@echo "make format  let ruff rewrite what it can"
	@echo "make docs    build the documentation into docs/_build/html"
	@echo "make dist    build the distributions into dist/ and check them"
	@echo "make bench   run the benchmarks"
	@echo "make clean   remove what was built; .venv stays"

# What the library needs, and its pictures. torch first and on its own line: the resolver must not swap a CPU build for
# a CUDA one. pip says what it is doing, since this takes minutes.
.venv/.ready-demo: pyproject.toml
	@echo "--- step 1 of 3: a virtual environment in .venv"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "--- step 2 of 3: PyTorch"
	$(BIN)/python -c "import torch" 2>/dev/null || $(PIP) install $(TORCH)
	@echo "--- step 3 of 3: xsr and what it needs"
	$(PIP) install -e ".[viz]"
	touch $@

.venv/.ready: .venv/.ready-demo
	@echo "--- what the checks need"
	$(PIP) install -e ".[test]"
	-$(BIN)/python tests/recorded_schemas.py
	$(PIP) install --no-deps "openeo>=0.53" "deprecated>=1.2.12"  # with what it needs it would put pandas below 3
	touch $@

.venv/.ready-docs: .venv/.ready-demo
	@echo "--- what the documentation needs"
	$(PIP) install -e ".[docs]"
	touch $@

demo: .venv/.ready-demo
	$(BIN)/xsr demo $(if $(XSR_DATA),--scenes benchmarks/data.toml)

# Here and below one thread for each of the two workers, which share the cores of a small machine.
quick: .venv/.ready
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" $(PYTEST_ARGS)

# mypy runs beside the tests. Each worker begins with half of them in a row, so that fixtures of a module are made once.
test: .venv/.ready
	$(BIN)/ruff check .
	$(MAKE) --no-print-directory -j 2 types tests

types: .venv/.ready
	$(BIN)/mypy

tests: .venv/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

# Beside `test`, because tracing every line takes as long again; tests of random examples try more of them.
coverage: .venv/.ready
	XSR_THOROUGH=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term $(PYTEST_ARGS)

# What CI tries for seconds, tried for long: fuzzed parsers, the state machine of stores, clusters; then random faults.
chaos: .venv/.ready
	XSR_CHAOS=1 $(BIN)/python -m pytest -n 2 -m chaos $(PYTEST_ARGS)
	$(BIN)/python benchmarks/survival.py $(CHAOS_ARGS)

# Floors of pyproject.toml, resolved for the dependencies that are named there; theirs are the newest that fit.
lowest:
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install uv
	.venv-lowest/bin/uv pip install --python .venv-lowest/bin/python --resolution lowest-direct -e ".[test]"
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n 2 -m "not slow" $(PYTEST_ARGS)

nightly:
	test -x .venv-nightly/bin/python || $(PYTHON) -m venv .venv-nightly
	.venv-nightly/bin/python -m pip install $(TORCH)
	.venv-nightly/bin/python -m pip install -e ".[test]"
	.venv-nightly/bin/python -m pip install --upgrade $(DEVELOPMENT)
	OMP_NUM_THREADS=1 .venv-nightly/bin/python -m pytest -n 2 -m "not slow" $(PYTEST_ARGS)

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.ready-docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

dist:
	test -x .venv-dist/bin/python || $(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install build twine
	rm -rf dist
	.venv-dist/bin/python -m build --outdir dist .
	.venv-dist/bin/python -m build --outdir dist xsr/models/noncommercial
	.venv-dist/bin/twine check --strict dist/*

bench: .venv/.ready
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov
	rm -rf build dist *.egg-info docs/_build docs/_static/grid.png docs/_static/home.png docs/_static/metrics.png docs/reference/generated xsr-demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
