"""The servers that are compared: how each is obtained, started and stopped.

A peer that cannot be had is a reason in plain words, never an invention.
Every server runs on core 0 and is ended by its pid; of two workers the second
one runs on core 1.
"""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BENCH = os.path.join(ROOT, "bench")
PEERS = os.path.join(ROOT, "build", "peers")
PIN = ["taskset", "-c", "0", "setpriv", "--pdeathsig", "TERM"]

NGINX_PACKAGES = [
    "nginx", "nginx-common", "libnginx-mod-http-lua", "libnginx-mod-http-ndk",
    "libluajit2-5.1-2", "libluajit2-5.1-common", "lua-resty-core",
    "lua-resty-lrucache", "lua-nginx-websocket", "lua-nginx-string",
    "lua-cjson",
]


class NotAvailable(Exception):
    """The server cannot run here; the text says why."""


class Server:
    """A running server: its pid and ports."""

    prefix = PIN      # what every server's command is put behind
    ready_limit = 15  # seconds

    def __init__(self, name, command, ports, env=None, folder=None):
        self.name = name
        self.ports = dict(ports)  # by what is asked there: see run.py
        self.folder = folder
        self.log = tempfile.TemporaryFile()
        began = time.monotonic()
        self.process = subprocess.Popen(
            self.prefix + command, env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.pid = self.process.pid
        self.http = ports["http"]
        try:
            self.wait_ready()
        except NotAvailable:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - began

    def wait_ready(self):
        """Until a request is answered: a master may listen for a worker that
        does not run yet."""
        deadline = time.monotonic() + self.ready_limit
        while not answers(self.http, deadline):
            if self.process.poll() is not None:
                raise NotAvailable("ended at start: " + self.last_words())
            if time.monotonic() > deadline:
                raise NotAvailable(
                    f"did not serve within {self.ready_limit} s: "
                    + self.last_words())
            time.sleep(0.002)

    def last_words(self):
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no output"

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


def answers(port, deadline):
    with socket.socket() as s:
        s.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            s.connect(("127.0.0.1", port))
            s.sendall(b"GET /bench/json HTTP/1.1\r\nHost: bench\r\n\r\n")
            return s.recv(12) == b"HTTP/1.1 200"
        except OSError:
            return False


def free_ports():
    """Two ports that nobody listens on at this moment."""
    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        return {"tcp": a.getsockname()[1], "http": b.getsockname()[1]}


def output(command, **kwargs):
    """What a command prints, or NotAvailable with its complaint."""
    try:
        done = subprocess.run(command, capture_output=True, text=True,
                              timeout=180, **kwargs)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise NotAvailable(str(e)) from e
    if done.returncode != 0:
        complaint = (done.stderr or done.stdout).strip().splitlines()
        raise NotAvailable(complaint[-1] if complaint else command[0])
    return done.stdout.strip() or done.stderr.strip()


def start_floor(name, build):
    program = os.path.join(build, "bench", name)
    if not os.path.exists(program):
        raise NotAvailable(program + " is not built")
    ports = free_ports()
    server = Server(name.replace("_", "-"),
                    [program, "--tcp", str(ports["tcp"]),
                     "--http", str(ports["http"])], ports)
    server.ports["fan-out"] = ports["tcp"]
    return server


def run_sdlua(name, build, env):
    program = os.path.join(build, "sdlua")
    if not os.path.exists(program):
        raise NotAvailable(program + " is not built")
    ports = free_ports()
    folder = tempfile.mkdtemp(prefix="sdlua-bench-")
    app = os.path.join(build, "../../bench/app")
    shutil.copytree(app, folder, dirs_exist_ok=True)
    env = {"BENCH_TCP_PORT": str(ports["tcp"]),
           "BENCH_HTTP_PORT": str(ports["http"]), **env}
    return Server(name, [program, "start", "-C", folder], ports, env, folder)


def start_sdlua(build):
    server = run_sdlua("sdlua", build, {})
    server.ports["fan-out"] = server.ports["tcp"]
    return server


def start_two_workers(build):
    """For what two workers do together; each has a core of its own."""
    server = run_sdlua("sdlua-2", build, {"SD_SERVER_WORKERS": "2"})
    deadline = time.monotonic() + server.ready_limit
    while len(worker_pids(server)) < 2:
        if time.monotonic() > deadline:
            server.stop()
            raise NotAvailable("the second worker does not run")
        time.sleep(0.01)
    for core, pid in enumerate(worker_pids(server)):
        output(["taskset", "-a", "-cp", str(core), pid])
    server.ports = {"uid": server.ports["tcp"]}
    return server


def start_slow(build, policy, high):
    """With a port that drops what its clients do not read."""
    return run_sdlua("sdlua", build, {
        "SD_PORTS_BENCH_SLOW_CLIENT_POLICY": policy,
        "SD_PORTS_BENCH_SLOW_CLIENT_HIGH": str(high),
        "SD_PORTS_BENCH_SLOW_CLIENT_LOW": str(high // 4),
        "SD_PORTS_BENCH_SLOW_CLIENT_TIMEOUT": "10m"})


def worker_pids(server):
    """As text, in the order of their slots."""
    found = subprocess.run(["pgrep", "-a", "-P", str(server.pid), "-f",
                            "sdlua: worker"], capture_output=True, text=True)
    lines = sorted(found.stdout.splitlines(), key=lambda s: s.split()[1:])
    return [line.split()[0] for line in lines]


def start_node(_build):
    modules = os.path.join(PEERS, "node")
    if not os.path.isdir(os.path.join(modules, "node_modules", "ws")):
        os.makedirs(modules, exist_ok=True)
        output(["npm", "install", "--silent", "--prefix", modules, "ws@8"])
    ports = free_ports()
    return Server("node", ["node", os.path.join(BENCH, "peers", "node.js"),
                           str(ports["tcp"]), str(ports["http"])], ports,
                  {"NODE_PATH": os.path.join(modules, "node_modules")})


def unpack_nginx():
    """Unpacked, not installed: its LuaJIT would replace the system's."""
    root = os.path.join(PEERS, "nginx")
    if not os.path.isdir(root):
        os.makedirs(PEERS, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=PEERS) as folder:
            output(["apt-get", "download", *NGINX_PACKAGES], cwd=folder)
            for package in os.listdir(folder):
                output(["dpkg-deb", "-x", package, "root"], cwd=folder)
            os.rename(os.path.join(folder, "root"), root)
    return root


def start_nginx(_build):
    root = unpack_nginx()
    ports = {"http": free_ports()["http"]}
    folder = tempfile.mkdtemp(prefix="nginx-bench-")
    with open(os.path.join(BENCH, "peers", "nginx.conf")) as f:
        text = f.read()
    for word, value in (("@DIR@", folder), ("@ROOT@", root),
                        ("@HTTP@", str(ports["http"]))):
        text = text.replace(word, value)
    conf = os.path.join(folder, "nginx.conf")
    with open(conf, "w") as f:
        f.write(text)
    return Server("nginx-lua",
                  [os.path.join(root, "usr/sbin/nginx"), "-p", folder,
                   "-e", "error.log", "-c", conf], ports,
                  {"LD_LIBRARY_PATH":
                   os.path.join(root, "usr/lib/x86_64-linux-gnu")}, folder)


STARTERS = {
    "floor-epoll": lambda build: start_floor("floor_epoll", build),
    "floor-uv": lambda build: start_floor("floor_uv", build),
    "sdlua": start_sdlua,
    "sdlua-2": start_two_workers,
    "nginx-lua": start_nginx,
    "node": start_node,
}


def versions(build):
    """Name -> version of what took part; what is missing says so."""
    nginx = os.path.join(PEERS, "nginx/usr/sbin/nginx")
    ws = os.path.join(PEERS, "node/node_modules/ws/package.json")
    found = {}
    for name, command in (
            ("sdlua", [os.path.join(build, "sdlua"), "version"]),
            ("commit", ["git", "-C", ROOT, "describe", "--always",
                        "--dirty"]),
            ("libuv", ["pkg-config", "--modversion", "libuv"]),
            ("nginx", [nginx, "-v"]),
            ("node", ["node", "--version"]),
            ("ws", ["grep", '"version"', ws])):
        try:
            text = output(command)
        except NotAvailable:
            found[name] = "not available"
            continue
        number = re.search(r"\d+(\.\d+)+", text)
        found[name] = number.group() if number else text
    return found
