"""Clients for specs of conns that move: what they send comes back once each
and in order.

    move_client.py KIND FORM HOST PORT CONNS MESSAGES

KIND: length, line, ws (frames of our own, fragmented at random), websockets
(the library). FORM: raw (a packet is echoed) or json (a call of move/echo).
Reads and writes in pieces and with pauses at random, so that a conn is met with
half a packet, half a frame or half a reply at any moment. Prints "ok MESSAGES",
or what was wrong.
"""
import asyncio
import json
import os
import random
import struct
import sys

KIND, FORM, HOST = sys.argv[1:4]
PORT, CONNS, MESSAGES = (int(a) for a in sys.argv[4:7])
SEED = int(os.environ.get("SEED", random.randrange(1 << 30)))
WINDOW = 40  # calls that wait for their answers
LIMIT = 120  # seconds for everything
rng = random.Random(SEED)


def text(n):
    size = rng.choice((1, 20, 100, 100, 3000, 3000, 70000, 200000))
    size = rng.randrange(1, size + 1)
    return "%d " % n + chr(rng.choice((120, 0xE4, 0x20AC))) * (size // 2)


def packet_of(n, body):
    if FORM == "raw":
        return body.encode()
    return json.dumps({"controller_name": "move", "method_name": "echo",
                       "id": n, "params": {"text": body}},
                      ensure_ascii=False).encode()


def check(n, body, got):
    if FORM == "raw":
        ok = got == body.encode()
    else:
        reply = json.loads(got)
        ok = reply.get("id") == n and reply.get("result") == {"text": body}
    if not ok:
        raise ValueError("message %d of %d bytes: got %r (%d bytes)"
                         % (n, len(body), got[:60], len(got)))


class Stream:
    """Bytes in pieces; a framing is a pair of functions above."""

    async def open(self):
        self.r, self.w = await asyncio.open_connection(HOST, PORT)

    async def write(self, data):
        while data:
            n = rng.choice((1, 3, 10, 1000, 65536, 1 << 20))
            n = n if len(data) < 100000 else max(n, 1000)
            self.w.write(data[:n])
            data = data[n:]
            if rng.random() < 0.4:
                await asyncio.sleep(rng.random() * 0.002)
        await self.w.drain()

    async def rest(self):
        if rng.random() < 0.02:
            await asyncio.sleep(rng.random() * 0.02)

    async def close(self):
        self.w.close()


class Length(Stream):
    async def send(self, data):
        await self.write(struct.pack(">I", len(data) + 4) + data)

    async def receive(self):
        await self.rest()
        n, = struct.unpack(">I", await self.r.readexactly(4))
        return await self.r.readexactly(n - 4)


class Line(Stream):
    async def open(self):
        self.r, self.w = await asyncio.open_connection(
            HOST, PORT, limit=1 << 22)

    async def send(self, data):
        await self.write(data + b"\r\n")

    async def receive(self):
        await self.rest()
        return (await self.r.readuntil(b"\r\n"))[:-2]


class Frames(Stream):
    """A WebSocket of our own: fragments, and pings between them."""

    async def open(self):
        await super().open()
        self.pings = self.pongs = 0
        self.w.write(b"GET /ws HTTP/1.1\r\nHost: a.example\r\n"
                     b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Version: 13\r\n"
                     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        head = await self.r.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            raise ValueError(head)

    @staticmethod
    def frame(first, data):
        n = len(data)
        head = bytes([first])
        if n < 126:
            head += bytes([128 + n])
        elif n < 65536:
            head += struct.pack(">BH", 254, n)
        else:
            head += struct.pack(">BQ", 255, n)
        key = rng.randbytes(4)
        mask = (key * (n // 4 + 1))[:n]
        data = int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")
        return head + key + data.to_bytes(n, "big")

    async def send(self, data):
        first, more = 1, rng.random() < 0.5
        while more:
            n = rng.randrange(len(data) + 1)
            await self.write(self.frame(first, data[:n]))
            data, first = data[n:], 0
            if rng.random() < 0.2:
                self.pings += 1
                await self.write(self.frame(0x89, b"%d" % self.pings))
            more = rng.random() < 0.5
        await self.write(self.frame(128 + first, data))

    async def receive(self):
        while True:
            await self.rest()
            first, n = await self.r.readexactly(2)
            if n == 126:
                n, = struct.unpack(">H", await self.r.readexactly(2))
            elif n == 127:
                n, = struct.unpack(">Q", await self.r.readexactly(8))
            data = await self.r.readexactly(n)
            if first == 0x81:
                return data
            self.pongs += 1
            if first != 0x8A or data != b"%d" % self.pongs:
                raise ValueError("frame %x %r" % (first, data[:40]))

    async def close(self):
        if self.pongs > self.pings:
            raise ValueError("too many pongs")
        self.w.close()


class Library:
    async def open(self):
        import websockets
        self.ws = await websockets.connect(
            "ws://%s:%d/ws" % (HOST, PORT), max_size=None, ping_interval=0.5,
            ping_timeout=LIMIT)

    async def send(self, data):
        text = data.decode()
        if rng.random() < 0.5:
            n = rng.randrange(len(text) + 1)
            await self.ws.send([text[:n], text[n:]])
        else:
            await self.ws.send(text)
        await asyncio.sleep(rng.random() * 0.002)

    async def receive(self):
        return (await self.ws.recv()).encode()

    async def close(self):
        await self.ws.close()


KINDS = {"length": Length, "line": Line, "ws": Frames, "websockets": Library}


async def one():
    conn = KINDS[KIND]()
    await conn.open()
    sent = asyncio.Queue()
    room = asyncio.Semaphore(WINDOW)

    async def sender():
        for n in range(1, MESSAGES + 1):
            await room.acquire()
            body = text(n)
            sent.put_nowait((n, body))
            await conn.send(packet_of(n, body))

    async def receiver():
        for _ in range(MESSAGES):
            got = await conn.receive()
            n, body = sent.get_nowait()
            check(n, body, got)
            room.release()

    await asyncio.gather(sender(), receiver())
    await conn.close()


async def main():
    await asyncio.wait_for(asyncio.gather(*(one() for _ in range(CONNS))),
                           LIMIT)
    print("ok", CONNS * MESSAGES)


try:
    asyncio.run(main())
except Exception as e:  # whatever it is, the spec shows it
    print("seed", SEED, type(e).__name__, e)
    sys.exit(1)
