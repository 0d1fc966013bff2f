#!/bin/bash
# The whole test: build both ways, run every spec, fuzz shortly, look for leaks.
#
# Specs mostly wait, so four run beside each other, each a file of its own:
# every node has ports, files and processes of its own.  What only computes runs
# beside them, at low priority.  The last line is the sum: "312 passed, 0
# failed".  Logs are in build/test.
set -u
cd "$(dirname "$0")/.." || exit 1
export logs=build/test
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
    echo "${name%%.*} $good $bad $((SECONDS - start))" > "$logs/$name.count"
    [ "$bad" = 0 ] || {
        echo "== $name: $good passed, $bad failed"
        echo "--- $log"
        tail -n 150 "$log"
    } > "$logs/$name.out"
    [ "$bad" = 0 ] || cat "$logs/$name.out"
}
export -f suite

build() {
    cmake --preset "$1" && cmake --build --preset "$1"
}

# A line for each run of busted.  Of the slow specs every file is one, the long
# ones first; those of the cluster are on hosts in namespaces and need root
# (docs/testing.md).
runs() {
    local task file preset
    for task in cluster e2e; do
        for preset in dev release; do
            for file in $(ls -S spec/"$task"/*_spec.lua); do
                echo "$task-$preset.$(basename "$file" _spec.lua)" \
                    spec/busted.sh $preset --run=$task -o plainTerminal "$file"
            done
        done
    done
    for preset in dev release; do
        echo unit-$preset spec/busted.sh $preset --run=default -o plainTerminal
    done
}

suite build-dev build dev
suite build-release build release
{
    suite fuzz nice -n 5 spec/fuzz.sh "${FUZZ_SECONDS:-2}"
    suite lint nice -n 5 spec/lint.sh
    suite valgrind nice -n 5 spec/valgrind.sh
} &
runs > $logs/runs
xargs -P 4 -L 1 bash -c 'suite "$@"' suite < $logs/runs
wait

# Whoever died before it could count has failed, and so has a suite without runs.
{
    cut -d' ' -f1 $logs/runs
    printf '%s\n' fuzz lint valgrind
} | while read -r name; do
    [ -f "$logs/$name.count" ] || echo "${name%%.*} 0 1 0" > "$logs/$name.count"
done
for name in {cluster,e2e}-{dev,release}; do
    grep -q "^$name\." $logs/runs || echo "$name 0 1 0" > "$logs/$name.count"
done

# Once more, in few words: which have failed, and where.
for out in "$logs"/*.out; do
    [ -f "$out" ] || continue
    head -1 "$out"
    { grep -aA 1 -E '^(Failure|Error|Pending) ->' "$out" || tail -n 8 "$out"; } |
        grep -v '^--$' | cut -c 1-200 | head -20
done

awk '{good[$1] += $2; bad[$1] += $3; took[$1] += $4} END {
    for (name in good)
        printf "== %s: %d passed, %d failed, %d s\n", name, good[name],
            bad[name], took[name]
}' $logs/*.count | sort
awk '{good += $2; bad += $3} END {
    printf "%d passed, %d failed\n", good, bad
    exit bad != 0
}' $logs/*.count
