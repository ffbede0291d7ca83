# The two main commands are `make demo` and `make test`. Both first install the tools that they need, and say so.
.DEFAULT_GOAL := help
.PHONY: help demo chaos check test chaos-test honesty failures simulate fuzz lint chart cluster generated chart-update image dist dist-twice dist-image release-dry-run figures pictures tools release clean
SHELL := /bin/bash
CARGO ?= cargo

help: ## Lists the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## Starts a temporary PostgreSQL and pgtether: status page, metrics and health to look at; ctrl-C stops it.
	@tests/tools.sh build postgres
	$(CARGO) run --locked -- demo $(ARGS)

chaos: ARGS += --chaos
chaos: demo ## Runs the demo, while the server is killed, restarted, stopped and locked on a schedule.

check: lint ## Runs what needs no server: lint, unit tests, and tests of the docs and of the code's structure.
	$(CARGO) test --locked --lib
	$(CARGO) test --locked --test it -- map:: docs:: contributing::

# Most tests wait for servers: three at the same time suit two cores.
test: ## Runs all checks: format, lints, docs, and all tests against real servers.
	@tests/tools.sh build lint test drivers
	$(MAKE) lint
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-3} CARGO='$(CARGO)' tests/run.sh
	$(MAKE) chart

chaos-test: ## Tests the pool with ten thousand random faults, in a quarter of an hour; FAULTS=1000 SEED=7 for another run.
	@tests/tools.sh build test
	CHAOS_FAULTS=$(or $(FAULTS),10000) CHAOS_SEED=$(or $(SEED),$$RANDOM) \
	  $(CARGO) test --locked --test it pool_faults::nothing_is_lost -- --nocapture

honesty: ## Compares what pgtether tells with an independent login under faults; MINUTES=60 for more than 5, SEED=7.
	@tests/tools.sh build test
	HONESTY_SECONDS=$$(( $(or $(MINUTES),5) * 60 )) HONESTY_SEED=$(or $(SEED),$$RANDOM) \
	  $(CARGO) test --locked --test it honesty::what_pgtether_tells -- --nocapture

failures: ## Breaks servers, networks and disks in 14 ways and writes docs/failures.md from what pgtether says; needs root.
	@tests/tools.sh build test
	UPDATE_GENERATED=1 $(CARGO) test --locked --test it breakages:: -- --nocapture

simulate: ## Simulates pools under random outages and reloads; SEEDS=10000 for the number of runs, SEED=7 for one of them.
	@tests/tools.sh build
	SIMULATE_SEEDS=$(or $(SEEDS),1000) $(if $(SEED),SIMULATE_SEED=$(SEED)) \
	  $(CARGO) test --locked --lib pool::driver::simulation::pools -- --nocapture

fuzz: ## Fuzzes all parsers with random input; CASES=1000000 for the number of cases of each test.
	@tests/tools.sh build
	PROPTEST_CASES=$(or $(CASES),100000) $(CARGO) test --locked --lib -- \
	  pool::link pool::handshake config::tests::hostile target::conninfo connection::scanner reason::

# Module docs are for readers of the code: they may link to private items.
lint: ## Checks format, clippy, rustdoc (warnings are errors), and licenses and vulnerabilities of dependencies.
	@tests/tools.sh build lint
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' $(CARGO) doc --locked --no-deps --document-private-items
	tests/deny.sh

chart: ## Tests the Helm chart, the recipes and the systemd unit.
	@tests/tools.sh build chart
	$(CARGO) build --locked
	tests/chart/run.sh

cluster: ## Installs, upgrades, rolls back and tests the chart on a real API server with helm; the first time it builds that.
	@tests/tools.sh build cluster
	$(CARGO) build --locked
	tests/chart/cluster.sh

generated: ## Writes what the code declares: config.yaml and its schema, docs/metrics.md and reasons.md, the example of a scrape.
	UPDATE_SCHEMA=1 UPDATE_GENERATED=1 $(CARGO) test --locked --lib -- config::tests::written \
	  config::tests::reference::the_schema_in metrics:: reason::set

chart-update: ## Renders the chart's committed manifests anew, and writes the table of values in its README.
	@tests/tools.sh chart
	tests/chart/run.sh --update

image: ## Builds and tests the container image with docker, podman or buildah, which pull the base image.
	tests/image/make.sh

dist: ## Builds static programs, packs them for tar, pip, npm and Debian into target/dist, installs each; ARCH=aarch64 for one.
	@tests/tools.sh build dist
	tests/dist/make.sh $(ARCH)

dist-twice: ## The same two times, from nothing, and compares the checksums.
	@tests/tools.sh build dist
	tests/dist/make.sh --twice $(ARCH)

dist-image: dist ## Makes images for two platforms of the programs of `make dist`, with buildah; pulls nothing.
	@tests/tools.sh image
	tests/image/dist.sh $${CARGO_TARGET_DIR:-target}/dist $${CARGO_TARGET_DIR:-target}/tools/image/certifi/cacert.pem $(ARCH)

release-dry-run: dist-image ## Runs what the release workflow runs, as far as that is possible without publishing.
	@tests/tools.sh release
	tests/release/dry-run.sh $${CARGO_TARGET_DIR:-target}/dist

figures: ## Measures the values in docs/figures.md, in half an hour; ONLY=hang,fleet for some, QUICK=1 for a trial.
	@tests/tools.sh build test figures
	$(CARGO) bench --locked --bench figures -- $(if $(ONLY),--only=$(ONLY)) $(if $(QUICK),--quick)

pictures: ## Draws the dashboards, with data of a real Prometheus during an outage, and the status page; three minutes.
	@tests/tools.sh build test pictures
	$(CARGO) test --locked --test it -- operators::chain page::pictures
	@tests/draw.sh
	cp $${CARGO_TARGET_DIR:-target}/pictures/status-page*.png docs/images/

tools: ## Installs the tools for building and testing.
	@tests/tools.sh

release: ## Builds the optimized program, target/release/pgtether.
	@tests/tools.sh build
	$(CARGO) build --locked --release

clean: ## Removes build output.
	$(CARGO) clean
