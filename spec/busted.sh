#!/bin/sh
# Run busted with the runtime's libraries of one build.
#
#   spec/busted.sh dev|release [busted arguments]
#
# The sanitized library needs ASan in the process before LuaJIT starts; leaks
# are looked for by the valgrind run, not here (busted itself leaks).
#
# The specs' own process does without the JIT: once in many runs the one of
# Debian 12's LuaJIT cuts a pointer to 32 bits in what busted does, and all that
# a suite has found is gone with it.
set -eu
cd "$(dirname "$0")/.."
build=$1
shift
export SD_BUILD="build/$build"
export SD_LIB="$SD_BUILD/libsdpure.so"
set -- luajit -joff "$(command -v busted)" --ignore-lua "$@"
if [ "$build" = dev ]; then
    asan=$(gcc -print-file-name=libasan.so)
    export SD_PRELOAD="$asan"
    export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1"
    export UBSAN_OPTIONS="print_stacktrace=1"
    exec env LD_PRELOAD="$asan" "$@"
fi
exec "$@"
