# Assumed: make, git and Swift 6.3. What else the targets need stands in `packages`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

# libnghttp2 is the broker's HTTP/2; below 1.52.0-1+deb12u3 (or 1.61) its floods are not bounded.
# python3 runs the second client in the system tests, and the books of the demo; the HTTP face is
# tried with curl and nghttp; valgrind counts instructions, and knows the C library's functions by
# libc6-dbg. The others are what Swift starts and links with on Debian 12, where it was unpacked and
# no more; other releases name them otherwise.
packages := libnghttp2-dev curl nghttp2-client python3 valgrind libc6-dbg
ifneq ($(filter 12%,$(file </etc/debian_version)),)
packages += binutils ca-certificates libcurl4 libncurses6 libsqlite3-0 libstdc++-12-dev libxml2
endif

# For the proof of the HTTP face, which puts its frames together byte by byte.
packages += python3-hpack python3-hyperframe

# An import that a target did not declare fails the build. SwiftPM prints "Build complete!" all
# the same and tells by its exit code alone, so no recipe here hides one.
swift_flags := --explicit-target-dependency-import-check error

# A crashing child of a test must die, not wait for a backtrace.
export SWIFT_BACKTRACE := enable=no

SEEDS ?= 2000
SECONDS ?= 600
SLUICE_FUZZ_CASES ?= 2000000

.PHONY: setup grpc-messages demo test build release check bench bench-quick bench-gateway \
    bench-setup budget budget-update chaos hostile simulate break-laws fuzz sanitize clean peers

# Asks dpkg first; only if something is missing is apt run, and only where that needs no password.
setup:
	@missing=(); \
	for name in $(packages); do \
	    state=$$(dpkg-query -W -f '$${db:Status-Status}' "$$name" 2>/dev/null || true); \
	    [ "$$state" = installed ] || missing+=("$$name"); \
	done; \
	if [ $${#missing[@]} -eq 0 ]; then exit 0; fi; \
	if [ "$$(id -u)" -eq 0 ]; then as=(env); \
	elif sudo -n true 2>/dev/null; then as=(sudo -n env); \
	else \
	    echo "Packages are missing. Run this line, then make again:" >&2; \
	    echo "  sudo apt-get update && sudo apt-get install --no-install-recommends" \
	        "$${missing[*]}" >&2; \
	    exit 1; \
	fi; \
	"$${as[@]}" apt-get update -q; \
	"$${as[@]}" DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -q --no-install-recommends "$${missing[@]}"

# Swift's side of Protocol/sluice.proto anew; what it makes is committed with the change.
grpc-messages: setup
	@$(MAKE) --no-print-directory setup packages=protobuf-compiler
	Protocol/grpc/generate.sh

build:
	swift build $(swift_flags)

# What runs is linked with Swift's libraries: it maps and touches 4 MiB less than with all of them
# shared. In a folder of its own, as those who count instructions tell the libraries apart.
release:
	swift build -c release $(swift_flags) --static-swift-stdlib --scratch-path .build-static \
	    --product sluice

# What only the system tests need, as programs in other languages that know nothing of us. Without
# them those tests are skipped, and say so.
peers := .build-peers/$(shell sha256sum Tests/Peers/requirements.txt | cut -c1-16)
peers: setup $(peers)
$(peers):
	@$(MAKE) --no-print-directory setup packages=python3-venv
	rm -rf .build-peers
	python3 -m venv .build-peers
	.build-peers/bin/pip install -q --disable-pip-version-check -r Tests/Peers/requirements.txt
	touch $@

# A process for each room: a room that computes takes no threads from one that waits for sockets.
test_rooms := $(notdir $(wildcard Tests/*Tests))

# The tests of the whole: the system tests start the `sluice` that this builds.
test: setup
	python3 -m unittest discover -q Benchmarks/tests
	python3 -m unittest discover -q Protocol/python
	swift build --build-tests $(swift_flags)
	for room in $(test_rooms); do \
	    swift test --skip-build --parallel --filter "^$$room\." || exit 1; \
	done

# The style, and the rules of the house that no compiler knows.
check:
	swift format lint --strict -r Sources Tests Benchmarks Package.swift
	swift build --build-tests $(swift_flags)
	swift test --skip-build --filter TidyTests

# Broker, producer and consumer as processes of their own, on this machine's package changelogs.
demo: setup
	swift build $(swift_flags)
	Examples/UserActivity/demo.sh

# make bench [BENCH_FLAGS='--only latency']: speed, CPU and memory beside brokers in C, NATS, Redis.
# All of it takes 20 minutes, writes Benchmarks/results, and wants the machine for itself.
bench: bench-setup release
	Benchmarks/bench.py $(BENCH_FLAGS)

# Fewer cells and shorter ones, in under 3 minutes; prints its report.
bench-quick: bench-setup release
	Benchmarks/bench.py --quick $(BENCH_FLAGS)

# The HTTP face beside nghttpd, in a minute.
bench-gateway: setup release
	@$(MAKE) --no-print-directory setup packages=nghttp2-server
	Benchmarks/gateway.py $(BENCH_FLAGS)

# The others to measure against. Without them the suite runs too, and says whom it left out.
bench-setup: setup
	-@$(MAKE) --no-print-directory setup packages="redis-tools python3-venv"

# make budget [BUDGET_FLAGS=road-128]: instructions of the hot paths, held against the budget.
budget: setup
	Benchmarks/budget.py $(BUDGET_FLAGS)

# Writes the budget anew: commit it with the change that moved it.
budget-update: setup
	Benchmarks/budget.py --update $(BUDGET_FLAGS)

# make hostile [HOSTILE_FLAGS='--only topics']: attacks by one client, over the binary protocol and
# HTTP, held against what a good client beside it keeps, and against memory. Wants two cores for
# itself, for five minutes at most; --short holds no times, and takes two.
hostile: setup release
	/usr/bin/python3 Tests/Hostile/hostile.py $(HOSTILE_FLAGS) .build-static/release/sluice

# make chaos [SECONDS=600] [SEED=…]: both clients behind a network that cuts, stalls and splits, with
# one shard and with three; at the end the books balance, event by event.
chaos: setup release
	for shards in 1 3; do \
	    python3 Tests/Chaos/chaos.py .build-static/release/sluice --shards $$shards \
	        --seconds $$(($(SECONDS) / 2)) $(if $(SEED),--seed $(SEED)) || exit 1; \
	done

# make simulate [SEEDS=2000] [SEED=…]: random histories of the core, one a seed from SEED on. After
# every step the laws of what it touched, all of them every 64 steps; a history has 200 to 500, or
# LIFE=… steps. As many at a time as the machine has processors.
simulate:
	swift build -c release $(swift_flags) --product sluice-simulate
	"$$(swift build -c release --show-bin-path)/sluice-simulate" --seeds $(SEEDS) \
	    $(if $(SEED),--seed $(SEED)) $(if $(LIFE),--life $(LIFE))

# make break-laws [BREAK_FLAGS='--only fair']: breaks the core on purpose in each of the ways that
# `Tests/BreakLaws/breaks.toml` names, and says after how many worlds `simulate` found it. Minutes.
break-laws:
	Tests/BreakLaws/break-laws.py $(BREAK_FLAGS)

# The fuzz tests of every room, with many more cases than `make test` spends.
fuzz:
	swift build --build-tests $(swift_flags)
	SLUICE_FUZZ_CASES=$(SLUICE_FUZZ_CASES) swift test --skip-build --filter Fuzz

# make sanitize: whatever has threads, watched for races, with servers of one shard and of three.
# What is fuzzed has one thread and takes minutes here. One test after the other, because a client
# that waits for its turn on the processor is one that the broker believes dead.
sanitizer := --sanitize=thread --scratch-path .build-tsan
sanitize:
	swift build --build-tests $(sanitizer) $(swift_flags)
	for room in SluiceNetTests SluiceEngineTests; do \
	    swift test --skip-build $(sanitizer) --filter "^$$room\." || exit 1; \
	done
	for shards in 1 3; do \
	    for room in SluiceServerTests SluiceTests; do \
	        SLUICE_SHARDS=$$shards swift test --skip-build $(sanitizer) --no-parallel \
	            --skip Fuzz --filter "^$$room\." || exit 1; \
	    done; \
	done

clean:
	swift package clean
	rm -rf .build-static .build-peers
