# The thin front of the build: every line here is one command of CMake, busted
# or bench.  CMakePresets.json and spec/ hold the rest.
.PHONY: start demo-cluster test lint bench bench-instructions fuzz soak deps deps-run docs \
	install clean server release dev

PREFIX ?= /usr/local
SECONDS ?= 60

# Build and run the example application (this folder) in the foreground.
start: server
	build/release/sdlua start

# Three nodes, two dispatches and a Redis, each on a host of its own, all on this
# machine: the example across them, until Ctrl-C.  As root.
demo-cluster: server
	deploy/deps.sh demo
	deploy/demo-cluster build/release/sdlua build/demo-cluster

# Everything that says whether this tree is good; ends with one line of counts.
test: deps
	spec/run.sh

# One build each; the server alone needs fewer packages and half the time.
server: deps-run
	cmake --preset release > /dev/null
	cmake --build --preset release --target sdlua
release: deps
	cmake --preset release > /dev/null
	cmake --build --preset release
dev: deps
	cmake --preset dev > /dev/null
	cmake --build --preset dev

lint: dev
	spec/lint.sh

# Compare with the floors and the peers; writes bench/results.md.
bench: release
	bench/run.py
	bench/relay.py --out bench/results-relay.md
bench-instructions: deps
	bench/instructions.sh

# Every fuzz target for SECONDS each.
fuzz: deps
	spec/fuzz.sh $(SECONDS)

# The slow versions of the stress programs.
soak: dev release
	spec/soak.sh

# Debian packages, by name: those that are missing, all of them or (deps-run)
# without what only specs and bench use.
deps:
	deploy/deps.sh
deps-run:
	deploy/deps.sh run

# docs/config.md, from the schema.
docs: release
	SD_LIB=build/release/libsdpure.so luajit spec/support/config_md.lua \
		> docs/config.md

install: server
	cmake --install build/release --prefix $(PREFIX)

clean:
	rm -rf build
