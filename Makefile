# Everything happens in .venv and build/, both made here from the versions in requirements/. A second run does only what
# changed files call for. Another Python: make PYTHON=/path/to/python test

PYTHON ?= python3
BIN := .venv/bin
# pip looks at these while it builds; they must not leak in from the caller's shell.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_CONSTRAINT PIP_REQUIRE_VIRTUALENV
export PIP_DISABLE_PIP_VERSION_CHECK := 1

ENGINE := $(shell find engine -name '*.h' -o -name '*.cc')
CXX_FILES := $(ENGINE) $(wildcard benchmarks/*.cc)

# What make kernels times: B,T,I,H.
KERNEL_SHAPES ?= 1,1,32,64 1,100,32,64 32,100,64,256 64,200,128,512 32,100,256,1024 1,100,256,1024 \
                 1,1000,32,128 1,1000,32,256 1,1000,32,512

# Files that say that a step of the set-up is done.
PACKAGES := .venv/.packages
INSTALLED := .venv/.everystep
BUILD_TOOLS := build/tools/.complete
PEERS := .venv-bench/.packages .venv-bench-tensorflow/.packages

help:
	@echo "make demo     run the main job: the tutorial's four cases, a weather forecaster, a reader of dates"
	@echo "make test     run the tests of the engine and of the package (TEST_ARGS=... goes to pytest)"
	@echo "make parity   draw models until each option was compared with Keras 20 times; the counts go to docs/parity.md"
	@echo "make faults   plant faults in a copy of the tree and check that the tests fail"
	@echo "make fuzz     look for files that break the loader (SECONDS=120; FUZZ_ARGS=... goes to fuzz/fuzz_load.py)"
	@echo "make backends run the tests of the layers under Keras's other backends"
	@echo "make lint     check style, types and imports"
	@echo "make format   rewrite the files in the project's style"
	@echo "make bench    time the engine beside its peers (BENCH_ARGS=... goes to benchmarks/run.py)"
	@echo "make kernels  time the engine's kernels alone, from C++ (KERNEL_SHAPES='B,T,I,H ...')"
	@echo "make bits-cost time what it costs that results have the same bits always"
	@echo "make options  time what each option of a run costs (BENCH_ARGS=... goes to benchmarks/options.py)"
	@echo "make trace-bench  time what a trace costs beside predict (BENCH_ARGS=... goes to benchmarks/trace.py)"
	@echo "make start    time a process from its start to its first prediction (BENCH_ARGS=... goes to benchmarks/start.py)"
	@echo "make accuracy compare float32 with float64, here and in the peers (BENCH_ARGS=... goes to benchmarks/accuracy.py)"
	@echo "make scaling  time and memory against T, B, H and threads (BENCH_ARGS=... goes to benchmarks/scaling.py)"
	@echo "make fit-bench time a step of Keras's fit, here and in stock Keras (BENCH_ARGS=... goes to benchmarks/fit.py)"
	@echo "make g2p      train a paper's grapheme-to-phoneme model and write its table; hours (G2P_ARGS=... to benchmarks/g2p)"
	@echo "make generate-bench count tokens a second, beside others' loops (BENCH_ARGS=... goes to benchmarks/generate.py)"
	@echo "make lock     choose newer versions of everything that make installs"
	@echo "make clean    remove everything that make has made"

demo: $(INSTALLED)
	@$(BIN)/python examples/demo.py

test: test-engine $(INSTALLED)
	@$(BIN)/python -m pytest -n 2 $(TEST_ARGS)

# The engine's own tests, in C++, under the address and undefined-behaviour sanitizers.
test-engine: $(BUILD_TOOLS)
	@PYTHONPATH=build/tools build/tools/bin/cmake -S . -B build/tests -G Ninja -DEVERYSTEP_TESTS=ON \
	    -DCMAKE_MAKE_PROGRAM=$(CURDIR)/build/tools/bin/ninja --log-level=WARNING
	@PYTHONPATH=build/tools build/tools/bin/cmake --build build/tests
	@PYTHONPATH=build/tools build/tools/bin/ctest --test-dir build/tests --output-on-failure

# Models drawn from every layer and option, each compared with stock Keras. Takes about ten minutes.
parity: $(INSTALLED)
	@KERAS_BACKEND=numpy $(BIN)/python tests/drawn/drawn_parity.py --jobs 2 --write docs/parity.md $(PARITY_ARGS)

# Faults planted one at a time in a copy of the tree: each must fail the tests. Takes about a quarter of an hour.
faults: $(INSTALLED)
	@$(BIN)/python tests/faults/plant.py $(FAULTS_ARGS)

# Files changed at random, by the lines of the loader that they reach. The same seed each time makes the same files.
SECONDS ?= 120
fuzz: $(INSTALLED)
	@PYTHONPATH=src $(BIN)/python fuzz/fuzz_load.py --seconds $(SECONDS) $(FUZZ_ARGS)

# The layers under Keras's other backends, which need packages and environments of their own.
backends: $(PACKAGES)
	@$(BIN)/nox -s backends

lint: $(PACKAGES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports

format: $(PACKAGES)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

bench: $(INSTALLED) $(PEERS)
	@$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

# The kernels alone, in C++: what docs/engine.md tells of.
kernels: $(INSTALLED)
	@at=$$($(BIN)/python -c 'import os, everystep._engine as e; print(os.path.dirname(e.__file__))') && \
	$(CXX) -std=c++20 -O2 -Iengine benchmarks/kernels.cc -o build/kernels -L"$$at" -leverystep_engine -Wl,-rpath,"$$at" && \
	for cell in lstm gru simple; do echo "$$cell: B, T, I, H"; build/kernels $$cell $$(nproc) $(KERNEL_SHAPES); done

# The kernels as they are beside some that may add in any order. Builds the engine twice.
bits-cost: $(INSTALLED) $(BUILD_TOOLS)
	@$(BIN)/python benchmarks/bits_cost.py $(BENCH_ARGS)

options: $(INSTALLED)
	@$(BIN)/python benchmarks/options.py $(BENCH_ARGS)

trace-bench: $(INSTALLED)
	@$(BIN)/python benchmarks/trace.py $(BENCH_ARGS)

start: $(INSTALLED)
	@$(BIN)/python benchmarks/start.py $(BENCH_ARGS)

accuracy: $(INSTALLED) .venv-bench/.packages
	@$(BIN)/python benchmarks/accuracy.py $(BENCH_ARGS)

scaling: $(INSTALLED)
	@$(BIN)/python benchmarks/scaling.py $(BENCH_ARGS)

fit-bench: $(INSTALLED) $(PEERS)
	@$(BIN)/python benchmarks/fit.py $(BENCH_ARGS)

# What it trains is kept in build/g2p, and gone on from.
g2p: $(INSTALLED) .venv-bench/.packages
	@PYTHONPATH=benchmarks $(BIN)/python -m g2p $(G2P_ARGS)

generate-bench: $(INSTALLED) .venv-bench/.packages
	@$(BIN)/python benchmarks/generate.py $(BENCH_ARGS)

lock: $(PACKAGES)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/lock.sh

clean:
	rm -rf .venv .venv-bench .venv-bench-tensorflow .nox build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -f src/everystep/*.so
	find src tests fuzz benchmarks examples -name __pycache__ -type d -exec rm -rf {} +

# ---- Set-up ----

.venv/bin/python:
	@PYTHON="$(PYTHON)" sh tools/prerequisites.sh
	@$(PYTHON) -m venv .venv

$(PACKAGES): requirements/dev.lock | .venv/bin/python
	@echo "Installing Python packages into .venv; the first time takes a minute or two."
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes -r requirements/dev.lock
	@touch $@

# The build's tools are a folder of their own, since jaxlib, whose headers the build needs, is another version in .venv.
$(BUILD_TOOLS): requirements/build.lock | .venv/bin/python
	@rm -rf build/tools
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes --target build/tools -r requirements/build.lock
	@touch $@

# Editable: Python files are used where they lie.
$(INSTALLED): $(ENGINE) CMakeLists.txt pyproject.toml $(BUILD_TOOLS) $(PACKAGES)
	@echo "Building the engine."
	@PYTHONPATH=build/tools PATH="$(CURDIR)/build/tools/bin:$$PATH" \
	    $(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

$(PEERS): .venv-%/.packages: requirements/%.lock | .venv/bin/python
	@echo "Installing peers of the benchmarks into .venv-$*."
	@rm -rf .venv-$*
	@$(BIN)/python -m venv .venv-$*
	@.venv-$*/bin/python -m pip install -qq -r requirements/$*.lock
	@touch $@

.DELETE_ON_ERROR:
.PHONY: help demo test test-engine parity faults fuzz backends lint format bench kernels bits-cost options trace-bench start accuracy scaling fit-bench g2p generate-bench lock clean
