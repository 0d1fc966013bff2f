#!/usr/bin/python3
"""The constants of docs/scale.md: what a conn, a uid, a link and a message
cost in a cluster of two nodes, one relay and a Redis on this machine.

    bench/cost/scale.py [SDLUA] [CONNS]      default: build/release/sdlua 15000

CPU is user and system time of all processes that a message passes, from
/proc, so a machine that is busy besides changes little.  Memory is PSS, which
shares out what processes share.
"""
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
PAIRS = 9
NAME = "scale-%d" % os.getpid()
SCRIPT = """
local sd = require("sd")
local Cost = {}

function Cost:who()
    return { slot = sd.slot }
end

function Cost:bind(p)
    return self:bind_uid(p.uid)
end

-- n messages, `batch` in a turn.
function Cost:post(p)
    local data, sent = ("x"):rep(p.size), 0
    while sent < p.n do
        for _ = 1, p.batch do
            if sd.send_to_uid(p.uid, data) then
                sent = sent + 1
            end
        end
        sd.sleep(0.001)
    end
    return { sent = sent }
end

return Cost
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


HOOKS = """
local app = {}

function app.on_undeliverable(uid, _, reason)
    require("sd").log.warn("not delivered", { uid = uid, reason = reason })
end

return app
"""


class Process:
    """A server, and what it starts."""

    def __init__(self, command, env=None):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=self.log, env={**os.environ, **(env or {})})

    def pids(self):
        pid = self.process.pid
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [pid, *map(int, f.read().split())]

    def cpu(self):
        total = 0
        for pid in self.pids():
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def pss(self):
        total = 0
        for pid in self.pids():
            with open("/proc/%d/smaps_rollup" % pid) as f:
                for line in f:
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Member(Process):
    def __init__(self, sdlua, folder, name, verbs=(), workers=2, redis=0):
        self.dir = os.path.join(folder, name)
        self.status_command = [sdlua, "-C", self.dir, *verbs, "status",
                               "--json"]
        for sub in "config", "scripts/controllers":
            os.makedirs(os.path.join(self.dir, sub))
        self.write("config/ports.lua", """return { game = { frame = "line",
            listen = "127.0.0.1:0", idle_timeout = 0 } }""")
        self.write("scripts/controllers/cost.lua", SCRIPT)
        self.write("scripts/app.lua", HOOKS)
        super().__init__([sdlua, "-C", self.dir, *verbs, "start"], {
            "SD_NODE_NAME": name, "SD_ADMIN_LISTEN": "off",
            "SD_CLUSTER_ENABLE": "true", "SD_CLUSTER_NAME": NAME,
            "SD_REDIS_DEFAULT_URL": "redis://127.0.0.1:%d" % redis,
            "SD_SERVER_WORKERS": str(workers), "SD_SERVER_TASKS": "0",
            "SD_DISPATCH_RELAYS": "1"})
        while not self.status():
            if self.process.poll() is not None:
                self.log.seek(0)
                sys.exit(self.log.read().decode())
            time.sleep(0.05)

    def write(self, path, text):
        with open(os.path.join(self.dir, path), "w") as f:
            f.write(text)

    def status(self):
        out = subprocess.run(self.status_command, capture_output=True,
                             check=False).stdout
        return json.loads(out) if out else None

    def port(self):
        return self.status()["ports"][0]["port"]


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(20)
        self.rest = b""

    def send(self, method, **params):
        self.socket.sendall(json.dumps(
            {"controller_name": "cost", "method_name": method,
             "params": params, "id": 1}).encode() + b"\r\n")

    def line(self):
        while b"\n" not in self.rest:
            self.rest += self.socket.recv(65536)
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def call(self, method, **params):
        self.send(method, **params)
        answer = self.line()
        if "error" in answer:
            sys.exit(answer)
        return answer["result"]

    def skip(self, lines):
        """Read so many, without looking."""
        lines -= self.rest.count(b"\n")
        while lines > 0:
            text = self.socket.recv(1 << 20)
            if not text:
                sys.exit("this client is too slow: it was closed")
            lines -= text.count(b"\n")
        self.rest = b""


def client_at(port, slot):
    while True:
        client = Client(port)
        if client.call("who")["slot"] == slot:
            return client


def wait_linked(dispatch, links):
    while sum(p["conns"] for p in dispatch.status()["processes"]
              if p["role"] == "relay") != links:
        time.sleep(0.1)


def say(name, value):
    print("%-58s %s" % (name, value), flush=True)


def messages(servers, sender, receiver, uid, size, batch, count):
    receiver.call("bind", uid=uid)
    sender.call("post", uid=uid, size=size, batch=1, n=5)  # finds the way
    receiver.skip(5)
    before = [s.cpu() for s in servers]
    sender.send("post", uid=uid, size=size, batch=batch, n=count)
    receiver.skip(count)
    sender.line()
    return [(s.cpu() - b) / count * 1e6 for s, b in zip(servers, before)]


def measure_ratio(a, b, dispatch):
    """What another node costs above another worker: of pairs, so that a
    machine whose speed changes does not count."""
    ratios = []
    for i in range(PAIRS):
        cost = []
        for node, slot in (a, 1), (b, 0):
            sender, receiver = client_at(a.port(), 0), client_at(node.port(),
                                                                 slot)
            cost.append(sum(messages([a, dispatch, b], sender, receiver,
                                     "pair %d" % i, 64, 100, 400000)))
            sender.socket.close()
            receiver.socket.close()
        ratios.append(cost[1] / cost[0])
    say("of 64 B, 100 in a turn: another node to another worker, of %d pairs"
        % PAIRS, "%.2fx (%.2f to %.2f)" % (statistics.median(ratios),
                                           min(ratios), max(ratios)))


def measure_messages(a, b, dispatch):
    servers = [a, dispatch, b]
    ways = ("same worker", a, 0), ("other worker", a, 1), ("other node", b, 0)
    for size, batch, count in (64, 100, 200000), (1024, 10, 20000), \
            (64, 1, 5000):
        for name, node, slot in ways:
            sender = client_at(a.port(), 0)
            receiver = client_at(node.port(), slot)
            cost = messages(servers, sender, receiver, "to " + name, size,
                            batch, count)
            say("us of a message of %d B, %d in a turn, %s"
                % (size, batch, name),
                "node %.2f, relay %.2f, other node %.2f" % tuple(cost))
            sender.socket.close()
            receiver.socket.close()


def redis_memory(port):
    out = subprocess.run(["redis-cli", "-p", str(port), "info", "memory"],
                         capture_output=True, text=True, check=True).stdout
    return int(out.split("used_memory:")[1].split()[0])


def measure_memory(b, dispatch, redis, count):
    """Of conns, then of their uids."""
    port, clients = b.port(), []
    start = b.pss()
    cpu = b.cpu()
    for _ in range(count):
        clients.append(Client(port))
    while b.status()["processes"] and sum(
            p["conns"] for p in b.status()["processes"]) < count:
        time.sleep(0.1)
    time.sleep(1)
    conns = b.pss()
    say("bytes of an idle conn, of %d" % count, round((conns - start) / count))
    say("us of an accept", "%.1f" % ((b.cpu() - cpu) / count * 1e6))
    store, relay, cpu = redis_memory(redis.port), dispatch.pss(), b.cpu()
    store_cpu = redis.cpu()
    for i, client in enumerate(clients):
        client.call("bind", uid="user-%08d" % i)
    time.sleep(2)
    say("bytes of a uid of 13 in its node", round((b.pss() - conns) / count))
    say("bytes of a uid in the relay",
        round((dispatch.pss() - relay) / count))
    say("bytes of a uid in Redis",
        round((redis_memory(redis.port) - store) / count))
    say("us of a bind, of the node and of Redis", "%.1f %.1f" % (
        (b.cpu() - cpu) / count * 1e6, (redis.cpu() - store_cpu) / count * 1e6))
    for process in b, dispatch, redis:
        process.before = process.cpu()
    time.sleep(10)
    say("us a second of all uids at rest: node, relay, Redis", "%.0f %.0f %.0f"
        % tuple((p.cpu() - p.before) / 10 * 1e6 for p in (b, dispatch, redis)))
    for client in clients:
        client.socket.close()


def measure_links(sdlua, folder, dispatch, redis):
    """A node with many workers more, of which each has a link."""
    relay, links = dispatch.pss(), sum(
        p["conns"] for p in dispatch.status()["processes"])
    big = Member(sdlua, folder, "big", workers=60, redis=redis.port)
    wait_linked(dispatch, links + 60)
    time.sleep(3)
    say("bytes of a link in the relay", round((dispatch.pss() - relay) / 60))
    before = dispatch.cpu(), big.cpu()
    time.sleep(10)
    say("us a second of an idle link: relay, worker with all it is",
        "%.0f %.0f" % tuple((p.cpu() - cpu) / 10 / 60 * 1e6
                            for p, cpu in zip((dispatch, big), before)))
    big.stop()


def main():
    sdlua = os.path.abspath(sys.argv[1] if len(sys.argv) > 1
                            else "build/release/sdlua")
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 15000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = tempfile.mkdtemp(prefix="sdlua-scale-")
    started = []
    try:
        port = free_port()
        redis = Process(["redis-server", "--port", str(port), "--save", ""])
        redis.port = port
        started.append(redis)
        for name, verbs in ("a", ()), ("b", ()), ("d", ("dispatch",)):
            started.append(Member(sdlua, folder, name, verbs, redis=port))
        a, b, dispatch = started[1:]
        wait_linked(dispatch, 4)
        if count > 0:
            measure_memory(b, dispatch, redis, count)
        measure_messages(a, b, dispatch)
        measure_ratio(a, b, dispatch)
        measure_links(sdlua, folder, dispatch, redis)
    except TimeoutError:
        for process in started:
            process.log.seek(0)
            print(process.log.read().decode()[-2000:], file=sys.stderr)
        raise
    finally:
        for process in reversed(started):
            process.stop()
        shutil.rmtree(folder)


main()
