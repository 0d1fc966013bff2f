#!/bin/bash
# The slow versions: the stress programs with as many rounds as their first
# comments say, and the specs that roll dice with more of everything.
set -eu
cd "$(dirname "$0")/.."
for name in mesh_kill ring_kill ring_stress teller_sim uidmap_kill uidmap_last; do
    echo "== $name"
    "build/dev/spec/stress/$name"
done
echo "== deliver_sim"
build/dev/spec/stress/deliver_sim "${SD_SEEDS:-20000}" "${SD_SEED:-$RANDOM}"
echo "== races"
SD_RACES=${SD_RACES:-5000} \
    spec/busted.sh dev -o plainTerminal spec/e2e/race_spec.lua
echo "== crowd"
SD_CROWD_SECONDS=${SD_CROWD_SECONDS:-60} SD_CROWD_CONNS=${SD_CROWD_CONNS:-1000} \
    spec/busted.sh dev -o plainTerminal spec/e2e/crowd_spec.lua
echo "== reloads"
SD_RELOADS=${SD_RELOADS:-100} SD_RELOAD_PAUSE=${SD_RELOAD_PAUSE:-2} \
    SD_RELOAD_CONNS=${SD_RELOAD_CONNS:-1000} SD_RELOAD_RATE=${SD_RELOAD_RATE:-2500} \
    spec/busted.sh release --run=e2e -o plainTerminal spec/e2e/reload_load_spec.lua
for what in soak trouble messages; do
    echo "== a cluster: $what"
    SD_SPEC_SECONDS=${SD_SPEC_SECONDS:-300} \
        spec/busted.sh release --run=cluster -o plainTerminal spec/cluster/${what}_spec.lua
done
echo "== membership"
SD_GOSSIP_SEEDS=${SD_GOSSIP_SEEDS:-20} \
    spec/busted.sh release -o plainTerminal spec/unit/gossip_sim_spec.lua
