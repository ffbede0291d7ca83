# Two commands matter: `make demo` and `make test`. Both install what they need and say so first.
.DEFAULT_GOAL := help
.PHONY: help demo chaos test torment fuzz lint chart chart-update image figures pictures tools release clean
SHELL := /bin/bash
CARGO ?= cargo

help: ## Lists these targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## Supervises a throw-away PostgreSQL: page, metrics and health to look at; ctrl-C ends it.
	@tests/tools.sh build postgres
	$(CARGO) run --locked -- demo $(ARGS)

chaos: ARGS += --chaos
chaos: demo ## The same, while the server is killed, restarted, hung and locked on a schedule.

# Most tests wait for servers: three at once suit two cores.
test: ## Passes everything that has to hold: format, lints, docs, all tests against real servers.
	@tests/tools.sh build lint test drivers
	$(MAKE) lint
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-3} $(CARGO) test --locked --no-fail-fast
	$(MAKE) chart

torment: ## Deals ten thousand faults around the pool, its clients checking every answer; a quarter of an hour; FAULTS=1000 SEED=7.
	@tests/tools.sh build test
	TORMENT_FAULTS=$(or $(FAULTS),10000) TORMENT_SEED=$(or $(SEED),$$RANDOM) \
	  $(CARGO) test --locked --test it pool_faults::nothing_is_lost -- --nocapture

fuzz: ## Throws made-up bytes and settings at everything that parses; CASES=1000000 for each of them.
	@tests/tools.sh build
	PROPTEST_CASES=$(or $(CASES),100000) $(CARGO) test --locked --lib -- \
	  pool::link pool::greet config::tests::hostile target::conninfo connection::scanner reason::

# Module docs are for those who read the code: they may name what is private.
lint: ## Format, clippy and rustdoc, warnings as errors.
	@tests/tools.sh build lint
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' $(CARGO) doc --locked --no-deps --document-private-items

chart: ## Checks the Helm chart, the recipes and the systemd unit.
	@tests/tools.sh build chart
	$(CARGO) build --locked
	tests/chart/run.sh

chart-update: ## Rewrites what the chart has from elsewhere, and its rendered manifests.
	@tests/tools.sh chart
	tests/chart/run.sh --update

image: ## Builds the image with docker, podman or buildah, and starts it once; WITHOUT_REGISTRY=1 pulls nothing.
	$(if $(WITHOUT_REGISTRY),@tests/tools.sh build image)
	tests/image/make.sh

figures: ## Measures what README's figures say, in half an hour; ONLY=hang,fleet for some, QUICK=1 for a trial.
	@tests/tools.sh build test figures
	$(CARGO) bench --locked --bench figures -- $(if $(ONLY),--only=$(ONLY)) $(if $(QUICK),--quick)

pictures: ## Draws the dashboards into target/pictures, from what a real Prometheus saw of an outage; two minutes.
	@tests/tools.sh build test pictures
	$(CARGO) test --locked --test it operators::chain
	@tests/draw.sh

tools: ## Installs all that building and testing need.
	@tests/tools.sh

release: ## Builds the optimised program.
	@tests/tools.sh build
	$(CARGO) build --locked --release

clean: ## Removes what was built.
	$(CARGO) clean
