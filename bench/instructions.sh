#!/bin/sh
# Count what a request costs in instructions and system calls, now and before.
#
#   bench/instructions.sh [flags of bench/instructions.py]
#
# "Before" is BASE, else the last commit when there are changes since, else
# the commit before that.  Both trees are built here, with the same compiler
# and the same bench programs; +5 % in any figure fails.
set -eu
cd "$(dirname "$0")/.."

if [ -z "${BASE:-}" ]; then
    BASE=HEAD
    git diff --quiet HEAD && BASE=HEAD~1
fi
base=$(git rev-parse --short "$BASE^{commit}")

# A tree of another commit is thrown away; the same one is built on.
tree=build/base/$base
if [ ! -d "$tree" ]; then
    rm -rf build/base
    mkdir -p "$tree"
    git archive "$base" | tar -x -C "$tree"
fi

build() (
    cd "$1"
    [ -d build/release ] || cmake --preset release >/dev/null
    cmake --build --preset release -- -j2 >build/release/bench.log 2>&1 || {
        cat build/release/bench.log
        exit 1
    }
)

build .
build "$tree"
exec /usr/bin/python3 bench/instructions.py --base "$tree/build/release" \
    --name "$base" "$@"
