"""Wires that are worse than wires: frames late, unsteady, twice, overtaken.

    wire.py DONE_FILE       in the namespace of the bridge (see hosts.py)

For every host N that is attached, copies frames between its port pN, which then
is not on the bridge, and sN, whose other end qN is.  What comes from the bridge
is treated by the sender's rule before host N gets it; what host N sends goes
out at once.  Commands are lines on stdin:

    attach N
    set FROM N DELAY JITTER DUPLICATE REORDER    ms, ms, percent, percent
    done WORD               write WORD to DONE_FILE: what was said is in force

A frame is due DELAY ms after it came, give or take up to JITTER, but not before
the one ahead of it.  REORDER percent of them are set aside for another 10 ms
and twice JITTER, and those behind them pass.  DUPLICATE percent come twice.

The sockets hand on what the kernel left to the network card (checksums, packets
of 64 KiB to be cut), so nobody in the hosts has to be told.
"""
import heapq
import os
import random
import select
import socket
import sys
import time

ETH_P_ALL = 3
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
SO_RCVBUFFORCE = 33
VNET_HDR = 10  # bytes before each frame
MAX_QUEUE = 100000  # frames; beyond it they are lost, as in any switch


def open_port(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    s.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    s.setblocking(False)
    s.bind((name, ETH_P_ALL))
    return s


class Rule:
    """How frames of one host reach one other."""

    def __init__(self, delay=0, jitter=0, duplicate=0, reorder=0):
        self.delay, self.jitter = delay / 1000, jitter / 1000
        self.duplicate, self.reorder = duplicate, reorder
        self.last = 0

    def due(self, now):
        at = now + max(0, self.delay + random.uniform(-1, 1) * self.jitter)
        if random.uniform(0, 100) < self.reorder:
            return at + 0.01 + 2 * self.jitter
        self.last = max(at, self.last)
        return self.last


class Wire:
    def __init__(self, done_file):
        self.done_file = done_file
        self.poll = select.poll()
        self.poll.register(sys.stdin, select.POLLIN)
        self.from_host = {}  # fd of pN -> socket of sN
        self.to_host = {}    # fd of sN -> socket of pN, N
        self.sockets = {}
        self.rules = {}      # from, to -> Rule
        self.queue = []      # due, number, socket, frame
        self.number = 0
        self.lines = b""

    def attach(self, host):
        if any(n == host for _, n in self.to_host.values()):
            return
        p, s = open_port("p%d" % host), open_port("s%d" % host)
        self.from_host[p.fileno()] = s
        self.to_host[s.fileno()] = (p, host)
        for one in (p, s):
            self.sockets[one.fileno()] = one
            self.poll.register(one, select.POLLIN)

    def command(self, words):
        if words[0] == "attach":
            self.attach(int(words[1]))
        elif words[0] == "set":
            self.rules[int(words[1]), int(words[2])] = Rule(
                *map(float, words[3:]))
        elif words[0] == "done":
            with open(self.done_file + ".new", "w") as f:
                f.write(words[1])
            os.rename(self.done_file + ".new", self.done_file)

    def read_commands(self):
        data = os.read(0, 4096)
        if not data:
            sys.exit(0)
        *lines, self.lines = (self.lines + data).split(b"\n")
        for line in lines:
            self.command(line.decode().split())

    def put_off(self, now, frame, to, host):
        # The last byte of the sender's hardware address is its number.
        rule = self.rules.get((frame[VNET_HDR + 11], host))
        if not rule:
            send(to, frame)
            return
        twice = random.uniform(0, 100) < rule.duplicate
        for _ in range(2 if twice else 1):
            if len(self.queue) < MAX_QUEUE:
                self.number += 1
                heapq.heappush(self.queue, (rule.due(now), self.number, to,
                                            frame))

    def read_frames(self, fd):
        now = time.monotonic()
        for _ in range(64):  # then the others
            try:
                frame = self.sockets[fd].recv(VNET_HDR + 70000)
            except OSError:
                return
            if fd in self.from_host:
                send(self.from_host[fd], frame)
            else:
                self.put_off(now, frame, *self.to_host[fd])

    def run(self):
        while True:
            wait = None
            if self.queue:
                wait = max(0, self.queue[0][0] - time.monotonic()) * 1000
            for fd, _ in self.poll.poll(wait):
                if fd == 0:
                    self.read_commands()
                else:
                    self.read_frames(fd)
            now = time.monotonic()
            while self.queue and self.queue[0][0] <= now:
                _, _, to, frame = heapq.heappop(self.queue)
                send(to, frame)


def send(to, frame):
    try:
        to.send(frame)
    except OSError:
        pass  # lost: the other side's queue is full, or its port is down


Wire(sys.argv[1]).run()
