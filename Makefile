# What a person does with this repository, one target for each thing. `make help` lists them.

CARGO ?= cargo

# The servers of docker-compose.yml, as `make run` passes them to the program.
COMPOSE_REDIS_URL = redis://127.0.0.1:16379
COMPOSE_POSTGRES_URL = postgres://doorbuster:doorbuster@127.0.0.1:15432/doorbuster

.DEFAULT_GOAL := help
.PHONY: help deps run test test-proxy chaos-deps chaos chaos-results chaos-short fmt lint build bench bench-full bench-smoke bench-deps clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

deps: ## install the system packages that are missing
	@sh deploy/install-deps.sh

run: ## build and start everything: Redis, Postgres, all roles, a demo sale
	@if docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; then \
		set -e; \
		sh deploy/install-deps.sh --build-only; \
		docker compose up -d --wait; \
		trap : INT TERM; \
		status=0; \
		DOORBUSTER_REDIS_URL="$(COMPOSE_REDIS_URL)" DOORBUSTER_POSTGRES_URL="$(COMPOSE_POSTGRES_URL)" \
			$(CARGO) run --locked --release -- dev --external || status=$$?; \
		docker compose stop; \
		exit $$status; \
	else \
		set -e; \
		$(MAKE) --no-print-directory deps; \
		exec $(CARGO) run --locked --release -- dev; \
	fi

test: deps ## run all tests against real servers
	$(CARGO) test --workspace --locked --no-fail-fast

test-proxy: deps ## run a real nginx with deploy/nginx before a real node
	@sh deploy/install-deps.sh --proxy
	$(CARGO) test --locked --test proxy

# Where cargo puts what it builds.
TARGET = $(or $(CARGO_TARGET_DIR),target)

# How long `make chaos` breaks things, the seed from which all that is random in it follows, and how many deployments it
# breaks side by side.
SECONDS ?= 600
SEED ?= 1
LANES ?= 1
# Where what came of it is kept.
RESULTS = tests/chaos/results

# Without it they are reported as not run.
chaos-deps: ## install what some faults need
	-@sh deploy/install-deps.sh --chaos

chaos: deps chaos-deps ## break everything under traffic, for SECONDS, as SEED decides; check what was promised
	$(CARGO) build --locked --release -p chaos
	$(TARGET)/release/chaos --seconds $(SECONDS) --seed $(SEED) --lanes $(LANES) --record $(RESULTS)

chaos-results: ## add up what `make chaos` has kept, and write the table into docs/RELIABILITY.md
	$(CARGO) run --locked --release -p chaos --bin chaos -- --sum $(RESULTS) --into docs/RELIABILITY.md

# What may differ where one partition breaks and another goes on; the rest is the same for each of them.
PARTITIONED = api_killed keeper_killed redis_killed postgres_killed flushall log_deleted stock_deleted \
	older_dump poison duplicate_order workers_killed_with_backlog crash_opening_after_begin \
	crash_rebuild_before_orders postgres_restored replayed_twice crash_replay_after_batch \
	cancel_storm_keeper_frozen expiry_storm_redis_killed

# Further crash points of payments, and further faults in storms and while money comes late or from a checkout:
# `make chaos` comes to them.
LONG = payment_worker_frozen crash_payment_before_conclude crash_payment_after_conclude crash_payment_before_brought \
	late_payments_redis_killed late_payments_postgres_killed late_payments_worker_killed \
	checkouts_gateway_down checkouts_worker_killed checkouts_crash_after_reclaim \
	checkouts_redis_killed checkouts_postgres_killed \
	cancel_storm_redis_unreliable expiry_storm_redis_unreliable

chaos-short: deps chaos-deps ## the same, most faults once; some of them with two partitions
	$(CARGO) build --locked --workspace --bins
	$(TARGET)/debug/chaos --seed $(SEED) --lanes 2 $(LONG:%=--without %)
	$(TARGET)/debug/chaos --seed $(SEED) --lanes 2 --partitions 2 $(PARTITIONED:%=--fault %)

fmt: ## format the code
	$(CARGO) fmt --all

lint: ## check the formatting and run clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy -p doorbuster --all-targets --locked -- -D warnings

build: deps ## build the release binary
	$(CARGO) build --locked --release

# The benchmark runs the binaries that lie beside it. What is measured is not built with the whole workspace: tests/chaos
# would turn its feature `faults` on in the engine too.
BENCH_BINS = --package doorbuster --package doorbuster-bench --bins

bench: deps bench-deps ## measure the headline, under ten minutes; arguments in ARGS, see bench/README.md
	$(CARGO) build --locked --release $(BENCH_BINS)
	$(TARGET)/release/bench run --profile headline $(ARGS)

bench-full: deps bench-deps ## measure every case at full length, about 40 minutes
	$(CARGO) build --locked --release $(BENCH_BINS)
	$(TARGET)/release/bench run --profile full $(ARGS)

# With the binaries that the tests use: what is measured in a second means nothing anyway.
bench-smoke: deps ## run every case for a second, to see that it works
	$(CARGO) build --locked --workspace --bins
	@peers=; \
	if ! { sh deploy/install-deps.sh --bench && npm ping >/dev/null 2>&1; }; then \
		echo "bench-smoke: without the peers on Node, which need Node 20 and the registry of npm"; \
		peers="--without bullmq-lock --without lua-bullmq"; \
	fi; \
	$(TARGET)/debug/bench run --profile smoke --results $(TARGET)/bench-smoke $$peers $(ARGS)

bench-deps: ## install what the benchmark's peers need
	@sh deploy/install-deps.sh --bench

clean: ## remove what the build made; the data of `make run` stays
	$(CARGO) clean
