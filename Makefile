# make train   set up .venv, then train on four ranks        make test   set up .venv, then test
# Everything comes as wheels from PyPI; PYTHON=python3.12 chooses another interpreter.

PYTHON ?= python3
CUPY ?= -r requirements-gpu.txt
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: setup train test lint planted clean

train: setup
	mpirun -n 4 python -m zero_ref.train

test: setup
	python -m pytest

lint: $(VENV)/lint
	ruff check .
	ruff format --check .
	mypy

planted: setup
	python tests/planted/run.py

setup: $(VENV)/ready

$(VENV)/ready: requirements.txt requirements-gpu.txt
	$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed' if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	if nvidia-smi >/dev/null 2>&1; then \
		python -m pip install --quiet --disable-pip-version-check $(CUPY); fi
	touch $@

$(VENV)/lint: $(VENV)/ready requirements-dev.txt
	python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV)
