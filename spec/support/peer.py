"""A process of a node that shares no code with sdlua: written from
docs/protocol-links.md, -delivery.md and -mail.md, for peer_spec.lua.

    peer.py ADDRESS PORT KEY NAME BOOT [plain]

Links to the relay there as worker 1 of a node of that boot, in hexadecimal.
Prints lines of JSON; does, line by line, what it reads:

    uid UID TEXT        a value to the conns of a uid
    late MS UID TEXT    the same, as if it had waited for so long on its way
    topic TOPIC TEXT    a publish
    want TOPIC          subscribe
    flood N             N messages to nobody, reading nothing; only plain
"""
import base64
import hashlib
import json
import os
import select
import socket
import struct
import sys
import time

import links

PLACE, UID, PUBLISH = 1, 2, 3
HEARTBEAT, ACK, NACK, LOCATE, INTEREST, COVER, BYE, TIME = range(16, 24)
SLOT, EPOCH = 1, 1


def say(**what):
    print(json.dumps(what), flush=True)


def clock():
    return (time.monotonic_ns() // 1000 | 1) & 0xffffffff


def text_of(value):
    """msgpack, of short texts."""
    size = value[0] & 0x1f if value[0] < 0xc0 else value[1]
    return value[-size:].decode()


def value_of(text):
    return bytes([0xa0 + len(text)]) + text.encode()


class Peer:
    def __init__(self, address, port, key, name, boot, plain):
        self.plain = plain
        self.boot, self.counter, self.losses = boot, 0, 0
        self.kept, self.frames, self.taken = b"", b"", 0
        self.sent, self.read, self.written = 0, 0, None
        self.socket = socket.create_connection((address, port), 10)
        self.socket.settimeout(20)
        self.join(key, name)

    def exactly(self, n):
        data = b""
        while len(data) < n:
            part = self.socket.recv(n - len(data))
            if not part:
                sys.exit("closed")
            data += part
        return data

    def join(self, key, name):
        entropy = os.urandom(64)
        cluster = hashlib.sha256(name).digest()[:8]
        question = links.hello(key, cluster, entropy, int(self.plain))
        question += links.mac(links.hkdf(key, b"question"), question)
        self.socket.sendall(question)
        answer = self.exactly(116)
        secret = links.mac(key, links.x25519(entropy[32:], answer[52:84]))
        t = hashlib.sha256(question + answer[:84]).digest()

        def k(label):
            return links.hkdf(secret, label, t)
        assert answer[84:] == k(b"answer")
        # n, b, s, e: who we are
        mine = (b"\x84\xa1n\xa4peer\xa1b\xcf" + struct.pack(">Q", self.boot)
                + b"\xa1s" + bytes([SLOT]) + b"\xa1e" + bytes([EPOCH]))
        mine = self.hidden(k(b"worker identity"), mine)
        size = struct.pack("<H", len(mine))
        proof = links.mac(k(b"worker"), size + mine)
        self.socket.sendall(size + proof + mine)
        size = self.exactly(2)
        theirs = self.exactly(32 + struct.unpack("<H", size)[0])
        assert theirs[:32] == links.mac(k(b"relay"),
                                        proof + size + theirs[32:])
        say(relay=self.hidden(k(b"relay identity"), theirs[32:]).hex())
        self.key, self.their_key = k(b"worker records"), k(b"relay records")

    def hidden(self, key, identity):
        if self.plain:
            return identity
        return links.ctr(links.expand(key), bytes(16), identity)

    # --- out -----------------------------------------------------------------

    def frame(self, kind, payload):
        content = struct.pack("<IB", len(payload), kind) + payload
        if self.plain:
            record = struct.pack("<I", len(content)) + content
        else:
            record = links.record(self.key, self.sent, content)
        self.socket.sendall(record)
        self.sent += 1

    def message(self, where, mail_type, body, flags=0):
        """No term, no previous, ourselves the oldest."""
        self.counter += 1
        order = struct.pack("<BIII", flags, 0, 0, 0)
        head = struct.pack("<BBHHHQQIIIII", 1, SLOT, mail_type, 0, EPOCH,
                           self.boot, self.counter, 0, 0, 0, 10000, len(body))
        assert len(head) == 44
        return order + where + head + body

    def data(self, kind, where, mail_type, body, flags=0, waited=0):
        written = (clock() - waited * 1000) & 0xffffffff
        self.frame(TIME, struct.pack("<I", written))
        self.frame(kind, self.message(where, mail_type, body, flags))

    def to_uid(self, uid, text, waited=0):
        where = bytes([len(uid)]) + uid.encode() + b"\0"
        self.data(UID, where, 24, struct.pack("<QII", 0, 0, 0)
                  + value_of(text), flags=4, waited=waited)

    def to_uid_late(self, waited, uid, text):
        self.to_uid(uid, text, int(waited))

    def to_topic(self, topic, text):
        name = topic.encode()
        where = struct.pack("<BIH", 1, self.losses, len(name)) + name
        self.data(PUBLISH, where, 6,
                  struct.pack("<IIIIQ", 0, len(name), 0, 0, 0) + name
                  + value_of(text))

    def flood(self, n):
        """Frames of plain records are never numbered, so one will do."""
        payload = self.message(b"\6nobody\0", 24, bytes(16) + value_of("x"))
        frame = struct.pack("<IB", len(payload), UID) + payload
        each = 65536 // len(frame)
        record = struct.pack("<I", each * len(frame)) + each * frame
        sent = 0
        try:
            while sent < int(n):
                self.socket.sendall(16 * record)
                sent += 16 * each
        except ConnectionError:
            say(flooded=sent, closed=True)
        else:
            say(flooded=sent, closed=False)

    def want(self, topic):
        self.frame(INTEREST, b"\1\1" + topic.encode())
        self.frame(INTEREST, b"\4\0")

    # --- in ------------------------------------------------------------------

    def record(self):
        size = self.exactly(4)
        sealed = self.exactly(struct.unpack("<I", size)[0])
        nonce = bytes(4) + struct.pack("<Q", self.read)
        self.read += 1
        if self.plain:
            content = sealed
        else:
            content = links.ctr(links.expand(self.their_key),
                                nonce + b"\0\0\0\2", sealed[:-16])
            assert links.gcm(self.their_key, nonce, size, content) == sealed
        self.frames += content
        while len(self.frames) >= 5:
            size, kind = struct.unpack_from("<IB", self.frames)
            if len(self.frames) < 5 + size:
                break
            payload = self.frames[5:5 + size]
            self.frames = self.frames[5 + size:]
            self.take(kind, payload)

    def take(self, kind, p):
        if kind == HEARTBEAT:
            made, echo, held = struct.unpack("<III", p)
            self.frame(HEARTBEAT, struct.pack("<III", clock(), made, 0))
            if echo != 0:
                say(beat=(clock() - echo - held) & 0xffffffff)
        elif kind == TIME:
            self.written = struct.unpack("<I", p)[0]
        elif kind == ACK:
            for first, count in struct.iter_unpack("<QI", p):
                say(ack=first, count=count)
        elif kind == NACK:
            for number, reason, flags in struct.iter_unpack("<QBB", p):
                say(nack=number, reason=reason, flags=flags)
        elif kind == COVER:
            op, self.losses = struct.unpack_from("<BI", p)
            say(cover=[[boot, epoch, slot] for boot, epoch, slot
                       in struct.iter_unpack("<QHB", p[5:])], op=op)
        elif kind in (PLACE, UID, PUBLISH):
            self.taken += 1
            self.take_data(kind, p)
            self.frame(ACK, struct.pack("<QI", self.taken, 1))

    def take_data(self, kind, p):
        flags, _, _, _ = struct.unpack_from("<BIII", p)
        p = p[13:]
        assert flags < 16
        if kind == PLACE:
            name, p = "", p[11:]
        elif kind == UID:
            name = p[1:1 + p[0]].decode()
            p = p[1 + p[0]:]
            p = p[1 + 19 * p[0]:]
        else:
            _, _, size = struct.unpack_from("<BIH", p)
            name, p = p[7:7 + size].decode(), p[7 + size:]
        head, body = struct.unpack_from("<BBHHHQQIIIII", p), p[44:]
        assert head[0] == 1 and head[-1] == len(body)
        assert self.written is not None
        if head[2] == 24:
            say(uid=name, text=text_of(body[16:]), boot="%016x" % head[5],
                life=head[-2])
        elif head[2] == 6:
            _, size, most, _, _ = struct.unpack_from("<IIIIQ", body)
            say(topic=body[24:24 + size].decode(),
                text=text_of(body[24 + size + most:]))
        else:
            say(type=head[2])


def main():
    address, port, key, name, boot, *plain = sys.argv[1:]
    peer = Peer(address, int(port), base64.b64decode(key), name.encode(),
                int(boot, 16), plain == ["plain"])
    verbs = {"uid": peer.to_uid, "late": peer.to_uid_late,
             "topic": peer.to_topic, "want": peer.want,
             "flood": peer.flood}
    while True:
        ready = select.select([0, peer.socket], [], [])[0]
        if peer.socket in ready:
            peer.record()
        if 0 in ready:
            line = sys.stdin.buffer.raw.readline().decode()
            if not line:
                return
            verb, *words = line.split()
            verbs[verb](*words)


main()
