"""Hosts for specs: network namespaces on one bridge, while PID lives.

    hosts.py COUNT PID

Makes a namespace with a bridge ("br0", 10.77.0.254, fd77::fe) and COUNT more
with an "eth0" each on that bridge (10.77.0.1, fd77::1 ...), a default route, a
host name ("h1" ...) and loopback.  Nothing has a name outside: the namespaces
hang on descriptors of this process, so that any number of beds can be built
beside each other with the same addresses.  When it stands, one line of JSON is
printed and the bed kept in the background:

    {"pid": n, "dir": "/tmp/sdlua-bed...", "mark": "fd78...",
     "net": [fd of the bridge's, of h1's ...], "uts": [...]}

Enter one with nsenter --net=/proc/PID/fd/FD.  TERM or the end of
process PID ends the bed: every process that is in one of its namespaces is
killed and the folder removed; the kernel then takes the namespaces away.

Somebody may kill this process itself, and what runs in the hosts would stay.
So every namespace has an address on its loopback that no other bed has, the
mark, which is seen in /proc/PID/net/if_inet6; the folder's name says whose it
was and with which mark, and the next bed sweeps.
"""
import ctypes
import glob
import ipaddress
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

CLONE_NEWUTS, CLONE_NEWNET = 0x04000000, 0x40000000
FOLDER = "/tmp/sdlua-bed.%d.%s"  # pid, mark

libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result != 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


class Space:
    """A network namespace with a host name of its own."""

    def __init__(self, name):
        checked(libc.unshare(CLONE_NEWNET | CLONE_NEWUTS))
        socket.sethostname(name)
        self.net = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.uts = os.open("/proc/self/ns/uts", os.O_RDONLY)
        self.id = os.readlink("/proc/self/ns/net")

    def path(self):
        return "/proc/%d/fd/%d" % (os.getpid(), self.net)

    def ip(self, *lines):
        checked(libc.setns(self.net, CLONE_NEWNET))
        done = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines),
                              text=True, capture_output=True)
        if done.returncode != 0:
            raise OSError(0, "ip: " + done.stderr.strip())


def neighbours(count, me, dev):
    """Everybody knows everybody: a question for an address that is lost in a
    cut would put off what was sent until it is healed, or fail it."""
    return ["neigh add %s lladdr 02:00:0a:4d:00:%02x nud permanent dev %s"
            % (prefix % i, i, dev)
            for i in [*range(1, count + 1), 0xfe] if i != me
            for prefix in ("10.77.0.%d", "fd77::%x")]


def build(count, mark):
    mark = ipaddress.ip_address(bytes.fromhex(mark))
    switch = Space("switch")
    hosts = [Space("h%d" % i) for i in range(1, count + 1)]
    switch.ip("link set lo up",
              "addr add %s/128 dev lo" % mark,
              "link add br0 address 02:00:0a:4d:00:fe type bridge "
              "mcast_snooping 0",
              "addr add 10.77.0.254/24 brd + dev br0",
              "addr add fd77::fe/64 dev br0 nodad",
              "link set br0 up")
    for i, host in enumerate(hosts, 1):
        # pN is the host's port; qN and sN wait for the wire (wire.py), which
        # stands between pN and the bridge when datagrams shall be late.
        switch.ip("link add p%d type veth peer name eth0 netns %s"
                  % (i, host.path()),
                  "link add q%d type veth peer name s%d" % (i, i),
                  *["link set %s%d addrgenmode none" % (end, i)
                    for end in "pqs"],
                  *["link set %s%d up" % (end, i) for end in "pqs"],
                  "link set p%d master br0" % i)
        host.ip("link set lo up",
                "addr add %s/128 dev lo" % mark,
                "link set eth0 address 02:00:0a:4d:00:%02x" % i,
                "addr add 10.77.0.%d/24 brd + dev eth0" % i,
                "addr add fd77::%x/64 dev eth0 nodad" % i,
                "link set eth0 up",
                "route add default via 10.77.0.254",
                "route add default via fd77::fe",
                *neighbours(count, i, "eth0"))
    switch.ip(*neighbours(count, 0xfe, "br0"))
    checked(libc.setns(switch.net, CLONE_NEWNET))
    return [switch] + hosts


def check_tools(switch):
    """Faults are made by these; here it can be said, and later it only fails
    whatever spec comes first."""
    missing = [name for name in ("nft", "tc", "ss") if not shutil.which(name)]
    if missing:
        raise OSError(0, "no program " + ", ".join(missing))
    checked(libc.setns(switch.net, CLONE_NEWNET))
    rules = ("table bridge trial {\nchain forward {\n"
             "type filter hook forward priority 0;\n"
             "numgen random mod 1000 < 1 drop\n}\n}\n"
             "delete table bridge trial\n")
    for words, text in ((["nft", "-f", "-"], rules),
                        ("tc qdisc replace dev br0 root tbf rate 1mbit "
                         "burst 32kb latency 200ms".split(), ""),
                        ("tc qdisc del dev br0 root".split(), "")):
        done = subprocess.run(words, input=text, text=True,
                              capture_output=True)
        if done.returncode != 0:
            raise OSError(0, "%s: %s" % (words[0], done.stderr.strip()))


def kill_all(is_ours):
    """Until nobody is left, also of those who were just being born."""
    for _ in range(200):
        found = False
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if is_ours(pid):
                    os.kill(int(pid), signal.SIGKILL)
                    found = True
            except OSError:
                pass  # it has ended, or is on its way
        if not found:
            return
        time.sleep(0.02)


def is_builder(pid):
    try:
        with open("/proc/%d/cmdline" % pid) as f:
            return "hosts.py\0" in f.read()
    except OSError:
        return False


def sweep():
    """What was left by beds whose builder was killed."""
    for folder in glob.glob("/tmp/sdlua-bed.*"):
        parts = re.fullmatch(r".*\.(\d+)\.([0-9a-f]{32})", folder)
        if not parts or is_builder(int(parts[1])):
            continue
        print("sweeping", folder, file=sys.stderr)

        def has_mark(pid):
            with open("/proc/%s/net/if_inet6" % pid) as f:
                return parts[2] in f.read()
        kill_all(has_mark)
        shutil.rmtree(folder, ignore_errors=True)


def watch_for_end(parent_pid):
    """What poll() answers when that process has ended or somebody sent TERM."""
    wake, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)
    poll = select.poll()
    poll.register(wake.detach(), select.POLLIN)
    poll.register(os.pidfd_open(parent_pid), select.POLLIN)
    woken.detach()
    return poll


def go_to_background():
    """The caller gets its answer; the bed is kept by a child of nobody."""
    sys.stdout.flush()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.setsid()


def main():
    count, parent_pid = int(sys.argv[1]), int(sys.argv[2])
    sweep()
    ready, tell = os.pipe()
    if os.fork() != 0:
        os.close(tell)
        os._exit(0 if os.read(ready, 1) else 1)
    end = watch_for_end(parent_pid)
    mark = "fd78" + os.urandom(14).hex()
    folder = FOLDER % (os.getpid(), mark)
    os.mkdir(folder, 0o755)
    try:
        spaces = build(count, mark)
        check_tools(spaces[0])
    except OSError as e:
        os.rmdir(folder)
        sys.exit("cannot build hosts out of network namespaces: %s; this "
                 "needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN (in a "
                 "container: --privileged), iproute2, nftables, IPv6, and "
                 "veth, bridge, nft and tbf in the kernel"
                 % ": ".join(filter(None, (e.filename, e.strerror))))
    print(json.dumps({"pid": os.getpid(), "dir": folder, "mark": mark,
                      "net": [s.net for s in spaces],
                      "uts": [s.uts for s in spaces]}))
    go_to_background()
    os.write(tell, b"!")
    while not end.poll():
        pass
    ids = {s.id for s in spaces}
    # The parent is in there for an instant now and then.
    spared = (str(os.getpid()), str(parent_pid))
    kill_all(lambda pid: pid not in spared and
             os.readlink("/proc/%s/ns/net" % pid) in ids)
    shutil.rmtree(folder, ignore_errors=True)


main()
