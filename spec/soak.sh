#!/bin/bash
# The slow versions: the stress programs for as long as they like, see each
# one's first comment, and the specs that roll dice with more of everything.
set -eu
cd "$(dirname "$0")/.."
for source in spec/stress/*.c; do
    name=$(basename "$source" .c)
    echo "== $name"
    "build/dev/spec/stress/$name"
done
echo "== races"
SD_RACES=${SD_RACES:-5000} \
    spec/busted.sh dev -o plainTerminal spec/e2e/race_spec.lua
echo "== crowd"
SD_CROWD_SECONDS=${SD_CROWD_SECONDS:-60} SD_CROWD_CONNS=${SD_CROWD_CONNS:-1000} \
    spec/busted.sh dev -o plainTerminal spec/e2e/crowd_spec.lua
