# What a fresh clone needs is python3 (3.11 or newer), make and git: `make demo`, `make test`.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	command -v $$p >/dev/null 2>&1 && \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && \
	{ echo $$p; break; }; done)

VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

DEMO_OUT := demo-out
DEMO_DATA := calibration_data/digits

.PHONY: help venv demo test test-vendors lint bench bench-accuracy bench-targets docs wheel clean

help:
	@echo 'make demo    install into .venv and build examples/digits/model.onnx for intel-nuc'
	@echo 'make test    run every test; make test-vendors: install isolated toolchains and build with them'
	@echo 'make lint    ruff, mypy and the layers'
	@echo 'make bench   speed and memory; make bench-accuracy: real models against peers;'
	@echo '             make bench-targets: real models through every target'
	@echo 'make docs    generate docs/reference from the code'
	@echo 'make wheel   build the wheel into dist/'
	@echo 'make clean   remove what these commands made, .venv included'

venv: $(VENV)/.installed

# Installed again only when the dependencies change; the package itself is editable.
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	@echo 'installing edgecompile[openvino] into $(VENV) (a few minutes the first time)'
	@$(PIP) install -c constraints.txt -e '.[openvino]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo 'installing what the tests need'
	@$(PIP) install -c constraints.txt -e '.[openvino,qnn,tensorrt-rtx,dev]'
	@touch $@

$(VENV)/pyvenv.cfg:
	@test -n '$(PYTHON)' || { \
	  echo 'edgecompile needs Python 3.11 or newer, and there is none on PATH.' >&2; \
	  echo 'Install one, or name it: make PYTHON=/path/to/python3.12 demo' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

demo: $(VENV)/.installed
	@$(BIN)/edgecompile build examples/digits/model.onnx --target intel-nuc \
	  --calibration $(DEMO_DATA) --eval $(DEMO_DATA) -o $(DEMO_OUT)

test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest

test-vendors: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -rs tests/vendors

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks

bench-accuracy: $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks.accuracy
	@$(BIN)/python -m benchmarks.emulated

bench-targets: $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks.targets

docs: $(VENV)/.installed
	@$(BIN)/python -m edgecompile.cli.reference docs/reference

wheel: $(VENV)/.installed
	@$(PIP) wheel --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) $(DEMO_OUT) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
