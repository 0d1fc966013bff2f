#!/usr/bin/python3
"""W6: messages between two clients through one relay.

sdlua's relay, with and without encryption, beside nats-server and beside the
least that any relay must do.  What is between the clients runs on core 0, the
two clients, in one program, on core 1.  Each round gives every server every
workload once; figures are medians over the rounds, ratios are medians of the
ratios within each round.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from servers import NotAvailable, PEERS, PIN, ROOT, output

# name, flags of relay_load
WORKLOADS = [
    ("64 B, window 1024", ["--size", "64", "--window", "1024"]),
    ("1 KiB, window 1024", ["--size", "1024", "--window", "1024"]),
    ("64 B at 20,000/s", ["--size", "64", "--rate", "20000"]),
]
CLUSTER = """return { enable = true, key = "%s", bind = "127.0.0.1:0",
    discovery = "seeds", encrypt = %s }"""
# what is not to be exceeded, of nats-server's CPU time at 64 B
LIMITS = {"sdlua": 0.75, "sdlua plain": 0.55}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Between:
    """A running relay, which clients of that kind can use."""

    def __init__(self, name, command, port, flags, folder=None):
        self.name, self.port, self.flags = name, port, flags
        self.folder = folder
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            PIN + command, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log)
        deadline = time.monotonic() + 15
        while not self.listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise NotAvailable(name + " does not listen")
            time.sleep(0.01)

    def listens(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def pids(self):
        """Who carries the messages: of a dispatch its relay."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid), "-f", "sdlua: relay"],
            capture_output=True, text=True).stdout.split()
        return ",".join(found) or str(self.process.pid)

    def load(self, build, flags, seconds):
        done = subprocess.run(
            ["taskset", "-c", "1", os.path.join(build, "bench/relay_load"),
             "--port", str(self.port), "--pid", self.pids(),
             "--seconds", seconds, *self.flags, *flags],
            capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            sys.exit(f"{self.name}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def start_floor(build):
    port = free_port()
    return Between("floor", [os.path.join(build, "bench/relay_floor"),
                             "--port", str(port)], port, ["--peer", "floor"])


def start_nats(_build):
    """Unpacked, not installed: its service would be started."""
    root = os.path.join(PEERS, "nats")
    if not os.path.isdir(root):
        os.makedirs(PEERS, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=PEERS) as folder:
            output(["apt-get", "download", "nats-server"], cwd=folder)
            for package in os.listdir(folder):
                output(["dpkg-deb", "-x", package, "root"], cwd=folder)
            os.rename(os.path.join(folder, "root"), root)
    found = [os.path.join(root, folder, "nats-server")
             for folder in ("usr/bin", "usr/sbin")]
    program = next(filter(os.path.exists, found), None)
    if program is None:
        raise NotAvailable("nats-server is not in its package")
    port = free_port()
    return Between("nats-server", [program, "-a", "127.0.0.1", "-p",
                                   str(port)], port, ["--peer", "nats"])


def start_relay(build, encrypt):
    program = os.path.join(build, "sdlua")
    folder = tempfile.mkdtemp(prefix="sdlua-bench-")
    key, port = output([program, "key"]), free_port()
    os.mkdir(os.path.join(folder, "config"))
    for name, text in (
            ("cluster", CLUSTER % (key, "true" if encrypt else "false")),
            ("dispatch", "return { relays = 1, port = %d }" % port),
            ("admin", 'return { listen = "off" }')):
        with open(os.path.join(folder, "config", name + ".lua"), "w") as f:
            f.write(text)
    return Between("sdlua" if encrypt else "sdlua plain",
                   [program, "-C", folder, "dispatch", "start"], port,
                   ["--peer", "link", "--key", key,
                    "--plain", "no" if encrypt else "yes"], folder)


STARTERS = [start_floor, start_nats, lambda build: start_relay(build, True),
            lambda build: start_relay(build, False)]


def start_all(build):
    running = []
    for start in STARTERS:
        try:
            running.append(start(build))
        except NotAvailable as e:
            print(f"not available: {e}", flush=True)
    return running


def ratio(ours, theirs, figure):
    return statistics.median(a[figure] / b[figure]
                             for a, b in zip(ours, theirs))


HEAD = """# Results of `bench/relay.py`

%s UTC, commit %s. Medians of %d interleaved rounds of %s s; what is between the
clients runs on core 0, the clients on core 1. CPU is user and system time of the
server for one message; nats-server and the floor do not encrypt.
"""


def rows_of(servers):
    """Of each server its name and medians, the ratios last."""
    for name, runs in servers.items():
        yield [name] + [statistics.median(r[f] for r in runs)
                        for f in ("cpu_us", "per_second", "p50_us", "p99_us")
                        ] + [ratio(runs, servers[other], "cpu_us")
                             if other in servers else float("nan")
                             for other in ("nats-server", "floor")]


def table_of(workload, servers):
    lines = [f"\n## {workload}\n",
             "| | CPU us | messages/s | p50 us | p99 us | x nats | x floor |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows_of(servers):
        lines.append("| {} | {:.3f} | {:,.0f} | {:.1f} | {:.1f} | {:.2f} | "
                     "{:.2f} |".format(*row))
    return "\n".join(lines)


def is_missed(results):
    return any(row[5] > LIMITS.get(row[0], float("inf"))
               for workload, servers in results.items()
               if workload.startswith("64 B, window")
               for row in rows_of(servers))


def show(results, flags):
    text = "\n".join(table_of(*item) for item in results.items()) + "\n"
    print(text)
    if flags.out:
        commit = output(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"])
        now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        with open(flags.out, "w") as f:
            f.write(HEAD % (now, commit, flags.rounds, flags.seconds) + text)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", default="1")
    p.add_argument("--build", default=os.path.join(ROOT, "build/release"))
    p.add_argument("--out", help="a file for the tables, as Markdown")
    p.add_argument("--gate", action="store_true",
                   help="exit 1 when a limit is missed")
    flags = p.parse_args()
    results = {}
    running = start_all(flags.build)
    try:
        for number in range(1, flags.rounds + 1):
            for name, arguments in WORKLOADS:
                for between in running:
                    results.setdefault(name, {}).setdefault(
                        between.name, []).append(
                            between.load(flags.build, arguments,
                                         flags.seconds))
            print(f"round {number} of {flags.rounds}", flush=True)
    finally:
        for between in running:
            between.stop()
    show(results, flags)
    return 1 if flags.gate and is_missed(results) else 0


if __name__ == "__main__":
    sys.exit(main())
