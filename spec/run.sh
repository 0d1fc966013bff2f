#!/bin/bash
# The whole test: build both ways, run every spec, fuzz shortly, look for leaks.
#
# Specs mostly wait, so what only computes runs beside them, at low priority.
# The last line is the sum: "312 passed, 0 failed".  Logs are in build/test.
set -u
cd "$(dirname "$0")/.." || exit 1
logs=build/test
rm -rf $logs
mkdir -p $logs

# suite NAME COMMAND...: run it, note what busted counted.  A suite that is no
# busted run counts as one; a pending spec or none at all is a failure.
suite() {
    local name=$1 log="$logs/$1.log" start=$SECONDS line good bad status
    shift
    "$@" > "$log" 2>&1 < /dev/null
    status=$?
    line=$(grep -aoE '[0-9]+ success(es)? / [0-9]+ failures? / [0-9]+ errors?( / [0-9]+ pending)?' \
        "$log" | tail -1)
    if [ -n "$line" ]; then
        read -r good bad <<< "$(echo "$line" |
            awk '{print $1, $4 + $7 + $10}')"
    else
        good=$((status == 0)) bad=$((status != 0))
    fi
    if [ "$bad" = 0 ]; then
        [ "$status" = 0 ] && [ "$good" != 0 ] || bad=1
    fi
    echo "$good $bad" > "$logs/$name.count"
    {
        echo "== $name: $good passed, $bad failed, $((SECONDS - start)) s"
        [ "$bad" = 0 ] || { echo "--- $log"; tail -n 150 "$log"; }
    } > "$logs/$name.out"
    cat "$logs/$name.out"
}

build() {
    cmake --preset "$1" && cmake --build --preset "$1"
}

specs() {
    local preset=$1 task=$2
    shift 2
    spec/busted.sh "$preset" "--run=$task" -o plainTerminal "$@"
}

# Both halves of the slow specs at once: every node has ports, files and
# processes of its own.
e2e() {
    local halves=("" "") i=0 file first
    for file in spec/e2e/*_spec.lua; do
        halves[i]+=" $file"
        i=$((1 - i))
    done
    # shellcheck disable=SC2086
    suite "e2e-$1-1" specs "$1" e2e ${halves[0]} &
    first=$!
    # shellcheck disable=SC2086
    suite "e2e-$1-2" specs "$1" e2e ${halves[1]}
    wait $first
}

suite build-dev build dev
suite build-release build release
{
    suite fuzz nice -n 5 spec/fuzz.sh "${FUZZ_SECONDS:-2}"
    suite lint nice -n 5 spec/lint.sh
} &
suite unit-dev specs dev default
suite unit-release specs release default
e2e dev
e2e release
# Hosts in namespaces: these need root (docs/testing.md).
{
    suite cluster-dev specs dev cluster
    suite cluster-release specs release cluster
} &
suite valgrind spec/valgrind.sh
wait

awk '{good += $1; bad += $2} END {
    printf "%d passed, %d failed\n", good, bad
    exit bad != 0
}' $logs/*.count
