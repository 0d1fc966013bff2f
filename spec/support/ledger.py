#!/usr/bin/env python3
"""Conns of three kinds that talk to a node for as long as they are told, and
keep books of every message: what was sent, what came back, in which order.

    ledger.py TCP_PORT HTTP_PORT CONNS RATE

CONNS conns, a third each of TCP (4-byte length, JSON), WebSocket and HTTP
keep-alive, make RATE calls a second together.  Each call has a number of its
conn and must be answered once, in order, with that number.  Every fourth call
of a TCP or WebSocket conn pushes to the next such conn, which must get it
once, in order.  A line on stdin ends the sending; when all that is owed has
come, or nothing came for 20 s, one line of JSON is printed:

    {"calls": n, "pushes": n, "lost": 0, "doubled": 0, "reordered": 0,
     "errors": 0, "closed": 0, "stale": 0, "worst_ms": n}

`stale`: an answer from an older generation than one the conn saw before.

The application: c/bind {uid}, c/count {n} -> {n, gen}, c/poke {n, to} -> the
same, after sd.send_to_uid(to, {push = n, from = self.uid}).
"""
import base64
import json
import os
import select
import socket
import struct
import sys
import time


class Conn:
    def __init__(self, book, port, index):
        self.book, self.index = book, index
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.calls = 0      # sent
        self.answered = 0   # in order so far
        self.sent_at = {}
        self.pushed = 0     # to the next conn
        self.got_push = 0   # from the one before
        self.gen = 0
        self.open()
        self.sock.setblocking(False)

    def uid(self):
        return "u%d" % self.index

    def open(self):
        pass

    def begin(self, path, params):
        self.calls += 1
        self.sent_at[self.calls] = time.monotonic()
        params["n"] = self.calls
        self.put(path, params, self.calls)

    def write(self, data):
        # Requests are small and few: the socket always has room.
        if self.sock.send(data) != len(data):
            self.book["errors"] += 1

    def on_answer(self, n, gen):
        if n <= self.answered:
            self.book["doubled"] += 1
            return
        if n != self.answered + 1:
            self.book["reordered"] += 1
        self.answered = n
        took = time.monotonic() - self.sent_at.pop(n, time.monotonic())
        self.book["worst_ms"] = max(self.book["worst_ms"], round(took * 1000))
        if gen < self.gen:
            self.book["stale"] += 1
        self.gen = gen

    def on_packet(self, packet):
        if "push" in packet:
            if packet["push"] <= self.got_push:
                self.book["doubled"] += 1
            elif packet["push"] != self.got_push + 1:
                self.book["reordered"] += 1
            self.got_push = max(self.got_push, packet["push"])
            self.book["pushes"] += 1
        elif "result" in packet and packet["result"].get("n") == packet["id"]:
            self.on_answer(packet["id"], packet["result"]["gen"])
        else:
            sys.stderr.write("conn %d: %s\n" % (self.index, packet))
            self.book["errors"] += 1
            self.answered = max(self.answered, packet.get("id", 0))

    def on_readable(self):
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        if data == b"":
            self.book["closed"] += 1
            return False
        self.buf += data
        self.cut()
        return True


class Tcp(Conn):
    def open(self):
        self.put("c/bind", {"uid": self.uid()}, 0)
        while not self.buf:
            self.buf = self.sock.recv(65536)
        self.buf = b""

    def put(self, path, params, n):
        controller, method = path.split("/")
        text = json.dumps({"controller_name": controller,
                           "method_name": method, "params": params,
                           "id": n}).encode()
        self.frame(text)

    def frame(self, text):
        self.write(struct.pack(">I", len(text) + 4) + text)

    def cut(self):
        while len(self.buf) >= 4:
            size = struct.unpack(">I", self.buf[:4])[0]
            if len(self.buf) < size:
                return
            self.on_packet(json.loads(self.buf[4:size]))
            self.buf = self.buf[size:]


class Ws(Tcp):
    def open(self):
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket"
                           "\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
                           "13\r\nSec-WebSocket-Key: %s\r\n\r\n" % key).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.sock.recv(4096)
        assert head.startswith(b"HTTP/1.1 101"), head
        Tcp.open(self)

    def frame(self, text):
        mask = os.urandom(4)
        head = b"\x81" + (bytes([0x80 | len(text)]) if len(text) < 126 else
                          b"\xfe" + struct.pack(">H", len(text)))
        self.write(head + mask +
                   bytes(b ^ mask[i % 4] for i, b in enumerate(text)))

    def cut(self):
        while len(self.buf) >= 2:
            size, at = self.buf[1] & 0x7f, 2
            if size == 126:
                if len(self.buf) < 4:
                    return
                size, at = struct.unpack(">H", self.buf[2:4])[0], 4
            if len(self.buf) < at + size:
                return
            op, body = self.buf[0] & 0xf, self.buf[at:at + size]
            self.buf = self.buf[at + size:]
            if op == 1:
                self.on_packet(json.loads(body))
            elif op == 8:
                self.book["errors"] += 1


class Http(Conn):
    def put(self, path, params, n):
        self.write(("GET /%s?n=%d HTTP/1.1\r\nHost: x\r\n\r\n" %
                    (path, n)).encode())

    def cut(self):
        while b"\r\n\r\n" in self.buf:
            head, rest = self.buf.split(b"\r\n\r\n", 1)
            size = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            if len(rest) < size:
                return
            self.buf = rest[size:]
            if not head.startswith(b"HTTP/1.1 200"):
                sys.stderr.write("%s %s\n" % (head, rest[:size]))
                self.book["errors"] += 1
                self.answered += 1
                continue
            body = json.loads(rest[:size])
            self.on_answer(int(body["n"]), body["gen"])


def main():
    tcp_port, http_port, count, rate = map(int, sys.argv[1:5])
    book = dict(calls=0, pushes=0, lost=0, doubled=0, reordered=0, errors=0,
                closed=0, stale=0, worst_ms=0)
    conns = []
    for i in range(count):
        kind, port = [(Tcp, tcp_port), (Ws, http_port), (Http, http_port)][i % 3]
        conns.append(kind(book, port, i))
    talkers = [c for c in conns if not isinstance(c, Http)]
    poll = select.epoll()
    for c in conns:
        poll.register(c.sock, select.EPOLLIN)
    poll.register(sys.stdin, select.EPOLLIN)
    by_fd = {c.sock.fileno(): c for c in conns}
    print("ready", flush=True)

    sending, due, turn = True, time.monotonic(), 0
    last = time.monotonic()
    while True:
        now = time.monotonic()
        while sending and due <= now:
            c = conns[turn % len(conns)]
            turn, due = turn + 1, due + 1 / rate
            if c.calls - c.answered > 50:
                continue  # the node is slower than that
            if isinstance(c, Http):
                if c.calls == c.answered:
                    c.begin("c/count", {})
            elif c.calls % 4 == 3:
                to = talkers[(talkers.index(c) + 1) % len(talkers)]
                c.pushed += 1
                c.begin("c/poke", {"to": to.uid(), "push": c.pushed})
            else:
                c.begin("c/count", {})
        owed = any(c.calls > c.answered for c in conns) or any(
            c.pushed > talkers[(i + 1) % len(talkers)].got_push
            for i, c in enumerate(talkers))
        if not sending and (not owed or now - last > 20):
            break
        for fd, _ in poll.poll(max(0.001, min(due - now, 0.05))
                               if sending else 0.2):
            if fd == sys.stdin.fileno():
                sending = False
                poll.unregister(fd)
                continue
            last = time.monotonic()
            if not by_fd[fd].on_readable():
                poll.unregister(fd)
    for i, c in enumerate(talkers):
        book["lost"] += max(0, c.pushed -
                            talkers[(i + 1) % len(talkers)].got_push)
    for c in conns:
        book["calls"] += c.calls
        book["lost"] += c.calls - c.answered
    print(json.dumps(book), flush=True)


main()
