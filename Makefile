# The thin front of the build: every line here is one command of CMake, busted
# or bench.  CMakePresets.json and spec/ hold the rest.
.PHONY: start test lint bench bench-instructions fuzz soak deps docs install \
	clean release dev

PREFIX ?= /usr/local
SECONDS ?= 60

# Build and run the example application (this folder) in the foreground.
start: release
	build/release/sdlua start

# Everything that says whether this tree is good; ends with one line of counts.
test: deps-there
	spec/run.sh

# One build each.
release: deps-there
	cmake --preset release > /dev/null
	cmake --build --preset release
dev: deps-there
	cmake --preset dev > /dev/null
	cmake --build --preset dev

lint: dev
	spec/lint.sh

# Compare with the floors and the peers; writes bench/results.md.
bench: release
	bench/run.py
bench-instructions: deps-there
	bench/instructions.sh

# Every fuzz target for SECONDS each.
fuzz: deps-there
	spec/fuzz.sh $(SECONDS)

# The slow versions of the stress programs.
soak: dev
	spec/soak.sh

# Debian packages, by name.
deps:
	deploy/deps.sh
.PHONY: deps-there
deps-there:
	@deploy/deps.sh --check || deploy/deps.sh

# docs/config.md, from the schema.
docs: release
	SD_LIB=build/release/libsdpure.so luajit spec/support/config_md.lua \
		> docs/config.md

install: release
	cmake --install build/release --prefix $(PREFIX)

clean:
	rm -rf build
