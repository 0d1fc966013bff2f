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

# part I N PRESET TASK: every N-th of the slow specs from the I-th on.  Parts
# run beside each other: every node has ports, files and processes of its own.
part() {
    local i=$1 n=$2 preset=$3 task=$4 all files=() k
    all=(spec/"$task"/*_spec.lua)
    for ((k = i - 1; k < ${#all[@]}; k += n)); do
        files+=("${all[k]}")
    done
    suite "$task-$preset-$i" specs "$preset" "$task" "${files[@]}"
}

suite build-dev build dev
suite build-release build release
{
    suite fuzz nice -n 5 spec/fuzz.sh "${FUZZ_SECONDS:-2}"
    suite lint nice -n 5 spec/lint.sh
} &
# Four at a time, each with half of everything.  Those of the cluster are on
# hosts in namespaces and need root (docs/testing.md).
{
    suite unit-dev specs dev default
    part 1 2 dev e2e
    part 1 2 dev cluster
} &
{
    part 2 2 dev e2e
    part 2 2 dev cluster
} &
{
    suite unit-release specs release default
    part 1 2 release e2e
    part 1 2 release cluster
} &
{
    part 2 2 release e2e
    part 2 2 release cluster
    suite valgrind spec/valgrind.sh
} &
wait

awk '{good += $1; bad += $2} END {
    printf "%d passed, %d failed\n", good, bad
    exit bad != 0
}' $logs/*.count
