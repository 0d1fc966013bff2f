"""Clients of several nodes that send each other numbered messages and keep books
of every one: what was said about it, and what arrived where, in which order.

    cluster_ledger.py [options] ENDPOINT...

ENDPOINT is tcp:ADDRESS:PORT (4-byte length, JSON) or ws:ADDRESS:PORT; the I-th
conn opens at the I-th endpoint, round and round.  The application:

    --bind CALL     {uid} binds; default "ledger/bind"
    --call CALL     {to, data} sends `data` to the uid `to`; the reply is true,
                    or an error whose message begins with a word of the API;
                    default "ledger/deliver"
    {undelivered = data.m, reason = word}   pushed to data.from when what was
                    replied to with true could not be delivered

Prints "ready" when all are bound, sends for --seconds or until TERM, waits until
nothing is owed or --patience is over, prints one line of JSON (see judge()), and
what is wrong, one line each, to stderr.  A conn that closes comes back, at the
next endpoint, with its uid.

The promise: while sender and conn live, a message is delivered once and in
order, or reported.  Every message ends in one class:

    delivered           once; nobody said anything else
    reported            not delivered, and a word said so
    timeout_delivered   a word said that nobody knows; it did arrive
    sender_died         the sender's conn ended: what was said is not known
    uid_moved           the receiver's conn ended meanwhile
    wrong               lost: nobody said a word; doubled, reordered: on one
                        conn; denied: arrived, though a word said it had not;
                        misdirected: to another uid; unanswered: no reply

--fault lose:N | double:N | swap:N spoils every N-th arrival in here, to show
that it is noticed.
"""
import argparse
import asyncio
import collections
import json
import random
import signal
import struct
import sys
import time

import websockets

# These words say "not done"; any other that nobody knows.
NOT_DONE = {"offline", "gone", "busy", "slow", "refused", "unavailable",
            "too_large", "invalid"}
MAX_LATE = 100000  # arrival times kept for the percentiles


class Tcp(asyncio.Protocol):
    def __init__(self, life):
        self.life, self.buf = life, b""

    @classmethod
    async def open(cls, life, address, port):
        loop = asyncio.get_running_loop()
        _, self = await loop.create_connection(lambda: cls(life), address,
                                               port)
        return self

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buf += data
        at = 0
        while len(self.buf) - at >= 4:
            size = struct.unpack_from(">I", self.buf, at)[0]
            if len(self.buf) - at < size:
                break
            self.life.on_packet(json.loads(self.buf[at + 4:at + size]))
            at += size
        self.buf = self.buf[at:]

    def connection_lost(self, _):
        self.life.on_close()

    def send(self, text):
        self.transport.write(struct.pack(">I", len(text) + 4) + text.encode())

    def close(self):
        self.transport.abort()


class Ws:
    def __init__(self, life, ws):
        self.life, self.ws = life, ws
        self.queue = asyncio.Queue()
        self.tasks = [asyncio.ensure_future(self.write()),
                      asyncio.ensure_future(self.read())]

    @classmethod
    async def open(cls, life, address, port):
        return cls(life, await websockets.connect(
            "ws://%s:%s/ws" % (address, port), ping_interval=None,
            compression=None, open_timeout=5, close_timeout=1))

    async def write(self):
        try:
            while True:
                await self.ws.send(await self.queue.get())
        except (websockets.exceptions.ConnectionClosed, OSError):
            pass  # the reader tells

    async def read(self):
        try:
            async for text in self.ws:
                self.life.on_packet(json.loads(text))
        except (websockets.exceptions.ConnectionClosed, OSError):
            pass
        self.tasks[0].cancel()
        self.life.on_close()

    def send(self, text):
        self.queue.put_nowait(text)

    def close(self):
        self.ws.transport.abort()


class Message:
    __slots__ = ("m", "n", "sender", "to", "at", "reply", "replied",
                 "report", "arrivals")

    def __init__(self, m, n, sender, to):
        self.m, self.n, self.sender, self.to = m, n, sender, to
        self.at = time.monotonic()
        self.reply = self.replied = self.report = None
        self.arrivals = []  # lives

    def word(self):
        """What was said about it, "ok" or a word; None: nothing."""
        return self.report or self.reply


class Life:
    """One conn of a uid, from its bind to its end."""

    def __init__(self, person):
        self.person, self.uid = person, person.uid
        self.heard, self.closed = time.monotonic(), None
        self.bound = False
        self.calls = {}    # id -> Message, not answered yet
        self.sent = collections.Counter()  # by uid
        self.newest = {}   # sender's life -> n
        self.late = set()  # m of those that came after a later one
        self.end = asyncio.get_running_loop().create_future()
        self.transport = None

    def call(self, path, params, number):
        controller, method = path.rsplit("/", 1)
        self.transport.send(json.dumps({
            "controller_name": controller, "method_name": method,
            "params": params, "id": number}))

    def on_packet(self, packet):
        self.heard = time.monotonic()
        self.person.book.on_packet(self, packet)

    def on_close(self):
        if self.closed is None:
            self.closed = time.monotonic()
            self.bound = False
            self.calls.clear()
            self.end.set_result(None)


class Person:
    """A uid, and the conns it has one after the other."""

    def __init__(self, book, index, endpoints):
        self.book, self.index, self.endpoints = book, index, endpoints
        self.uid = "%s%d" % (book.args.prefix, index)
        self.lives = []

    def life(self):
        return self.lives[-1] if self.lives and self.lives[-1].bound else None

    async def live(self):
        turn = self.index
        while True:
            kind, address, port = self.endpoints[turn % len(self.endpoints)]
            turn += 1
            life = Life(self)
            try:
                opening = kind.open(life, address, port)
                life.transport = await asyncio.wait_for(opening, 5)
            except (OSError, asyncio.TimeoutError,
                    websockets.exceptions.WebSocketException):
                await asyncio.sleep(self.book.dice.uniform(0.05, 0.3))
                continue
            self.lives.append(life)
            life.call(self.book.args.bind, {"uid": self.uid}, 0)
            while not life.end.done():
                await asyncio.wait([life.end], timeout=1)
                self.hang_up_when_silent(life)
            self.book.counts["reconnects"] += 1
            await asyncio.sleep(self.book.dice.uniform(0.01, 0.2))

    def hang_up_when_silent(self, life):
        """As people do with a server that has lost its network."""
        waits = life.calls or not life.bound
        silence = time.monotonic() - life.heard
        if life.closed is None and waits and silence > self.book.args.silence:
            self.book.counts["silent"] += 1
            life.transport.close()

    def ended_between(self, start, end):
        """Did one of its conns end then?"""
        return any(x.closed is not None and start <= x.closed <= end
                   for x in self.lives)


class Fault:
    """Spoils every N-th arrival; off by default."""

    def __init__(self, text):
        self.kind, every = text.split(":") if text else ("", "1")
        self.every, self.count, self.kept = int(every), 0, None

    def spoil(self, life, packet):
        """The arrivals to book instead of this one."""
        self.count += 1
        hit = self.kind and self.count % self.every == 0
        kept = self.kept
        if kept and kept[0] is life and kept[1]["from"] == packet["from"]:
            self.kept = None
            return [(life, packet), kept]
        if hit and self.kind == "lose":
            return []
        if hit and self.kind == "double":
            return [(life, packet)] * 2
        if hit and self.kind == "swap" and not kept:
            self.kept = (life, packet)
            return []
        return [(life, packet)]


class Book:
    def __init__(self, args):
        self.args = args
        self.dice = random.Random(args.seed)
        self.fault = Fault(args.fault)
        self.pad = "x" * args.pad
        self.messages = []
        self.counts = collections.Counter()
        self.arrived = None
        self.gap = 0
        self.took = []
        endpoints = []
        for text in args.endpoints:
            kind, rest = text.split(":", 1)
            address, port = rest.rsplit(":", 1)
            endpoints.append(({"tcp": Tcp, "ws": Ws}[kind], address, port))
        self.people = [Person(self, i, endpoints) for i in range(args.conns)]
        self.by_uid = {p.uid: p for p in self.people}

    # What comes ------------------------------------------------------------

    def on_packet(self, life, packet):
        if not isinstance(packet, dict):
            self.strange(life, packet)
        elif "m" in packet:
            for one in self.fault.spoil(life, packet):
                self.on_arrival(*one)
        elif "undelivered" in packet:
            message = self.messages[packet["undelivered"]]
            message.report = packet["reason"].split(":")[0]
        elif packet.get("id") == 0:
            life.bound = "error" not in packet
            if not life.bound:
                life.transport.close()
        elif packet.get("id") in life.calls:
            self.on_reply(life.calls.pop(packet["id"]), packet)
        else:
            self.strange(life, packet)

    def on_reply(self, message, packet):
        message.replied = time.monotonic()
        error = packet.get("error")
        message.reply = error["message"].split(":")[0] if error else "ok"

    def on_arrival(self, life, data):
        now = time.monotonic()
        message = self.messages[data["m"]]
        newest = life.newest.get(message.sender, 0)
        if message.n < newest and life not in message.arrivals:
            life.late.add(message.m)
        life.newest[message.sender] = max(newest, message.n)
        message.arrivals.append(life)
        if self.arrived:
            self.gap = max(self.gap, now - self.arrived)
        self.arrived = now
        if len(self.took) < MAX_LATE:
            self.took.append(now - message.at)

    def strange(self, life, packet):
        self.counts["strange"] += 1
        print("strange:", life.uid, packet, file=sys.stderr)

    # What goes -------------------------------------------------------------

    def fill(self):
        """Every conn sends until so many of its calls are unanswered."""
        for turn, person in enumerate(self.people):
            life = person.life()
            for _ in range(self.args.depth - len(life.calls) if life else 0):
                self.send_one(turn)

    def send_one(self, turn):
        life = self.people[turn % len(self.people)].life()
        if not life or len(life.calls) >= self.args.depth:
            self.counts["skipped"] += 1
            return
        # Few receivers for each sender: order is a matter of pairs.
        step = self.dice.randint(1, min(3, len(self.people) - 1))
        to = self.people[(turn + step) % len(self.people)].uid
        life.sent[to] += 1
        m = len(self.messages)
        message = Message(m, life.sent[to], life, to)
        self.messages.append(message)
        life.calls[m + 1] = message
        life.call(self.args.call, {"to": to, "data": {
            "m": m, "n": message.n, "from": life.uid, "to": to,
            "pad": self.pad}}, m + 1)

    def move_one(self):
        life = self.dice.choice(self.people).life()
        if life:
            self.counts["moves"] += 1
            life.transport.close()

    async def send(self, stop):
        start = time.monotonic()
        turn = moves = 0
        while not stop.is_set():
            for_ = time.monotonic() - start
            if self.args.seconds and for_ > self.args.seconds:
                return
            if self.args.rate == 0:
                self.fill()
            while turn < for_ * self.args.rate:
                self.send_one(turn)
                turn += 1
            while moves < for_ * self.args.moves:
                self.move_one()
                moves += 1
            await asyncio.sleep(0.002)

    async def settle(self):
        self.fault.kind = ""  # what comes now is not kept back for ever
        if self.fault.kept:
            self.on_arrival(*self.fault.kept)
        owed = self.messages
        start = time.monotonic()
        while owed and time.monotonic() - start < self.args.patience:
            await asyncio.sleep(0.05)
            owed = [x for x in owed
                    if self.class_of(x)[1] in ("lost", "unanswered")]
        # What comes twice has this long to come again.
        await asyncio.sleep(self.args.linger)

    # The judgement ---------------------------------------------------------

    def class_of(self, x):
        """The class of a message; a wrong one as ("wrong", which)."""
        lives, word = x.arrivals, x.word()
        if any(life.uid != x.to for life in lives):
            return "wrong", "misdirected"
        if len(set(lives)) < len(lives):
            return "wrong", "doubled"
        if any(x.m in life.late for life in lives):
            return "wrong", "reordered"
        if x.reply is None and x.sender.closed is None:
            return "wrong", "unanswered"
        if len(lives) > 1:
            return "uid_moved", None
        if len(lives) == 1:
            if word in NOT_DONE:
                return "wrong", "denied"
            said = word not in (None, "ok")
            return ("timeout_delivered" if said else "delivered"), None
        return self.class_of_missing(x, word)

    def class_of_missing(self, x, word):
        if word not in (None, "ok"):
            return "reported", None
        end = x.at + self.args.life
        if x.sender.closed is not None and x.sender.closed < end:
            return "sender_died", None
        if self.args.confirmed and x.replied:
            end = x.replied + self.args.unnoticed
        if self.by_uid[x.to].ended_between(x.at - self.args.unnoticed, end):
            return "uid_moved", None
        return "wrong", "lost"

    def judge(self):
        classes = ["delivered", "reported", "timeout_delivered", "sender_died",
                   "uid_moved", "wrong"]
        wrongs = ["lost", "doubled", "reordered", "denied", "misdirected",
                  "unanswered"]
        out = {"sent": len(self.messages)}
        out.update(dict.fromkeys(classes + wrongs, 0))
        words = collections.Counter()
        for x in self.messages:
            name, which = self.class_of(x)
            out[name] += 1
            if name == "reported":
                words[x.word()] += 1
            if which:
                out[which] += 1
                self.tell(x, which, out["wrong"])
        assert sum(out[name] for name in classes) == len(self.messages)
        out["words"] = dict(words)
        for name in ("strange", "reconnects", "silent", "moves", "skipped"):
            out[name] = self.counts[name]
        took = sorted(self.took) or [0]
        for name, part in (("p50_ms", 0.5), ("p99_ms", 0.99), ("worst_ms", 1)):
            out[name] = round(took[int((len(took) - 1) * part)] * 1000, 2)
        out["gap_ms"] = round(self.gap * 1000)
        out["seed"] = self.args.seed
        return out

    def tell(self, x, which, count):
        if count <= 20:
            print("%s: message %d, the %d. from %s to %s, reply %s, report "
                  "%s, arrived on conns of %s" % (
                      which, x.m, x.n, x.sender.uid, x.to, x.reply, x.report,
                      [life.uid for life in x.arrivals]), file=sys.stderr)


async def main():
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("endpoints", nargs="+")
    add("--conns", type=int, default=10)
    add("--rate", type=float, default=200,
        help="messages a second, together; 0: as many as are answered")
    add("--pad", type=int, default=0, help="bytes more in each message")
    add("--seconds", type=float, default=0)
    add("--bind", default="ledger/bind")
    add("--call", default="ledger/deliver")
    add("--confirmed", action="store_true",
        help="a reply of true says: it is in the send queue of its conn")
    add("--prefix", default="u", help="of uids, when several run at once")
    add("--depth", type=int, default=50, help="calls of a conn unanswered")
    add("--moves", type=float, default=0, help="conns closed a second")
    add("--life", type=float, default=30, help="seconds a message lives")
    add("--unnoticed", type=float, default=3,
        help="seconds in which the end of a conn may not be known")
    add("--silence", type=float, default=20,
        help="seconds without a word after which a conn is given up")
    add("--patience", type=float, default=40)
    add("--linger", type=float, default=0.5)
    add("--fault", default="")
    add("--seed", type=int, default=random.randrange(1 << 30))
    book = Book(parser.parse_args())

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks = [asyncio.ensure_future(p.live()) for p in book.people]
    while not all(p.life() for p in book.people):
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await book.send(stop)
    await book.settle()
    for task in tasks:
        task.cancel()
    print(json.dumps(book.judge()), flush=True)


asyncio.run(main())
