# Everything a person needs: `make demo` to see it, `make test` to check it. Each does its own set-up.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

# Playwright drives the system's Chromium; it has no browser of its own to fetch.
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD := 1

# A test that fails says why; the path of its error through the runtime helps nobody.
export RUST_LIB_BACKTRACE ?= 0

# For `make demo`. An empty BROKERS or DATABASE_URL means the built-in broker or registry.
PORT ?= 8080
RATE ?= 200
export PORT RATE
ifdef BROKERS
export BROKERS
endif
ifdef DATABASE_URL
export DATABASE_URL
endif

CARGO_TARGET_DIR ?= target
programs := $(CARGO_TARGET_DIR)/debug

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

## --- See it

demo: ## The whole system in one process (PORT, RATE; BROKERS= and DATABASE_URL= for real services)
	@testbed/setup demo
	@$(MAKE) -j2 demo-program ui
	@$(MAKE) demo-program
	@exec $(programs)/clickstream demo

# The first time beside the page, as it takes minutes, and once more if it was ready before the page that it embeds.
# Without the plugin of kubectl, which a demo has no use for.
demo-program:
	cargo build --locked -p clickstream --bin clickstream --no-default-features

services: ## Starts Kafka and PostgreSQL on free ports, prints BROKERS= and DATABASE_URL=, until Ctrl-C
	@testbed/setup services
	@cargo run --locked -q -p clickstream-testkit --example services

## --- The page

ui: ui/dist/assets ## Builds the page

page_sources := $(shell find ui/src ui/public -type f 2>/dev/null) $(wildcard ui/*.html ui/*.json ui/*.ts)

# Not `ui/dist/index.html`: a handler that is built without the page puts a notice there.
ui/dist/assets: $(page_sources) ui/node_modules/.package-lock.json
	cd ui && npm run --silent build
	@touch $@

ui/node_modules/.package-lock.json: ui/package-lock.json
	cd ui && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

## --- Check it

# One selection of packages and one profile for all, so that nothing is built twice.
workspace := --locked --workspace --exclude clickstream-bench --exclude clickstream-bench-engine

test: ## Everything: lint, unit, property, real Kafka, PostgreSQL, Kubernetes, Chromium; the node needs root
	@testbed/setup test
	@$(MAKE) lint
	@$(MAKE) build
	@$(MAKE) test-units
	@$(MAKE) fuzz-short
	@$(MAKE) e2e

build: ui ## Every program and every test
	cargo build $(workspace) --all-targets

test-fast: ui ## What needs no services
	cd ui && npm test --silent
	cargo test $(workspace) --lib --bins $(addprefix --test ,$(serviceless))

# Integration tests that start no service; the others are left to `make test`.
service_tests := cli/tests/kubectl.rs crates/registry/% crates/resources/tests/admission.rs crates/testkit/% e2e/% worker/tests/kafka.rs
serviceless := $(basename $(notdir $(filter-out $(service_tests),$(wildcard */tests/*.rs crates/*/tests/*.rs))))

test-units: ui ## Unit and property tests, and those of single packages on real services
	cd ui && npm test --silent
	cargo test $(workspace) --exclude clickstream-e2e

e2e: build ## The whole path on real services; `make e2e TEST=faults` for a part
	cargo test $(workspace) $(addprefix --test ,$(TEST)) -- --nocapture

TEST ?= $(basename $(notdir $(wildcard e2e/tests/*.rs)))

crds: ## Writes the custom resource definitions in crds/ and in the Helm chart, and docs/reference.md, from the types
	cargo run --locked -q -p clickstream-resources --example crds

# The version of all packages.
version = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
image_programs := -p clickstream-operator -p clickstream-worker -p clickstream-handler -p clickstream

images: ui ## The image with all programs, without a container engine: target/clickstream.tar (IMAGE)
	cargo build --locked --release --bins $(image_programs)
	rm -rf $(CARGO_TARGET_DIR)/image && image/rootfs $(CARGO_TARGET_DIR)/release $(CARGO_TARGET_DIR)/image
	image/archive $(IMAGE) $(CARGO_TARGET_DIR)/image $(CARGO_TARGET_DIR)/clickstream.tar clickstream
	@echo "$(CARGO_TARGET_DIR)/clickstream.tar is $(IMAGE): docker load -i, podman load -i, ctr -n k8s.io images import"

IMAGE ?= docker.io/library/clickstream:$(version)

lint: ui ## Formatting, clippy and docs without a warning; the page's types, also against the API's description
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc $(workspace) --no-deps --document-private-items
	cd ui && npm run --silent check && npm run --silent api -- --check

## --- More of it

bench: ## Ratios and latencies on real services, with an optimised build; prints tables (PART)
	@testbed/setup services
	cargo build --locked --release -p clickstream-bench -p clickstream-worker -p clickstream-handler -p clickstream-operator
	$(CARGO_TARGET_DIR)/release/clickstream-bench $(PART)

bench-engine: ## The matching engine beside its peers, on one thread; prints tables (PART)
	RUSTFLAGS="-C target-cpu=native" CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/bench-engine cargo run --locked --release -q -p clickstream-bench-engine -- $(PART)

PART ?=

fuzz: ## Coverage-guided fuzzing, SECONDS a target, then property tests at length (CASES per property)
	fuzz/run all $(SECONDS)
	PROPTEST_CASES=$(CASES) cargo test --locked -p clickstream-engine -p clickstream-protocol -p clickstream-wire -p clickstream-worker

# With a seed, so that a change is not refused for what was wrong before it: that is found by `make fuzz`.
fuzz-short: ## The same, half a minute a target, the same way each time
	fuzz/run all 30 1

SECONDS ?= 600
CASES ?= 200000

check-unsafe: ## The engine's only unsafe code under Miri and AddressSanitizer; needs nightly
	crates/engine/check-unsafe

soak: build ## The faults again and again (ROUNDS), and the page for as long as people keep it open
	CLICKSTREAM_LOAD_SECONDS=60 CLICKSTREAM_MEASURE=1 CLICKSTREAM_BACKGROUND_SECONDS=300 cargo test $(workspace) --test page -- --nocapture
	for round in $$(seq $(ROUNDS)); do echo "round $$round"; cargo test $(workspace) --test faults -- --nocapture; done

ROUNDS ?= 10

setup: ## Installs what `make test` needs and this machine lacks
	@testbed/setup test

clean: ## Removes what was built
	cargo clean
	rm -rf ui/dist ui/node_modules

.PHONY: help demo demo-program services ui test build test-fast test-units e2e crds lint bench bench-engine fuzz fuzz-short check-unsafe soak setup images clean
