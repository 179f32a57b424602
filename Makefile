# Two commands for a fresh machine: `make demo` and `make test`. `make help` lists all.
PYTHON ?= python3
VENV ?= .venv
SEED ?= 0
TASKS ?=
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo search-recognizer test test-slow benchmark closed-loop lint types format wheel clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: $(BIN)/.installed ## create the virtual environment and install everything into it

# uv installs in half a minute what takes pip several; where it cannot, pip does it, which also
# reads a pip.conf with a mirror. Without compiled bytecode every command's start compiles all
# imports anew where Python may write none: it takes twice as long.
$(BIN)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv && \
		$(BIN)/uv pip install --quiet --compile-bytecode \
		--python $(BIN)/python --editable '.[dev,contrib,tune]' || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,contrib,tune]'
	$(BIN)/python -m compileall -q adafocus_env agents train
	touch $@

demo: install ## train all four stages on the built-in videos and compare policies (SEED=0)
	$(BIN)/adafocus demo seed=$(SEED)
	@echo "The command adafocus is in $(BIN): source $(BIN)/activate"

# Seed 0 is what adafocus_env/assets/glyphs_search holds; five minutes of one core.
search-recognizer: install ## train the recognizer of glyphs_search anew, into outputs/search/recognizer
	$(BIN)/adafocus stage0 experiment=glyphs_search dataset=glyphs_search_discs frame_size=32 glance_size=4 \
		pretrain_glancer=true seed=$(SEED) output_dir=outputs/search/glancer
	$(BIN)/adafocus stage0 experiment=glyphs_search dataset=glyphs_search_marks frame_size=32 \
		pretrain_glancer=false seed=$(SEED) output_dir=outputs/search/focuser
	$(BIN)/adafocus stage1 experiment=glyphs_search dataset=glyphs_search_digits seed=$(SEED) \
		pretrained_glancer=outputs/search/glancer pretrained_focuser=outputs/search/focuser \
		output_dir=outputs/search

# A file stays with one worker, which makes what its tests share once; long files come first.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test: install ## run the tests, all but the slow ones
	$(PYTEST) -m "not slow"

test-slow: install ## run the others: killed runs, several processes, full-size networks, pipelines
	$(PYTEST) -m slow

benchmark: install ## measure speed as ratios of two ways, into outputs/benchmark/speed.json
	$(BIN)/python tests/benchmarks/run.py

closed-loop: install ## compare closed and open loops, into outputs/closed_loop (TASKS="glyphs glyphs_search", or all)
	$(BIN)/python tests/benchmarks/closed_loop.py $(TASKS)

lint: install ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## check types
	$(BIN)/mypy

format: install ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: install ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove the virtual environment and caches; outputs/ stays
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache
