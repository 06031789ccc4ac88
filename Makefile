# Every target makes the virtual environment once and reuses it until pyproject.toml changes.
PYTHON ?= python3
BIN := .venv/bin
# Test processes beside each other, of one thread each.
JOBS ?= 2

.PHONY: demo test lint

demo: .venv/.installed
	$(BIN)/dreamdist3d demo --out outputs/demo

test: .venv/.installed
	$(BIN)/python -m pytest -m "not gpu" -n $(JOBS) --dist loadfile

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	.ci/types

.venv/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install --editable ".[test]"
	touch $@
