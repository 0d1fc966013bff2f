#!/usr/bin/python3
"""Instructions and system calls per request, of this tree and of a base.

Seconds are noisy, counts are not: callgrind counts user-space instructions
with the JIT off (compiled traces differ from run to run), strace counts calls
of the bare server.  One conn keeps the batches the same in every run.  The
server is warmed up before counting, so what is made once is not counted.
"""

import argparse
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from servers import NotAvailable, ROOT, STARTERS, Server

WORKLOADS = [
    ("W1", ["--workload", "W1"], "http"),
    ("W2", ["--workload", "W2"], "tcp"),
    ("W2 x16", ["--workload", "W2", "--depth", "16"], "tcp"),
    ("W3", ["--workload", "W3"], "http"),
    ("W3 x16", ["--workload", "W3", "--depth", "16"], "http"),
]
REQUESTS = 4000
GRACE = 1.05
JITTER = 0.01  # of a call per request: a timer's wake-up in the window


def parse_flags():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default=os.path.join(ROOT, "build/release"))
    p.add_argument("--base", required=True, help="the base's build folder")
    p.add_argument("--name", default="base", help="how to call the base")
    p.add_argument("--server", default="sdlua", choices=sorted(STARTERS))
    return p.parse_args()


def served(server):
    return [w for w in WORKLOADS if w[2] in server.ports]


def load(server, arguments, port, requests):
    """Our own generator for both trees, whatever the base's can do."""
    command = [os.path.join(ROOT, "build/release/bench/load"), *arguments,
               "--port", str(server.ports[port]), "--conns", "1",
               "--requests", str(requests), "--warmup", "0",
               "--seconds", "60", "--stall", "60"]
    done = subprocess.run(command, capture_output=True, text=True,
                          timeout=180)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: {done.stderr.strip()}")


def family(pid):
    """The process and its descendants, but not the dead."""
    with open(f"/proc/{pid}/stat") as f:
        if f.read().rpartition(")")[2].split()[0] == "Z":
            return []
    pids = [str(pid)]
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with open(path) as f:
            for child in f.read().split():
                pids += family(child)
    return pids


def dump(server, folder):
    """Instructions of all processes since the last dump."""
    subprocess.run(["callgrind_control", "-d", *family(server.pid)],
                   check=True, capture_output=True, timeout=120)
    total = 0
    for path in glob.glob(os.path.join(folder, "counts.*")):
        with open(path) as f:
            found = re.search(r"^totals: (\d+)", f.read(), re.MULTILINE)
        total += int(found.group(1)) if found else 0
        os.remove(path)
    return total


def count_instructions(flags, build):
    """Workload -> instructions per request."""
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        Server.prefix = [
            "valgrind", "--tool=callgrind", "--trace-children=yes", "-q",
            "--main-stacksize=134217728",
            f"--callgrind-out-file={folder}/counts.%p"]
        server = STARTERS[flags.server](build)
        try:
            for name, arguments, port in served(server):
                load(server, arguments, port, REQUESTS // 4)
                dump(server, folder)
                load(server, arguments, port, REQUESTS)
                counts[name] = dump(server, folder) / REQUESTS
        finally:
            server.stop()
    return counts


def traced(server, run):
    """System calls of all processes while `run` runs."""
    with tempfile.NamedTemporaryFile("r") as out:
        pids = [word for pid in family(server.pid) for word in ("-p", pid)]
        strace = subprocess.Popen(["strace", "-f", "-c", "-o", out.name,
                                   *pids], stderr=subprocess.PIPE, text=True)
        for _ in range(len(pids) // 2):
            strace.stderr.readline()  # "Process N attached"
        run()
        time.sleep(0.05)  # the calls that follow the last answer
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=30)
        for line in out.read().splitlines():
            words = line.split()
            if words and words[-1] == "total":
                return int(words[3])
    sys.exit("strace printed no total")


def count_calls(flags, build):
    """Workload -> system calls per request."""
    counts = {}
    Server.prefix = []
    server = STARTERS[flags.server](build)
    try:
        for name, arguments, port in served(server):
            load(server, arguments, port, REQUESTS // 4)
            total = traced(
                server, lambda: load(server, arguments, port, REQUESTS))
            counts[name] = total / REQUESTS
    finally:
        server.stop()
    return counts


def compare(what, now, base, jitter):
    """Print one figure of all workloads; how many grew too much."""
    worse = 0
    for name, value in now.items():
        line = f"{name:7} {what:13} {value:12,.2f}"
        if base:
            old = base[name]
            bad = value > old * GRACE + jitter
            worse += bad
            line += f" {old:12,.2f} {100 * (value / old - 1):+7.1f} %"
            line += "  TOO MUCH" if bad else ""
        print(line)
    return worse


def main():
    flags = parse_flags()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ["SD_JIT"] = "off"
    Server.ready_limit = 60
    try:
        now = count_instructions(flags, flags.build), \
            count_calls(flags, flags.build)
    except NotAvailable as e:
        print(f"{flags.server}: cannot be measured: {e}")
        return 1
    try:
        base = count_instructions(flags, flags.base), \
            count_calls(flags, flags.base)
    except NotAvailable as e:
        print(f"{flags.name}: no base to compare with: {e}")
        base = None, None
    print(f"{'':7} {'per request':13} {'now':>12} {flags.name:>12}")
    worse = compare("instructions", now[0], base[0], 0)
    worse += compare("system calls", now[1], base[1], JITTER)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
