"""What comes to the ports of a cluster from those who are no members.

    strangers.py listen SECONDS FILE        keep what passes this host
    strangers.py datagrams FILE ADDRESS     garbage, and what was kept, changed
    strangers.py links FILE ADDRESS PORT    the same, to a relay
    strangers.py silent ADDRESS PORT COUNT  connections that say nothing, or half a word
    strangers.py traitor ADDRESS PORT KEY   a member that sends nonsense

Each prints one line of JSON about what came back.  `listen` needs root.
"""
import base64
import hashlib
import json
import os
import pickle
import random
import selectors
import socket
import struct
import sys
import time

import links

GOSSIP, ANNOUNCE = 7946, 7947


# --- keeping -----------------------------------------------------------------

PATIENCE = 60  # seconds; waited for in vain only


def ports_and_payload(frame):
    """("udp" or "tcp", source and port, payload) of an IPv4 frame."""
    if frame[12:14] != b"\x08\x00":
        return None
    packet = frame[14:]
    head = (packet[0] & 15) * 4
    size = struct.unpack_from(">H", packet, 2)[0]
    body = packet[head:size]
    if packet[9] == 17:
        return "udp", struct.unpack_from(">H", body, 2)[0], body[8:]
    if packet[9] == 6:
        start = (body[12] >> 4) * 4
        return "tcp", struct.unpack_from(">H", body, 2)[0], body[start:]
    return None


def listen(seconds, path):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.settimeout(0.1)
    kept, end = [], time.monotonic() + float(seconds)
    print(json.dumps({"listening": True}), flush=True)
    while time.monotonic() < end:
        try:
            one = ports_and_payload(s.recv(65536))
        except socket.timeout:
            continue
        if one and one[2]:
            kept.append(one)
    with open(path, "wb") as f:
        pickle.dump(kept, f)


def load(path, kind, wanted):
    with open(path, "rb") as f:
        return [payload for k, port, payload in pickle.load(f)
                if k == kind and wanted(port, payload)]


# --- datagrams ---------------------------------------------------------------


def variants(payload):
    """Changed in every way that is not noticed at once."""
    yield payload
    for cut in range(0, len(payload), max(1, len(payload) // 16)):
        yield payload[:cut]
    for _ in range(32):
        at = random.randrange(len(payload))
        yield payload[:at] + bytes([payload[at] ^ 1 << random.randrange(8)]) \
            + payload[at + 1:]
    yield payload + b"x"
    yield payload * 3


def datagrams(path, address):
    kept = load(path, "udp", lambda port, _: port in (GOSSIP, ANNOUNCE))
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent = 0
    for port in (GOSSIP, ANNOUNCE):
        for size in [0, 1, 2, 29, 30, 31, 46, 47, 1400, 2048, 2049, 60000] * 4:
            s.sendto(os.urandom(size), (address, port))
            s.sendto((b"\xd5\1" + os.urandom(size))[:size], (address, port))
            sent += 2
        for payload in random.sample(kept, min(len(kept), 40)):
            for one in variants(payload):
                s.sendto(one[:60000], (address, port))
                sent += 1
    s.settimeout(0.5)
    answers = 0
    try:
        while s.recv(65536):
            answers += 1
    except (socket.timeout, ConnectionError):
        pass
    print(json.dumps({"kept": len(kept), "sent": sent, "answers": answers}))


# --- links -------------------------------------------------------------------


def say(address, port, *texts):
    """Bytes that come back until the other side closes, and after how long."""
    s = socket.create_connection((address, int(port)), PATIENCE)
    s.settimeout(PATIENCE)
    start, got = time.monotonic(), 0
    try:
        for text in texts:
            s.sendall(text)
            if text is not texts[-1]:
                got += len(s.recv(65536))
        while True:
            part = s.recv(65536)
            if not part:
                break
            got += len(part)
    except ConnectionError:
        pass
    return got, time.monotonic() - start


def link(path, address, port):
    questions = load(path, "tcp", lambda p, b: p == int(port)
                     and b.startswith(b"sdlk") and len(b) == 116)
    proofs = load(path, "tcp", lambda p, b: p == int(port)
                  and 34 <= len(b) <= 434 and not b.startswith(b"sdlk"))
    out = {"questions": len(questions), "proofs": len(proofs)}
    slowest = most = 0
    garbage = [os.urandom(n) for n in (1, 4, 116, 200, 65536, 1 << 20)]
    garbage += [b"sdlk\1" + os.urandom(n) for n in (0, 111, 1 << 16)]
    garbage += [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 300]
    for text in garbage:
        if len(text) > 116 or not text.startswith(b"sdlk"[:len(text)]):
            got, took = say(address, port, text)
            slowest, most = max(slowest, took), max(most, got)
    out["garbage"] = {"slowest": slowest, "answered": most}
    question = questions[0]
    got, took = say(address, port, question, proofs[0])
    out["replayed"] = {"answered": got, "question": len(question), "took": took}
    got, took = say(address, port, question, os.urandom(1 << 20))
    out["long"] = {"answered": got, "took": took}
    changed = bytearray(question)
    changed[40] ^= 1
    got, took = say(address, port, bytes(changed))
    out["changed"] = {"answered": got, "took": took}
    print(json.dumps(out))


def silent(address, port, count):
    """All at once, every second one with the beginning of a handshake."""
    chooser, start = selectors.DefaultSelector(), time.monotonic()
    begun, ends = {}, []
    for i in range(int(count)):
        s = socket.socket()
        s.connect((address, int(port)))
        if i % 2:
            s.send(b"sdlk\1\0\0\0" + os.urandom(4))
        begun[s] = time.monotonic()
        chooser.register(s, selectors.EVENT_READ)
    print(json.dumps({"connected": time.monotonic() - start}), flush=True)
    while begun and time.monotonic() - start < PATIENCE:
        for key, _ in chooser.select(1):
            chooser.unregister(key.fileobj)
            ends.append(time.monotonic() - begun.pop(key.fileobj))
            key.fileobj.close()
    print(json.dumps({"left": len(begun), "ended": len(ends),
                      "waited": sum(x >= 4.5 for x in ends),
                      "slowest": max(ends)}))


# --- a traitor ---------------------------------------------------------------


def exactly(s, n):
    data = b""
    while len(data) < n:
        part = s.recv(n - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


def identity(boot):
    text = lambda x: bytes([0xA0 + len(x)]) + x
    return (b"\x84" + text(b"n") + text(b"traitor") + text(b"b") + b"\xcf"
            + struct.pack(">Q", boot) + text(b"s") + b"\1" + text(b"e") + b"\1")


def join(address, port, key, name):
    """A proved link; the key of our records."""
    cluster = hashlib.sha256(name).digest()[:8]
    entropy = os.urandom(64)
    question = links.hello(key, cluster, entropy, 0)
    question += links.mac(links.hkdf(key, b"question"), question)
    s = socket.create_connection((address, int(port)), PATIENCE)
    s.settimeout(PATIENCE)
    s.sendall(question)
    answer = exactly(s, 116)
    secret = links.mac(key, links.x25519(entropy[32:], answer[52:84]))
    t = hashlib.sha256(question + answer[:84]).digest()
    assert answer[84:] == links.hkdf(secret, b"answer", t)
    k = links.hkdf(secret, b"worker identity", t)
    who = links.ctr(links.expand(k), bytes(16),
                    identity(random.getrandbits(63) | 1))
    size = len(who).to_bytes(2, "little")
    proof = links.mac(links.hkdf(secret, b"worker", t), size + who)
    s.sendall(size + proof + who)
    size = int.from_bytes(exactly(s, 2), "little")
    exactly(s, 32 + size)
    return s, links.hkdf(secret, b"worker records", t)


def frame(kind, payload):
    return struct.pack("<IB", len(payload), kind) + payload


def traitor(address, port, key):
    key = base64.b64decode(key)
    speeches = [
        lambda k: b"\xff\xff\xff\xff" + os.urandom(1 << 16),  # an endless record
        lambda k: b"\0\0\0\0",
        lambda k: os.urandom(1 << 16),
        lambda k: links.record(k, 1, frame(1, b"")),  # not the first
        lambda k: links.record(k, 0, b"\xff\xff\xff\xff\1"),  # an endless frame
        lambda k: links.record(k, 0, frame(1, b"beat")),
    ]
    speeches += [lambda k, kind=kind: links.record(k, 0, frame(kind, os.urandom(60)))
                 for kind in (0, 1, 2, 3, 16, 17, 18, 19, 20, 21, 23, 200)]
    closed = 0
    for speech in speeches:
        s, k = join(address, port, key, b"sdlua")
        try:
            s.sendall(speech(k))
            while s.recv(65536):
                pass
            closed += 1
        except ConnectionError:
            closed += 1
        except socket.timeout:
            pass
    print(json.dumps({"joined": len(speeches), "closed": closed}))


verbs = {"listen": listen, "datagrams": datagrams, "links": link,
         "silent": silent, "traitor": traitor}
verbs[sys.argv[1]](*sys.argv[2:])
