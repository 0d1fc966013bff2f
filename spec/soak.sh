#!/bin/bash
# The slow versions: the stress programs with as many rounds as their first
# comments say, and the specs that roll dice with more of everything.  All of
# them run, also behind one that fails.
set -u
cd "$(dirname "$0")/.."
failed=()

part() {
    local name=$1
    shift
    echo "== $name"
    env "$@" || failed+=("$name")
}

for name in mesh_kill ring_kill ring_stress teller_sim uidmap_kill uidmap_last; do
    part $name "build/dev/spec/stress/$name"
done
part deliver_sim build/dev/spec/stress/deliver_sim \
    "${SPEC_SEEDS:-20000}" "${SPEC_SEED:-$RANDOM}"
part races SPEC_RACES="${SPEC_RACES:-5000}" \
    spec/busted.sh dev -o plainTerminal spec/e2e/race_spec.lua
part crowd SPEC_CROWD_SECONDS="${SPEC_CROWD_SECONDS:-60}" \
    SPEC_CROWD_CONNS="${SPEC_CROWD_CONNS:-1000}" \
    spec/busted.sh dev -o plainTerminal spec/e2e/crowd_spec.lua
part reloads SPEC_RELOADS="${SPEC_RELOADS:-100}" \
    SPEC_RELOAD_PAUSE="${SPEC_RELOAD_PAUSE:-2}" \
    SPEC_RELOAD_CONNS="${SPEC_RELOAD_CONNS:-1000}" \
    SPEC_RELOAD_RATE="${SPEC_RELOAD_RATE:-2500}" \
    spec/busted.sh release --run=e2e -o plainTerminal spec/e2e/reload_load_spec.lua
for what in soak trouble messages; do
    part "a cluster: $what" SPEC_SECONDS="${SPEC_SECONDS:-300}" \
        spec/busted.sh release --run=cluster -o plainTerminal "spec/cluster/${what}_spec.lua"
done
part membership SPEC_GOSSIP_SEEDS="${SPEC_GOSSIP_SEEDS:-20}" \
    spec/busted.sh release -o plainTerminal spec/unit/gossip_sim_spec.lua

for name in "${failed[@]}"; do
    echo "failed: $name"
done
exit $((${#failed[@]} > 0))
