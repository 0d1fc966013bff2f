"""A crowd for specs: conns that bind, kick, join, listen and drop at random.

    crowd.py PORT SEED SECONDS CONNS STATUS-COMMAND

Meanwhile workers of the node are killed. Then the crowd calms down, and what
the node says of uids, groups and topics is compared with what the conns that
are left say themselves. Prints one line of JSON: "problems" is what does not
match, the rest says what was done. The node runs the controller of
spec/e2e/crowd_spec.lua.
"""
import asyncio
import collections
import json
import os
import random
import signal
import struct
import sys
import time

ANSWER = 60  # seconds; nobody waits that long unless something is wrong
KILLS = 4  # of one slot within a minute; more would open its breaker
WORKERS = 4
HOPS = ["sends", "pushes", "messages"]  # that each process keeps books of
GROUPS = ["red", "green", "blue", "wide/open"]
FILTERS = ["news/1", "news/2", "news/+", "news/#", "#", "sport/+/goals"]
TOPICS = ["news/1", "news/2", "news/deep/er", "sport/a/goals", "silence"]


def matches(topic_filter, topic):
    """By the rules of MQTT, of topics without $."""
    want, have = topic_filter.split("/"), topic.split("/")
    for i, word in enumerate(want):
        if word == "#":
            return True
        if i >= len(have) or word not in ("+", have[i]):
            return False
    return len(want) == len(have)


class Lost(Exception):
    """The conn has closed."""


class Conn:
    """Packets of JSON behind a length of four bytes, and what we know."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.uid = None
        self.filters = set()
        self.marks = collections.Counter()  # what verification sent to us
        self.odd = None  # a reply that only a conn that closes may get
        self.open = True
        self.waiting = {}
        self.calls = 0
        self.task = asyncio.ensure_future(self.read())

    async def read(self):
        try:
            while True:
                head = await self.reader.readexactly(4)
                size = struct.unpack(">I", head)[0] - 4
                packet = json.loads(await self.reader.readexactly(size))
                if "id" in packet:
                    self.waiting.pop(packet["id"]).set_result(packet)
                elif "mark" in packet:
                    self.marks[packet["mark"]] += 1
        except (asyncio.IncompleteReadError, OSError):
            pass
        self.open = False
        self.writer.close()
        for future in self.waiting.values():
            future.set_exception(Lost())
        self.waiting.clear()

    async def call(self, method, **params):
        """The result of a method; Lost when the conn has closed first."""
        if not self.open:
            raise Lost()
        self.calls += 1
        text = json.dumps({"controller_name": "crowd", "method_name": method,
                           "params": params, "id": self.calls}).encode()
        future = asyncio.get_running_loop().create_future()
        self.waiting[self.calls] = future
        self.writer.write(struct.pack(">I", len(text) + 4) + text)
        packet = await asyncio.wait_for(future, ANSWER)
        if "error" in packet:
            self.odd = [method, params, packet["error"]]
        return packet.get("result")

    def drop(self, rudely=False):
        if rudely:
            self.writer.transport.abort()
        else:
            self.writer.close()


class Crowd:
    def __init__(self, port, seed, seconds, size, status):
        self.port, self.seed, self.seconds = port, seed, seconds
        self.size, self.status_command = size, status
        self.problems = []
        self.deeds = collections.Counter()
        self.killed = []  # pids
        self.pool = ["kick%d" % i for i in range(size // 6)]
        self.pool += ["refuse%d" % i for i in range(size // 12)]
        self.pool += ["allow%d" % i for i in range(size // 12)]
        self.pool += ["mixed%d" % i for i in range(size // 12)]
        self.members = {}  # own uid -> groups it is in for sure
        self.unsure = collections.defaultdict(set)  # own uid -> groups
        # uid -> groups: a worker that died may have changed them in Redis and
        # told nobody.
        self.untold = collections.defaultdict(set)

    def problem(self, *words):
        self.problems.append(" ".join(
            w if isinstance(w, str) else json.dumps(w) for w in words))

    async def open(self):
        while True:
            try:
                return Conn(*await asyncio.open_connection(
                    "127.0.0.1", self.port))
            except OSError:
                await asyncio.sleep(0.05)

    async def status(self):
        """`sdlua status --json`; its books must balance at any moment."""
        process = await asyncio.create_subprocess_shell(
            self.status_command, stdout=asyncio.subprocess.PIPE)
        status = json.loads((await process.communicate())[0])
        for p in status["processes"]:
            for hop in HOPS:
                n = p.get(hop)
                if n and n["accepted"] != (n["delivered"] + n["in_flight"]
                                           + sum(n["dropped"].values())):
                    self.problem(hop, "do not add up:", p)
        return status

    async def workers(self):
        processes = (await self.status())["processes"]
        return [p for p in processes if p["role"] == "worker"]

    # What a member of the crowd may do ------------------------------------

    def uid_and_policy(self, own, chance):
        uid = own if chance.random() < 0.3 else chance.choice(self.pool)
        for policy in ("kick", "refuse", "allow"):
            if uid.startswith(policy):
                return uid, policy
        return uid, chance.choice(["kick", "refuse", "allow"])

    async def bind(self, c, own, chance):
        uid, policy = self.uid_and_policy(own, chance)
        result = await c.call("bind", uid=uid, policy=policy)
        if result and result.get("ok"):
            c.uid = uid

    async def unbind(self, c, own, chance):
        await c.call("unbind")
        c.uid = None

    async def kick(self, c, own, chance):
        await c.call("kick", uid=chance.choice(self.pool))

    async def change(self, c, own, chance, method):
        """Join or leave; of an own uid we know what has become of it."""
        group = chance.choice(GROUPS)
        known = c.uid == own
        if known:
            self.unsure[own].add(group)
        try:
            result = await c.call(method, group=group)
        except Lost:
            if c.uid:
                self.untold[c.uid].add(group)
            raise
        if known and result and result.get("ok"):
            self.unsure[own].discard(group)
            mine = self.members.setdefault(own, set())
            (mine.add if method == "join" else mine.discard)(group)

    async def join(self, c, own, chance):
        await self.change(c, own, chance, "join")

    async def leave(self, c, own, chance):
        await self.change(c, own, chance, "leave")

    async def subscribe(self, c, own, chance):
        topic_filter = chance.choice(FILTERS)
        if await c.call("hear", filter=topic_filter):
            c.filters.add(topic_filter)

    async def unsubscribe(self, c, own, chance):
        topic_filter = chance.choice(FILTERS)
        if await c.call("ignore", filter=topic_filter):
            c.filters.discard(topic_filter)

    async def talk(self, c, own, chance):
        await c.call("talk", topic=chance.choice(TOPICS), n=3,
                     group=chance.choice(GROUPS), uid=chance.choice(self.pool))

    async def drop(self, c, own, chance):
        c.drop(chance.random() < 0.5)
        raise Lost()

    async def drop_in_a_call(self, c, own, chance):
        call = asyncio.ensure_future(self.bind(c, own, chance))
        await asyncio.sleep(0)
        c.drop(chance.random() < 0.5)
        await asyncio.gather(call, return_exceptions=True)
        raise Lost()

    async def member(self, number, until):
        """One who does this and that, and comes again whenever cut off."""
        chance = random.Random("%s %d" % (self.seed, number))
        own = "own%d" % number
        deeds = [self.bind] * 7 + [self.join] * 3 + [self.subscribe] * 3
        deeds += [self.unbind, self.kick, self.talk, self.unsubscribe]
        deeds += [self.leave, self.leave, self.drop, self.drop_in_a_call]
        c = await self.open()
        while time.monotonic() < until:
            deed = chance.choice(deeds)
            try:
                await deed(c, own, chance)
                self.deeds[deed.__name__] += 1
            except Lost:
                await c.task
                c = await self.open()
            except asyncio.TimeoutError:
                self.problem("no answer to", deed.__name__)
            await asyncio.sleep(chance.random() * self.size / 1500)
        return c

    async def kill(self, until):
        """Kill workers, now and then two at once."""
        chance = random.Random("%s kill" % self.seed)
        times = collections.defaultdict(list)
        pace = max(0.5, self.seconds / 16)
        await asyncio.sleep(pace / 2)
        while time.monotonic() < until:
            victims = await self.workers()
            chance.shuffle(victims)
            for p in victims[:chance.choice([1, 1, 2])]:
                now = time.monotonic()
                recent = [t for t in times[p["index"]] if t > now - 65]
                if p["pid"] == 0 or len(recent) >= KILLS:
                    continue
                times[p["index"]] = recent + [now]
                self.killed.append(p["pid"])
                os.kill(p["pid"], signal.SIGKILL)
                await asyncio.sleep(chance.random() * 0.01)
            await asyncio.sleep(pace * (0.5 + chance.random()))

    # What is true afterwards ------------------------------------------------

    async def calm(self, conns):
        """Wait for all workers; a conn of each, by slot, to ask with."""
        probes = {}
        while any(p["state"] != "ready" for p in await self.workers()):
            await asyncio.sleep(0.1)
        while len(probes) < WORKERS:
            c = await self.open()
            conns.append(c)
            slot = (await c.call("me"))["slot"]
            probes.setdefault(slot, c)
        return probes

    async def until_same(self, what, differences):
        """Nobody does anything any more: soon nothing may differ."""
        limit = time.monotonic() + ANSWER
        while True:
            try:
                found = await differences()
            except (Lost, asyncio.TimeoutError) as e:
                found = ["a conn is lost or gets no answer: %r" % e]
            if not found:
                return
            if time.monotonic() > limit:
                for words in found[:10]:
                    self.problem(what + ":", words)
                return
            await asyncio.sleep(0.1)

    async def uids(self, conns, probes):
        """The table of each worker, against the conns."""
        live = [c for c in conns if c.open]
        says = await asyncio.gather(*[c.call("me") for c in live])
        found = ["a conn is %s, bound itself as %s" % (s.get("uid"), c.uid)
                 for c, s in zip(live, says) if s.get("uid") != c.uid]
        found += ["an odd reply: %s" % c.odd for c in live if c.odd]
        held = collections.Counter(c.uid for c in live if c.uid)
        found += ["%s has %d conns" % (u, n) for u, n in held.items()
                  if n > 1 and u.startswith(("kick", "refuse"))]
        asked = sorted(set(self.pool) | set(held))
        for slot, probe in probes.items():
            table = await probe.call("table", uids=asked)
            pages = sorted(table["pages"])
            online = sorted(table["online"])
            for name, value, want in (
                    ("count_online", table["count"], len(held)),
                    ("online_uids", pages, sorted(held)),
                    ("uid_is_online", online, sorted(held))):
                if value != want:
                    found.append("%s of worker %s gives %s, not %s"
                                 % (name, slot, value, want))
        return found

    async def groups(self, conns, probes):
        """Lists of groups, against the conns and what members know."""
        found = []
        self.group_uids = {}
        held = {c.uid for c in conns if c.open and c.uid}
        for group in GROUPS:
            one = await next(iter(probes.values())).call("group", group=group)
            uids = self.group_uids[group] = set(one["uids"])
            for probe in probes.values():
                got = await probe.call("group", group=group)
                if sorted(got["online"]) != sorted(uids & held):
                    found.append("online of %s: %s, not %s" % (
                        group, sorted(got["online"]), sorted(uids & held)))
            for own, mine in self.members.items():
                if group not in self.unsure[own] and (
                        (group in mine) != (own in uids)):
                    found.append("%s is in %s: %s" % (own, group, own in uids))
        return found

    async def topics(self, conns, probes):
        """How many listen to each filter, as each worker says."""
        want = {f: sum(f in c.filters for c in conns if c.open)
                for f in FILTERS}
        counts = await asyncio.gather(
            *[p.call("count", filters=FILTERS) for p in probes.values()])
        return ["topic_count gives %s, not %s" % (n, want)
                for n in counts if n != want]

    async def reach(self, conns, probes):
        """What each worker sends reaches exactly whom it is for, once."""
        live = [c for c in conns if c.open]
        held = sorted({c.uid for c in live if c.uid})
        self.rounds += 1
        for c in live:
            c.marks.clear()
        marks = {}
        for slot, probe in probes.items():
            mark = "%d from %s" % (self.rounds, slot)
            await probe.call("reach", topics=TOPICS, groups=GROUPS,
                             uids=held, mark=mark)
            marks[slot] = mark
        limit = time.monotonic() + ANSWER
        while time.monotonic() < limit and not all(
                c.marks[m + " end"] for c in live for m in marks.values()):
            await asyncio.sleep(0.02)
        found = []
        for c in live:
            want = collections.Counter()
            for mark in marks.values():
                want[mark + " end"] = 1
                for t in TOPICS:
                    want[mark + " topic " + t] = int(
                        any(matches(f, t) for f in c.filters))
                for g in GROUPS:
                    want[mark + " group " + g] = int(
                        c.uid in self.group_uids[g])
                if c.uid:
                    want[mark + " uid " + c.uid] = 1
            untold = {mark + " group " + g for mark in marks.values()
                      for g in self.untold.get(c.uid, ())}
            for mark in (set(want) | set(c.marks)) - untold:
                if want[mark] != c.marks[mark]:
                    found.append("conn of %s with %s hears %s %d times" % (
                        c.uid, sorted(c.filters), mark, c.marks[mark]))
        return found

    async def ends(self, probe):
        """Each binding's end was told: once, or by an heir at least once."""
        tallies = await probe.call("tallies")
        killed = {str(pid) for pid in self.killed}
        made, lost, unsure = [collections.Counter() for _ in range(3)]
        for kind, sign in (("tried", 1), ("new", -1), ("same", -1),
                           ("refused", -1)):
            for key, n in tallies[kind].items():
                uid, pid = key.split()
                n = int(n)
                if kind == "new":
                    (lost if pid in killed else made)[uid] += n
                unsure[uid, pid] += sign * n
        open_in_dead = collections.Counter()
        found = []
        for (uid, pid), n in unsure.items():
            if pid in killed:
                open_in_dead[uid] += n
            elif n != 0:
                found.append("%d binds of %s never returned" % (n, uid))
        for uid in {uid for uid, _ in unsure}:
            told = int(tallies["plain"].get(uid, 0))
            inherited = int(tallies["error"].get(uid, 0))
            certain = made[uid] + lost[uid]
            if (told + inherited < certain
                    or told > certain + open_in_dead[uid]
                    or inherited > 0 and not lost[uid] + open_in_dead[uid]):
                found.append("%s: %d + %d bindings and %d perhaps, %d ends "
                             "and %d of the dead" % (
                                 uid, made[uid], lost[uid], open_in_dead[uid],
                                 told, inherited))
        self.bindings = sum(made.values()) + sum(lost.values())
        return found

    async def settled(self):
        """Nothing is under way any more in any process."""
        return ["%s %d has %s in flight" % (p["role"], p["index"], hop)
                for p in (await self.status())["processes"] for hop in HOPS
                if p.get(hop, {}).get("in_flight")]

    async def run(self):
        until = time.monotonic() + self.seconds
        killer = asyncio.ensure_future(self.kill(until))
        conns = list(await asyncio.gather(
            *[self.member(i, until) for i in range(self.size)]))
        await killer
        probes = await self.calm(conns)
        self.rounds = 0
        await self.until_same("uids", lambda: self.uids(conns, probes))
        await self.until_same("groups", lambda: self.groups(conns, probes))
        await self.until_same("topics", lambda: self.topics(conns, probes))
        await self.until_same("reach", lambda: self.reach(conns, probes))
        await self.until_same("sends", self.settled)
        left = sum(c.open for c in conns)
        probe = next(iter(probes.values()))
        for c in conns:
            if c is not probe:
                c.drop()
        await self.until_same("ends", lambda: self.ends(probe))
        probe.drop()
        return {
            "problems": self.problems,
            "deeds": self.deeds,
            "killed": len(self.killed),
            "left": left,
            "rounds": self.rounds,
            "bindings": self.bindings,
        }


async def main():
    port, seed, seconds, conns = sys.argv[1:5]
    crowd = Crowd(int(port), seed, float(seconds), int(conns), sys.argv[5])
    print(json.dumps(await crowd.run()))


asyncio.run(main())
