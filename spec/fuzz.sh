#!/bin/bash
# Build and run every fuzz target.
#
#   spec/fuzz.sh SECONDS    of each target
#
# New inputs go to build/fuzz/found/<name>; a crash leaves its input there and
# fails the run.  Add such an input to spec/fuzz/corpus/<name> with the fix.
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-60}
targets=$(cd spec/fuzz && ls ./*.c | sed 's,^./\(.*\)\.c$,fuzz_\1,')
cmake --preset fuzz > /dev/null || exit 1
# shellcheck disable=SC2086 # a list of names
cmake --build --preset fuzz --target $targets || exit 1

status=0
for source in spec/fuzz/*.c; do
    name=$(basename "$source" .c)
    found=build/fuzz/found/$name
    mkdir -p "$found"
    echo "== fuzz $name, $seconds s"
    if ! "build/fuzz/fuzz_$name" -max_total_time="$seconds" -verbosity=0 \
        -print_final_stats=0 -artifact_prefix="$found/crash-" \
        "$found" "spec/fuzz/corpus/$name"; then
        echo "fuzz $name failed; its input is in $found"
        status=1
    fi
done
exit $status
