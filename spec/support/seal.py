"""Datagrams as docs/protocol says, made without OpenSSL: for seal_spec.lua.

    seal.py KEY NAME SALT COUNTER PLAIN    prints one datagram

KEY is base64, "-" for the key made of the cluster's name; SALT and PLAIN are
hexadecimal, and so is the answer.  AES and GCM are those of FIPS 197 and SP
800-38D, written down as they stand there and as slow.
"""

import base64
import hashlib
import hmac
import sys


def times2(a):
    return (a << 1) ^ (0x11B if a & 0x80 else 0)


def times(a, b):
    product = 0
    for bit in range(8):
        if b >> bit & 1:
            product ^= a
        a = times2(a)
    return product


def sbox():
    table = []
    for a in range(256):
        b = next((x for x in range(256) if times(a, x) == 1), 0)
        turned = 0x63
        for i in range(5):
            turned ^= ((b << i) | (b >> (8 - i))) & 0xFF
        table.append(turned)
    return table


SBOX = sbox()


def expand(key):
    words = [list(key[i : i + 4]) for i in range(0, 32, 4)]
    factor = 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= factor
            factor = times2(factor)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return [sum(words[i : i + 4], []) for i in range(0, 60, 4)]


def mix(column):
    a, b, c, d = column
    return [
        times(a, 2) ^ times(b, 3) ^ c ^ d,
        a ^ times(b, 2) ^ times(c, 3) ^ d,
        a ^ b ^ times(c, 2) ^ times(d, 3),
        times(a, 3) ^ b ^ c ^ times(d, 2),
    ]


def encrypt_block(rounds, block):
    state = [a ^ b for a, b in zip(block, rounds[0])]
    for i in range(1, 15):
        state = [SBOX[b] for b in state]
        state = [state[(j + 4 * (j % 4)) % 16] for j in range(16)]
        if i < 14:
            state = sum((mix(state[j : j + 4]) for j in range(0, 16, 4)), [])
        state = [a ^ b for a, b in zip(state, rounds[i])]
    return bytes(state)


def ghash(h, data):
    y = 0
    for i in range(0, len(data), 16):
        x = y ^ int.from_bytes(data[i : i + 16], "big")
        y, v = 0, h
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                y ^= v
            v = (v >> 1) ^ (0xE1 << 120 if v & 1 else 0)
    return y


def pad(data):
    return data + bytes(-len(data) % 16)


def gcm(key, nonce, aad, plain):
    rounds = expand(key)
    text = b""
    for i in range(0, len(plain), 16):
        counter = nonce + (i // 16 + 2).to_bytes(4, "big")
        stream = encrypt_block(rounds, counter)
        text += bytes(a ^ b for a, b in zip(plain[i : i + 16], stream))
    h = int.from_bytes(encrypt_block(rounds, bytes(16)), "big")
    sizes = (len(aad) * 8).to_bytes(8, "big") + (len(text) * 8).to_bytes(8, "big")
    y = ghash(h, pad(aad) + pad(text) + sizes)
    first = int.from_bytes(encrypt_block(rounds, nonce + b"\0\0\0\1"), "big")
    return text + (y ^ first).to_bytes(16, "big")


def hkdf(secret, salt, info):
    prk = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\1", hashlib.sha256).digest()


def main(key, name, salt, counter, plain):
    name, salt = name.encode(), bytes.fromhex(salt)
    if key == "-":
        secret = hashlib.sha256(b"sdlua open cluster 1" + name).digest()
    else:
        secret = base64.b64decode(key)
    number = int(counter).to_bytes(8, "big")
    head = b"\xd5\1" + hashlib.sha256(secret).digest()[:4] + salt + number
    aad = head + hashlib.sha256(name).digest()[:8]
    own = hkdf(secret, salt, b"sdlua gossip 1")
    sealed = gcm(own, bytes(4) + number, aad, bytes.fromhex(plain))
    print((head + sealed).hex())


main(*sys.argv[1:])
