#!/usr/bin/env python3
"""A second implementation of links, from docs/protocol-links.md alone.

    links.py handshake KEY CLUSTER ENTROPY_W ENTROPY_R ID_W ID_R PLAIN_W PLAIN_R
    links.py record KEY NUMBER CONTENT
    links.py check

All but numbers in hexadecimal ("-" is empty); PLAIN is 0 or 1.  Prints, one a
line: the four messages and the two record keys; or the record.  Only hashlib
and hmac are used: X25519, AES and GCM are written out here (slow, and not
constant in time), and `check` holds them against published vectors.
"""
import hashlib
import hmac
import sys

# --- X25519 (RFC 7748) -------------------------------------------------------

P = 2**255 - 19


def x25519(k, u):
    k = bytearray(k)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    n = int.from_bytes(k, "little")
    x1 = int.from_bytes(u, "little") & (2**255 - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = n >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


BASE = (9).to_bytes(32, "little")

# --- AES-256 (FIPS 197), CTR and GCM (SP 800-38D) ----------------------------


def xtime(a):
    return (a << 1 ^ 0x1B) & 0xFF if a & 0x80 else a << 1


def make_sbox():
    box, p, q = [0] * 256, 1, 1
    while True:
        p ^= xtime(p)
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        if q & 0x80:
            q ^= 9
        rot = [q << i | q >> 8 - i for i in range(5)]
        box[p] = (rot[0] ^ rot[1] ^ rot[2] ^ rot[3] ^ rot[4] ^ 0x63) & 0xFF
        if p == 1:
            break
    box[0] = 0x63
    return box


SBOX = make_sbox()


def expand(key):
    w = [list(key[i:i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        t = list(w[i - 1])
        if i % 8 == 0:
            t = [SBOX[b] for b in t[1:] + t[:1]]
            t[0] ^= rcon
            rcon = xtime(rcon)
        elif i % 8 == 4:
            t = [SBOX[b] for b in t]
        w.append([a ^ b for a, b in zip(w[i - 8], t)])
    return [sum(w[i:i + 4], []) for i in range(0, 60, 4)]


def mix(c):
    d = [xtime(b) for b in c]
    return [d[0] ^ c[3] ^ c[2] ^ d[1] ^ c[1], d[1] ^ c[0] ^ c[3] ^ d[2] ^ c[2],
            d[2] ^ c[1] ^ c[0] ^ d[3] ^ c[3], d[3] ^ c[2] ^ c[1] ^ d[0] ^ c[0]]


def block(keys, data):
    s = [a ^ b for a, b in zip(data, keys[0])]
    for r in range(1, 15):
        s = [SBOX[b] for b in s]
        s = [s[(i + 4 * (i % 4)) % 16] for i in range(16)]
        if r < 14:
            s = sum((mix(s[i:i + 4]) for i in range(0, 16, 4)), [])
        s = [a ^ b for a, b in zip(s, keys[r])]
    return bytes(s)


def ctr(keys, start, data):
    n, out = int.from_bytes(start, "big"), b""
    for i in range(0, len(data), 16):
        pad = block(keys, n.to_bytes(16, "big"))
        out += bytes(a ^ b for a, b in zip(data[i:i + 16], pad))
        n += 1
    return out


def ghash(h, data):
    h, y = int.from_bytes(h, "big"), 0
    for i in range(0, len(data), 16):
        x, z = y ^ int.from_bytes(data[i:i + 16], "big"), 0
        v = h
        for bit in reversed(range(128)):
            if x >> bit & 1:
                z ^= v
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
        y = z
    return y.to_bytes(16, "big")


def gcm(key, nonce, aad, data):
    keys = expand(key)
    first = nonce + b"\0\0\0\1"
    text = ctr(keys, nonce + b"\0\0\0\2", data)
    pad = lambda s: s + bytes(-len(s) % 16)
    sizes = (8 * len(aad)).to_bytes(8, "big") + (8 * len(text)).to_bytes(8, "big")
    tag = ghash(block(keys, bytes(16)), pad(aad) + pad(text) + sizes)
    return text + bytes(a ^ b for a, b in zip(tag, block(keys, first)))


# --- the handshake -----------------------------------------------------------


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(secret, label, context=b""):
    return mac(secret, b"sdlua link 1 " + label + context + b"\1")


def hello(key, cluster, entropy, plain):
    return (b"sdlk\1" + bytes([plain, 0, 0]) + hashlib.sha256(key).digest()[:4]
            + cluster + entropy[:32] + x25519(entropy[32:], BASE))


def handshake(key, cluster, entropy_w, entropy_r, id_w, id_r, plain_w, plain_r):
    question = hello(key, cluster, entropy_w, plain_w)
    question += mac(hkdf(key, b"question"), question)
    answer = hello(key, cluster, entropy_r, plain_r)
    secret = mac(key, x25519(entropy_w[32:], answer[52:84]))
    t = hashlib.sha256(question + answer).digest()
    k = lambda label: hkdf(secret, label, t)
    answer += k(b"answer")

    def prove(role, identity, before):
        if not (plain_w and plain_r):
            identity = ctr(expand(k(role + b" identity")), bytes(16), identity)
        size = len(identity).to_bytes(2, "little")
        return size + mac(k(role), before + size + identity) + identity

    first = prove(b"worker", id_w, b"")
    second = prove(b"relay", id_r, first[2:34])
    return (question, answer, first, second, k(b"worker records"),
            k(b"relay records"))


def record(key, number, content):
    size = (len(content) + 16).to_bytes(4, "little")
    return size + gcm(key, bytes(4) + number.to_bytes(8, "little"), size, content)


def check():
    """RFC 7748, section 5.2, and the GCM paper's test case 16."""
    h = bytes.fromhex
    assert x25519(
        h("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        h("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
    ) == h("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    assert gcm(
        h("feffe9928665731c6d6a8f9467308308" * 2), h("cafebabefacedbaddecaf888"),
        h("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
        h("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
          "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"),
    ) == h("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
           "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
           "76fc6ece0f4e1768cddf8853bb2d551b")


def unhex(text):
    return b"" if text == "-" else bytes.fromhex(text)


def main(verb, args):
    if verb == "handshake":
        lines = handshake(*map(unhex, args[:6]), *map(int, args[6:]))
    elif verb == "record":
        lines = [record(unhex(args[0]), int(args[1]), unhex(args[2]))]
    else:
        check()
        lines = []
    for line in lines:
        print(line.hex())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
