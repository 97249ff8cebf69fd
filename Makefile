# The verbs of this repository. CI runs the same ones a person does.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready
# Where no Rust toolchain is installed, scripts/rust fetches one with the tool that maturin itself uses.
RUST := scripts/rust
export CARGO_TERM_COLOR ?= auto

.PHONY: help
help: ## list the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Steelyard needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: build
build: $(READY) ## build the extension for tests (quick to build)
	$(RUST) $(BIN)/maturin develop --quiet >/dev/null

.PHONY: release
release: $(READY) ## build the extension as it ships (quick to run)
	$(RUST) $(BIN)/maturin develop --quiet --release >/dev/null

.PHONY: demo
demo: release ## a self-contained tour: origins, proxy, client, a failure and its repair
	$(BIN)/steelyard demo

.PHONY: run
run: release ## run with ./steelyard.toml
	$(BIN)/steelyard run

.PHONY: test
test: build ## every test, Rust and Python
	$(RUST) cargo test --workspace --exclude steelyard-py --locked --quiet
	$(RUST) scripts/loom
	scripts/test-tools
	scripts/pytest
	scripts/h2spec

.PHONY: check
check: $(READY) ## format, lint, types
	$(RUST) cargo fmt --all --check
	$(RUST) cargo clippy --workspace --all-targets --locked -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: format
format: $(READY) ## format every source file
	$(RUST) cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --quiet . || true

.PHONY: bench
bench: release ## measure against nginx, HAProxy, a relay and others (BENCH="--quick" for a look)
	$(BIN)/python bench/run.py $(BENCH)

.PHONY: docs
docs: release ## run the simulations of the manual anew: its tables, and pictures in docs/out
	$(BIN)/python docs/render.py

.PHONY: lock
lock: $(READY) ## pin the Python dependencies anew
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --python-version 3.11 pyproject.toml requirements/dev.in -o requirements/dev.txt --custom-compile-command "make lock"

# Seconds for each target. What is found beyond the kept corpus stays in fuzz/target.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= request_head response_head chunked http2_request http3_stream proxy_header client_hello

.PHONY: fuzz
fuzz: ## look for inputs that break a codec, FUZZ_SECONDS=60 for each target
	@$(RUST) sh -c 'cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-fuzz'
	@for target in $(FUZZ_TARGETS); do \
	  mkdir -p fuzz/target/corpus/$$target; \
	  $(RUST) cargo fuzz run --sanitizer none $$target fuzz/target/corpus/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=16384 -timeout=10 -print_final_stats=1 || exit 1; \
	done

.PHONY: clean
clean: ## remove everything that was built
	rm -rf target fuzz/target $(VENV) python/steelyard/*.so bench/out docs/out
