#!/bin/sh
# Run busted with the runtime's libraries of one build.
#
#   spec/busted.sh dev|release [busted arguments]
#
# The sanitized library needs ASan in the process before LuaJIT starts; leaks
# are looked for by the valgrind run, not here (busted itself leaks).
set -eu
cd "$(dirname "$0")/.."
build=$1
shift
export SD_BUILD="build/$build"
export SD_LIB="$SD_BUILD/libsdpure.so"
if [ "$build" = dev ]; then
    asan=$(gcc -print-file-name=libasan.so)
    export SD_PRELOAD="$asan"
    export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1"
    export UBSAN_OPTIONS="print_stacktrace=1"
    exec env LD_PRELOAD="$asan" busted "$@"
fi
exec busted "$@"
