"""A process of a node that shares no code with sdlua: written from
docs/protocol-links.md, -delivery.md and -mail.md, for peer_spec.lua.

    peer.py ADDRESS PORT KEY NAME BOOT

Links to the relay there as worker 1 of a node of that boot, in hexadecimal.
Prints lines of JSON; does, line by line, what it reads:

    uid UID TEXT        a value to the conns of a uid
    topic TOPIC TEXT    a publish
    want TOPIC          subscribe
"""
import base64
import hashlib
import json
import os
import select
import socket
import struct
import sys

import links

PLACE, UID, PUBLISH = 1, 2, 3
HEARTBEAT, ACK, NACK, LOCATE, INTEREST, COVER, BYE = range(16, 23)
SLOT, EPOCH = 1, 1


def say(**what):
    print(json.dumps(what), flush=True)


def text_of(value):
    """msgpack, of short texts."""
    size = value[0] & 0x1f if value[0] < 0xc0 else value[1]
    return value[-size:].decode()


def value_of(text):
    return bytes([0xa0 + len(text)]) + text.encode()


class Peer:
    def __init__(self, address, port, key, name, boot):
        self.boot, self.counter, self.losses = boot, 0, 0
        self.kept, self.frames, self.taken = b"", b"", 0
        self.sent, self.read = 0, 0
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
        question = links.hello(key, cluster, entropy, 0)
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
        mine = links.ctr(links.expand(k(b"worker identity")), bytes(16), mine)
        size = struct.pack("<H", len(mine))
        proof = links.mac(k(b"worker"), size + mine)
        self.socket.sendall(size + proof + mine)
        size = self.exactly(2)
        theirs = self.exactly(32 + struct.unpack("<H", size)[0])
        assert theirs[:32] == links.mac(k(b"relay"),
                                        proof + size + theirs[32:])
        who = links.ctr(links.expand(k(b"relay identity")), bytes(16),
                        theirs[32:])
        say(relay=who.hex())
        self.key, self.their_key = k(b"worker records"), k(b"relay records")

    # --- out -----------------------------------------------------------------

    def frame(self, kind, payload):
        content = struct.pack("<IB", len(payload), kind) + payload
        self.socket.sendall(links.record(self.key, self.sent, content))
        self.sent += 1

    def data(self, kind, where, mail_type, body, flags=0):
        """No term, no previous, ourselves the oldest."""
        self.counter += 1
        order = struct.pack("<BIII", flags, 0, 0, 0)
        head = struct.pack("<BBHHHQQIIIII", 1, SLOT, mail_type, 0, EPOCH,
                           self.boot, self.counter, 0, 0, 0, 10000, len(body))
        assert len(head) == 44
        self.frame(kind, order + where + head + body)

    def to_uid(self, uid, text):
        where = bytes([len(uid)]) + uid.encode() + b"\0"
        self.data(UID, where, 24, struct.pack("<QII", 0, 0, 0)
                  + value_of(text), flags=4)

    def to_topic(self, topic, text):
        name = topic.encode()
        where = struct.pack("<BIH", 1, self.losses, len(name)) + name
        self.data(PUBLISH, where, 6,
                  struct.pack("<IIIIQ", 0, len(name), 0, 0, 0) + name
                  + value_of(text))

    def want(self, topic):
        self.frame(INTEREST, b"\1\1" + topic.encode())
        self.frame(INTEREST, b"\4\0")

    # --- in ------------------------------------------------------------------

    def record(self):
        size = self.exactly(4)
        sealed = self.exactly(struct.unpack("<I", size)[0])
        nonce = bytes(4) + struct.pack("<Q", self.read)
        self.read += 1
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
            self.frame(HEARTBEAT, p)
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
        if head[2] == 24:
            say(uid=name, text=text_of(body[16:]), boot="%016x" % head[5])
        elif head[2] == 6:
            _, size, most, _, _ = struct.unpack_from("<IIIIQ", body)
            say(topic=body[24:24 + size].decode(),
                text=text_of(body[24 + size + most:]))
        else:
            say(type=head[2])


def main():
    address, port, key, name, boot = sys.argv[1:]
    peer = Peer(address, int(port), base64.b64decode(key), name.encode(),
                int(boot, 16))
    verbs = {"uid": peer.to_uid, "topic": peer.to_topic, "want": peer.want}
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
