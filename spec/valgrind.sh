#!/bin/sh
# The smoke spec with the release build under valgrind: no error, no leak.
set -eu
cd "$(dirname "$0")/.."
export SD_VALGRIND=1 SD_CONFIG_SECONDS=100
exec spec/busted.sh release -o plainTerminal spec/e2e/smoke_spec.lua
