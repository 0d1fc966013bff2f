#!/bin/bash
# The whole test: build both ways, run every spec, fuzz shortly, look for leaks.
#
# Suites run one after the other, as the machine may be small.  The last line
# is the sum: "312 passed, 0 failed".
set -u
cd "$(dirname "$0")/.." || exit 1
mkdir -p build
passed=0 failed=0

# suite NAME COMMAND...: run it, add up what busted counted.
suite() {
    local name=$1 log="build/$1.log" start=$SECONDS line good bad
    shift
    echo "== $name"
    "$@" > "$log" 2>&1
    local status=$?
    line=$(grep -aoE '[0-9]+ success(es)? / [0-9]+ failures? / [0-9]+ errors?' \
        "$log" | tail -1)
    if [ -n "$line" ]; then
        read -r good bad <<< "$(echo "$line" |
            awk '{print $1, $4 + $7}')"
    else
        good=$((status == 0)) bad=$((status != 0))
    fi
    [ "$status" = 0 ] || [ "$bad" != 0 ] || bad=1
    passed=$((passed + good)) failed=$((failed + bad))
    echo "   $good passed, $bad failed, $((SECONDS - start)) s"
    [ "$bad" = 0 ] || { echo "--- $log"; tail -n 150 "$log"; }
}

build() {
    cmake --preset "$1" && cmake --build --preset "$1"
}

suite build-dev build dev
suite build-release build release
suite unit-dev spec/busted.sh dev -o plainTerminal
suite unit-release spec/busted.sh release -o plainTerminal
suite e2e-dev spec/busted.sh dev --run=e2e -o plainTerminal
suite e2e-release spec/busted.sh release --run=e2e -o plainTerminal
suite valgrind spec/valgrind.sh
suite fuzz spec/fuzz.sh "${FUZZ_SECONDS:-2}"
suite lint spec/lint.sh

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
