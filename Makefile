# make demo   repair the bundled sample, into ./demo/ (and open napari with it when there is a display)
# make test   everything that continuous integration runs
#
# Both first make .venv with all they need. Another PyTorch:  make demo TORCH=torch==2.14.0
VENV := .venv
TORCH := $(shell grep '^torch==' constraints.txt)
BIN := $(VENV)/bin

# The tests of the real window draw on a virtual screen; where there is none they are skipped.
SCREEN := $(shell command -v xvfb-run >/dev/null && echo 'QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1600x1000x24"')

# make nightly   what takes too long for every change: many damaged files, many kills
# make bench DATA=FOLDER   what we aim for beside what is reached, on the eval volumes in FOLDER (an hour or two)
.PHONY: demo test lint format clean bench nightly

demo: $(VENV)/.ready
	$(BIN)/python scripts/demo.py demo

test: lint
	@$(MAKE) --no-print-directory pytest

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Most tests are too small to be shared out among threads: each core has tests of its own.
APART := -n logical --maxprocesses 4 --dist worksteal

# A make of its own, so that xvfb-run is looked for after the set-up may have installed it.
.PHONY: pytest
pytest:
	OMP_NUM_THREADS=1 $(SCREEN) $(BIN)/python -m pytest $(APART) --durations=20

nightly: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(SCREEN) $(BIN)/python -m pytest -m nightly $(APART)

bench: $(VENV)/.ready
	$(BIN)/python benchmarks/targets.py --data '$(DATA)' --json bench.json

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.ready: pyproject.toml constraints.txt scripts/setup.sh
	scripts/setup.sh $(VENV) '$(TORCH)'
	@touch $@

clean:
	rm -rf $(VENV) demo
