#!/usr/bin/python3
"""Compare sdlua with the floors and the peers; print and keep the figures.

Servers run on core 0, the load generator on core 1; where two workers take
part, they run on both, and so does the generator.  Each round gives every
server every workload once, one after the other, so that a noisy minute hits
all alike; figures are medians over the rounds, ratios are medians of the
ratios within each round.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys

import report
from servers import NotAvailable, ROOT, STARTERS, start_slow, versions, \
    worker_pids

# name, flags of bench/load, the port it goes to
WORKLOADS = [
    ("W1", ["--workload", "W1"], "http"),
    ("W2", ["--workload", "W2"], "tcp"),
    ("W2 x16", ["--workload", "W2", "--depth", "16"], "tcp"),
    ("W3", ["--workload", "W3"], "http"),
    ("W3 x16", ["--workload", "W3", "--depth", "16"], "http"),
    ("W4 1k", ["--workload", "W4", "--conns", "1000"], "fan-out"),
    ("W4 1k x16", ["--workload", "W4", "--conns", "1000", "--depth", "16"],
     "fan-out"),
    ("W4 10k", ["--workload", "W4", "--conns", "10000"], "fan-out"),
    ("W4 10k x16", ["--workload", "W4", "--conns", "10000", "--depth", "16"],
     "fan-out"),
    ("W8", ["--workload", "W8"], "http"),
    ("uid", ["--workload", "UID", "--conns", "1"], "uid"),
    ("uid x16", ["--workload", "UID", "--depth", "16"], "uid"),
]
CORES = {"uid": "0,1"}  # of the load generator, by port
IDLE = [
    ("W7", ["--workload", "W7"], "tcp"),
    ("W7 ws", ["--workload", "W7WS"], "http"),
]
SLOW = ["drop_new", "drop_old"]  # policies of ports
SLOW_CONNS = 200
SLOW_HIGH = 256 << 10
SLOW_SECONDS = "15"  # the kernel takes in 4 MB for each, which is 8


def parse_flags():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rounds", type=int,
                   default=int(os.environ.get("ROUNDS", "9")))
    p.add_argument("--seconds", default=os.environ.get("SECONDS_EACH", "1"),
                   help="measured time of one workload in one round")
    p.add_argument("--build", default=os.path.join(ROOT, "build/release"))
    p.add_argument("--only", default="", help="workloads, as in 'W1,W2 x16'")
    p.add_argument("--servers", default=",".join(STARTERS))
    p.add_argument("--conns", default="10000", help="idle conns of W7")
    p.add_argument("--out", default=os.path.join(ROOT, "bench/results.md"))
    p.add_argument("--gate", action="store_true",
                   help="exit 1 when a figure is missed by more than 10 %%")
    return p.parse_args()


def start_all(flags):
    """Name -> server, and name -> why it is not there."""
    running, missing = {}, {}
    for name in flags.servers.split(","):
        try:
            running[name] = STARTERS[name](flags.build)
        except NotAvailable as e:
            missing[name] = str(e)
            print(f"{name}: not available: {e}", flush=True)
    return running, missing


def load(flags, server, arguments, port, pid=None):
    """One run of the load generator; None when the server has no such port."""
    if port not in server.ports:
        return None
    command = ["taskset", "-c", CORES.get(port, "1"),
               os.path.join(flags.build, "bench/load"),
               *arguments, "--port", str(server.ports[port]),
               "--pid", pid or str(server.pid)]
    done = subprocess.run(command, capture_output=True, text=True,
                          timeout=120)
    if done.returncode != 0:
        sys.exit(f"{server.name}: {' '.join(arguments)}: wrong answers: "
                 f"{done.stderr.strip()}")
    return json.loads(done.stdout)


def chosen(flags, workloads):
    names = [n.strip() for n in flags.only.split(",") if n.strip()]
    return [w for w in workloads if not names or w[0] in names]


def run_rounds(flags, running, results):
    arguments = ["--seconds", flags.seconds, "--requests", "1000000000",
                 "--warmup", "5000"]
    for number in range(1, flags.rounds + 1):
        for name, workload, port in chosen(flags, WORKLOADS):
            for server in running.values():
                r = load(flags, server, workload + arguments, port)
                if r:
                    results.setdefault(name, {}).setdefault(
                        server.name, []).append(r)
        run_hops(flags, running, results)
        print(f"round {number} of {flags.rounds}", flush=True)


def run_hops(flags, running, results):
    """What a message between two processes costs without a server."""
    if "sdlua-2" not in running or not chosen(flags, [("uid",)]):
        return
    hops = results.setdefault("hops", {})
    ping_pong = subprocess.run([os.path.join(flags.build, "bench/pingpong")],
                               capture_output=True, text=True, check=True)
    hops.setdefault("eventfd ping-pong, there and back", []).append(
        json.loads(ping_pong.stdout))
    ring = subprocess.run([os.path.join(flags.build,
                                        "spec/stress/mesh_hop")],
                          capture_output=True, text=True, check=True)
    # Each message waits for the answer to the last one: two hops.
    found = re.search(r"batch +1: sender.*, +(\d+) ns a message", ring.stdout)
    hops.setdefault("ring, busy, one way", []).append(
        {"p50_us": int(found.group(1)) / 2000})


def run_idle(flags, running, results):
    """Each figure from a fresh process: memory once given back to a heap
    would hide what the next conns take."""
    for name, workload, port in chosen(flags, IDLE):
        for starter in [n for n in running if port in running[n].ports]:
            server = STARTERS[starter](flags.build)
            try:
                r = load(flags, server,
                         workload + ["--conns", flags.conns], port)
            finally:
                server.stop()
            if r:
                results.setdefault(name, {})[server.name] = [r]


def run_slow(flags, results):
    """Memory of the one worker while most of its clients do not read."""
    if not chosen(flags, [("slow",)]):
        return
    for policy in SLOW:
        server = start_slow(flags.build, policy, SLOW_HIGH)
        try:
            r = load(flags, server, ["--workload", "SLOW", "--conns",
                                     str(SLOW_CONNS), "--seconds",
                                     SLOW_SECONDS],
                     "tcp", worker_pids(server)[0])
        finally:
            server.stop()
        if r["dropped"] == 0:
            sys.exit("slow: nothing was dropped, so no queue was full")
        r["bound"] = SLOW_CONNS * SLOW_HIGH + (20 << 20)
        results.setdefault("slow", {})[policy] = [r]


def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def start_figures(flags):
    """Start to serving, and the memory of an empty worker."""
    server = STARTERS["sdlua"](flags.build)
    try:
        sizes = [pss(pid) for pid in worker_pids(server)]
        return {"start_seconds": server.start_seconds,
                "worker_pss": max(sizes, default=0)}
    finally:
        server.stop()


def main():
    flags = parse_flags()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    results, start = {}, None
    if not os.path.exists(os.path.join(flags.build, "bench/load")):
        sys.exit("bench/load is not built: cmake --build --preset release")
    running, missing = start_all(flags)
    try:
        run_rounds(flags, running, results)
    finally:
        for server in running.values():
            server.stop()
    run_idle(flags, running, results)
    if "sdlua" in running:
        run_slow(flags, results)
        start = start_figures(flags)
    text, failed = report.render(flags, results, missing, start,
                                 versions(flags.build))
    with open(flags.out, "w") as f:
        f.write(text)
    print(text)
    return 1 if failed and flags.gate else 0


if __name__ == "__main__":
    sys.exit(main())
