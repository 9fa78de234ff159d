# make train   set up .venv, then train on four ranks
# make test   every mechanism once, under 4 minutes on two idle cores; make test-all   every combination;
#             JOBS=1 runs one test after another instead of two at a time
# make learn   the exercises: each is checked whenever its file is saved
# make compare   stages 0 to 3 on four ranks, and a page with all of them: runs/compare.html
# make gpu-check   on a machine with a GPU: what only a GPU can show, in one file to send, gpu-check.txt
# make figures   the README's figure, from the records of `make compare`, and docs/figures/gpt3.html
# make readme   the output that the READMEs show
# Everything comes as wheels from PyPI; PYTHON=python3.12 chooses another interpreter. Where nvidia-smi
# names a CUDA version, CuPy for it is installed, too; CUDA= leaves it out.

PYTHON ?= python3
CUDA ?= $(shell nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: \([0-9]*\).*/\1/p')
VENV := .venv
JOBS ?= 2
PYTEST = python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: setup train learn compare test test-rest test-all test-hosts bench gpu-check figures readme lint fuzz planted mutants check-lessons explore clean

train: setup
	mpirun -n 4 python -m zero_ref.train

learn: setup
	python -m lessons

compare: setup
	@mkdir -p runs
	@for stage in 0 1 2 3; do echo "[$$((stage + 1))/4] mpirun -n 4 python -m zero_ref.train --stage $$stage"; \
	    mpirun -n 4 python -m zero_ref.train --quiet --stage $$stage \
	    --report runs/stage$$stage.html --record runs/stage$$stage.json || exit; done
	@python -m zero_ref.report runs/compare.html runs/stage0.json runs/stage1.json runs/stage2.json runs/stage3.json

figures: compare
	python docs/figures/draw.py runs docs/figures
	python docs/figures/large.py docs/figures

readme: setup
	python tests/pages.py

test: setup
	$(PYTEST) --part quick

test-rest: setup
	$(PYTEST) --part rest

# In one call, `make test test-all`, no test runs twice.
test-all: test test-rest

test-hosts: setup
	ZERO_REF_HOSTS=1 python -m pytest tests/test_hosts.py -v -s

bench: setup
	python benchmarks/bench.py

gpu-check: setup
	python benchmarks/gpu_check.py

lint: $(VENV)/lint
	ruff check .
	ruff format --check .
	mypy

fuzz: setup
	FUZZ=10000 python -m pytest tests/test_fuzz.py --hypothesis-show-statistics

planted: setup
	python tests/planted/run.py $(PLANTED)

mutants: setup
	python tests/mutants.py $(MUTANTS)

# The lessons that a change touches; SINCE=REF: since this one of git; ALL=1: all of them.
check-lessons: setup
	python tests/touched.py $(if $(SINCE),--since $(SINCE)) $(if $(ALL),--all)

explore: setup
	python -m zero_ref.explore explore.html

setup: $(VENV)/ready

# zero_ref is installed as an editable package: with .venv activated, zero-ref works in every folder, and what
# is changed here is what runs.
$(VENV)/ready: requirements.txt requirements-gpu.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed' if sys.version_info < (3, 11) else 0)"
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	$(if $(CUDA),sed 's/cuda13x/cuda$(CUDA)x/; s/cu13/cu$(CUDA)/' requirements-gpu.txt > $(VENV)/gpu.txt)
	$(if $(CUDA),python -m pip install --quiet --disable-pip-version-check -r $(VENV)/gpu.txt)
	touch $@

$(VENV)/lint: $(VENV)/ready requirements-dev.txt
	python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV)
