# make demo   see it work: learns a real httpd and serves a page from its jail
# make test   all tests, with what they need installed first
# make bench  what it costs beside native runs and its peers; SECTIONS="calls start" for some of it
# make check  what is quick: style, types, import rules, unit tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench clean

demo: $(VENV)/ready
	sh tests/install-packages.sh apache2 curl iproute2 util-linux
	sh demo/httpd.sh $(BIN)/tracejail

test: $(VENV)/ready
	sh tests/install-packages.sh
	EXAMPLES=1000 $(MAKE) --no-print-directory check
	$(BIN)/python -m pytest tests/kernel tests/real
	$(BIN)/python -m pytest -n 2 tests/run tests/audit tests/update tests/doctor

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 tests/unit tests/test_imports.py tests/test_no_special_cases.py

bench: $(VENV)/ready
	$(BIN)/python -m bench $(SECTIONS)

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); sh tests/install-packages.sh python3-venv; $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[check]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
