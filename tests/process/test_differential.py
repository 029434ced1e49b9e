"""The same random commands to redis-server 7.0.15 and to one leader: the replies are equal, byte for byte.

Strings, counters, bitmaps, HyperLogLogs, lists, keys, databases, wrong arguments and errors. Reproducible: set POLYARCH_SEED. The first
difference is shown with its seed and the history of the keys it touches. Known deviations are in
DEVIATIONS, each with its reason, as in docs/compatibility.md.
"""

import os
import random
import re
import shutil
import subprocess
import time

from cluster import Cluster, Process, Skip, free_port, until
from resp import Connection

BATCH = 50
TIME_TOLERANCE = {b"TTL": 1, b"PTTL": 1500, b"EXPIRETIME": 2, b"PEXPIRETIME": 1500}
ANY_ORDER = {b"KEYS", b"SCAN"}
FAR = 4_000_000_000  # a Unix time that does not come while the test runs
INT_EDGES = [0, 1, -1, 2, 7, 100, 2**31 - 1, 2**31, -2**31, 2**32, 2**63 - 1, 2**63, -2**63, -2**63 - 1]


class Generator:
    """Draws commands; few keys, so that they meet."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.makers = [
            (14, self.set), (8, self.get), (10, self.counter), (6, self.text), (6, self.expire), (6, self.ttl),
            (5, self.many), (18, self.list), (5, self.keys), (4, self.rename), (3, self.edge), (2, self.wrong), (1, self.database),
            (8, self.bits), (4, self.bitfield), (5, self.sketch)]
        self.weights = [weight for weight, _ in self.makers]
        self.functions = [function for _, function in self.makers]
        self.next = []

    def command(self):
        if not self.next:
            self.next = [self.draw_one()]
            if self.next[0][0] == "INCRBYFLOAT" and not self.next[0][1].startswith("f"):
                # A leader keeps digits that Redis rounds away. Copying gives both the same text again; the
                # keys f..., which hold no huge numbers, do without.
                key = self.next[0][1]
                self.next += [["COPY", key, "flat", "REPLACE"], ["RENAME", "flat", key]]
        return [word if isinstance(word, bytes) else str(word).encode() for word in self.next.pop(0)]

    def draw_one(self):
        while True:
            made = self.draw.choices(self.functions, self.weights)[0]()
            words = [str(word) for word in made]
            huge = any(re.fullmatch(r"-?\d{9,}", word) for word in words)
            if not huge or not any(word.startswith("f") for word in words[1:]):
                return made

    def key(self):
        return self.draw.choice(["a", "b", "c", "n1", "n2", "n3", "f1", "long", "", "x\0y", "t1", "t2"]) + \
            self.draw.choice(["", "", "", "2", "3"])

    def integer(self):
        draw = self.draw
        return draw.choice([draw.randint(-10, 10), draw.randint(-10**6, 10**6), draw.choice(INT_EDGES)])

    def number_text(self):
        draw = self.draw
        return draw.choice([
            self.integer(), f"{draw.uniform(-100, 100):.{draw.randint(0, 6)}f}", "3.0", "1e5", "-0", "+5", " 5", "5 ",
            "abc", "", "1.5e-3", "inf", "nan", "99999999999999999999", "007"])

    def value(self):
        draw = self.draw
        return draw.choice([
            self.integer(), self.number_text(), "v" * draw.randint(0, 60), "", "hello world",
            bytes(draw.randrange(256) for _ in range(draw.randint(0, 12))), draw.randint(0, 20)])

    def case(self, word):
        return self.draw.choice([word, word.lower(), word.title()])

    def ttl_option(self):
        draw = self.draw
        return draw.choice([
            ["EX", draw.randint(1000, 9999)], ["PX", draw.randint(10**6, 10**7)], ["EXAT", FAR + draw.randint(0, 99)],
            ["PXAT", FAR * 1000 + draw.randint(0, 9999)], ["KEEPTTL"], ["EX", 0], ["PX", -5], ["EX", "x"],
            ["EX", 2**62], ["PX"], []])

    def set(self):
        draw = self.draw
        if draw.random() < 0.5:
            return ["SET", self.key(), self.value()]
        words = ["SET", self.key(), self.value()]
        parts = [draw.choice([[], ["NX"], ["XX"], ["nx"]]), draw.choice([[], [], ["GET"]]), self.ttl_option()]
        if draw.random() < 0.05:
            parts.append(draw.choice([["NX"], ["EX", 5000], ["BOGUS"], ["PERSIST"]]))
        draw.shuffle(parts)
        return words + sum(parts, [])

    def get(self):
        draw = self.draw
        return draw.choice([
            ["GET", self.key()], ["GET", self.key()], ["STRLEN", self.key()], ["EXISTS", self.key()],
            ["TYPE", self.key()], ["GETDEL", self.key()], ["GETSET", self.key(), self.value()],
            ["GETEX", self.key()] + self.ttl_option(), ["GETEX", self.key(), "PERSIST"],
            ["GETEX", self.key(), "EXAT", 5],
            ["GETRANGE", self.key(), self.integer(), self.integer()],
            ["SUBSTR", self.key(), draw.randint(-9, 9), draw.randint(-9, 9)]])

    def counter(self):
        draw = self.draw
        return draw.choice([
            ["INCR", self.key()], ["DECR", self.key()], ["INCRBY", self.key(), self.integer()],
            ["DECRBY", self.key(), self.integer()], ["INCRBY", self.key(), self.number_text()],
            ["INCRBYFLOAT", self.key(), self.draw.choice(["0.1", "1.5", "-2.25", "3", "1e3", "5.0e-2"])],
            ["INCRBYFLOAT", self.key(), self.number_text()]])

    def text(self):
        draw = self.draw
        return draw.choice([
            ["APPEND", self.key(), self.value()], ["SETRANGE", self.key(), draw.randint(0, 40), self.value()],
            ["SETRANGE", self.key(), draw.choice([-1, 0, 2**29, 2**40, "x"]), self.value()],
            ["SETNX", self.key(), self.value()], ["SETEX", self.key(), draw.choice([5000, 0, -1, "x", 2**60]), "e"],
            ["PSETEX", self.key(), draw.choice([5_000_000, 0, -1, "x"]), "p"],
            ["LCS", self.key(), self.key()] + draw.choice([
                [], ["LEN"], ["IDX"], ["IDX", "WITHMATCHLEN"], ["IDX", "MINMATCHLEN", 2], ["LEN", "IDX"], ["X"]])])

    def expire(self):
        draw = self.draw
        name, unit, at = draw.choice([("EXPIRE", 1, 0), ("PEXPIRE", 1000, 0), ("EXPIREAT", 1, 1),
                                      ("PEXPIREAT", 1000, 1)])
        when = (FAR if at else 5000) * unit + draw.randint(0, 3000) * unit
        if draw.random() < 0.15:
            when = draw.choice([0, -1, 1, "x", 2**62, -2**63, 2**63 - 1, 2**63, 10**15])
            if when == 1 and not at:
                when = -1
        option = draw.choice([[], [], [], ["NX"], ["XX"], ["GT"], ["LT"], ["nx"], ["NX", "XX"], ["GT", "LT"], ["Z"]])
        return draw.choice([[name, self.key(), when] + option, [name, self.key(), when], ["PERSIST", self.key()]])

    def ttl(self):
        return [self.draw.choice(["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]), self.key()]

    def many(self):
        draw = self.draw
        keys = [self.key() for _ in range(draw.randint(1, 4))]
        flat = [word for key in keys for word in (key, self.value())]
        return draw.choice([["MGET"] + keys, ["MSET"] + flat, ["MSETNX"] + flat, ["DEL"] + keys, ["UNLINK"] + keys,
                            ["EXISTS"] + keys, ["TOUCH"] + keys, ["MSET"] + flat + ["odd"]])

    def list_key(self):
        return self.key() if self.draw.random() < 0.1 else self.draw.choice(["l1", "l2", "l3"])

    def list(self):
        draw, key = self.draw, self.list_key
        # Few values, so that they are found again.
        value = lambda: draw.choice([draw.randint(0, 9), "v", self.value()])
        index = lambda: draw.choice([draw.randint(-6, 6), draw.randint(-60, 60), self.integer(), "x"])
        end = lambda: draw.choice(["LEFT", "RIGHT", "left", "right", "RIGHT", "UP"])
        values = lambda: [value() for _ in range(draw.choice([1, 1, 2, 5, 40]))]
        keys = lambda: [key() for _ in range(draw.randint(1, 3))]
        popped = keys()
        return draw.choice([
            ["RPUSH", key()] + values(), ["LPUSH", key()] + values(), ["RPUSH", key()] + values(),
            [draw.choice(["RPUSHX", "LPUSHX"]), key()] + values(),
            [draw.choice(["LPOP", "RPOP"]), key()], [draw.choice(["LPOP", "RPOP"]), key(), draw.choice([0, 1, 3, 20, -1, "x"])],
            ["LLEN", key()], ["LRANGE", key(), index(), index()], ["LRANGE", key(), 0, -1], ["LINDEX", key(), index()],
            ["LSET", key(), index(), value()], ["LINSERT", key(), draw.choice(["BEFORE", "after", "AFTER", "X"]), value(), value()],
            ["LINSERT", key(), draw.choice(["BEFORE", "AFTER"]), value(), value()],
            ["LREM", key(), draw.choice([0, 1, -1, 2, -2, "x"]), value()], ["LTRIM", key(), draw.randint(0, 3), -1 - draw.randint(0, 3)],
            ["LTRIM", key(), index(), index()], ["LMOVE", key(), key(), end(), end()], ["RPOPLPUSH", key(), key()],
            ["LPOS", key(), value()] + draw.choice([[], ["RANK", index()], ["COUNT", draw.randint(-1, 5)],
                                                    ["COUNT", 0, "RANK", draw.randint(-3, 3)], ["MAXLEN", draw.randint(-1, 9)], ["X"]]),
            ["LMPOP", len(popped)] + popped + [end()] + draw.choice([[], ["COUNT", draw.randint(-1, 9)], ["X"]]),
            [draw.choice(["BLPOP", "BRPOP"]), "l1", key(), draw.choice([0.001, "x", -1])], ["TYPE", key()],
            ["BLMOVE", key(), key(), end(), end(), 0.001], ["OBJECT", "ENCODING", "l1"],
            draw.choice([["RENAME", key(), key()], ["COPY", key(), key(), "REPLACE"], ["DEL", key()], ["EXPIRE", key(), 5000],
                         ["PERSIST", key()], ["TTL", key()]])])

    def keys(self):
        draw = self.draw
        return draw.choice([
            ["KEYS", draw.choice(["*", "a*", "?", "[ab]", "*2", "n[1-2]*", "[^a]", "\\a", "x*y", "", "["])],
            ["SCAN", "0", "COUNT", "100000"], ["SCAN", "0", "MATCH", "n*", "COUNT", "100000"],
            ["SCAN", "0", "TYPE", draw.choice(["string", "list"]), "COUNT", "100000"], ["SCAN", "x"],
            ["SCAN", "0", "COUNT", "0"], ["SCAN", "0", "COUNT", "x"], ["SCAN", "0", "BOGUS"], ["DBSIZE"],
            ["DBSIZE"], ["OBJECT", "ENCODING", self.key()], ["OBJECT", "REFCOUNT", "no such"], ["TYPE", self.key()]])

    def rename(self):
        draw = self.draw
        return draw.choice([
            ["RENAME", self.key(), self.key()], ["RENAMENX", self.key(), self.key()], ["COPY", self.key(), self.key()],
            ["COPY", self.key(), self.key(), "REPLACE"], ["COPY", self.key(), self.key(), "DB", draw.randint(0, 2)],
            ["COPY", self.key(), self.key(), "DB", draw.choice([16, -1, "x"])], ["COPY", self.key(), self.key(), "X"]])

    def edge(self):
        name = self.draw.choice(["INCRBY", "DECRBY"])
        return self.draw.choice([["SET", self.key(), self.draw.choice(INT_EDGES)],
                                 [name, self.key(), self.draw.choice(INT_EDGES)]])

    def bit_offset(self):
        draw = self.draw
        return draw.choice([draw.randint(0, 20), draw.randint(0, 600), draw.choice([-1, 2**32, 2**63, "x", "", "#1"])])

    def bit_range(self):
        draw = self.draw
        ends = [draw.choice([draw.randint(-70, 70), draw.choice(INT_EDGES + ["x"])]) for _ in range(2)]
        return draw.choice([[], ends, ends + [draw.choice(["BYTE", "BIT", "bit", "X"])], ends[:1]])

    def bits(self):
        draw = self.draw
        return draw.choice([
            ["SETBIT", self.key(), self.bit_offset(), draw.choice([0, 1, 0, 1, 0, 1, 2, -1, "x"])],
            ["SETBIT", self.key(), draw.randint(0, 300), draw.randint(0, 1)],
            ["GETBIT", self.key(), self.bit_offset()],
            ["BITCOUNT", self.key()] + self.bit_range(),
            ["BITPOS", self.key(), draw.choice([0, 1, 0, 1, 2, "x"])] + self.bit_range(),
            ["BITOP", draw.choice(["AND", "OR", "XOR", "xor", "NOT", "X"]), self.key()] +
            [self.key() for _ in range(draw.choice([1, 1, 2, 3]))]])

    def bitfield(self):
        draw = self.draw
        words = [draw.choice(["BITFIELD"] * 4 + ["BITFIELD_RO"]), self.key()]
        for _ in range(draw.randint(0, 4)):
            if draw.random() < 0.3:
                words += ["OVERFLOW", draw.choice(["WRAP", "SAT", "FAIL", "sat", "X"] if draw.random() < 0.1 else
                                                  ["WRAP", "SAT", "FAIL", "sat"])]
            kind = draw.choice("ui") + str(draw.choice([draw.randint(1, 63), draw.randint(1, 16), 8, 63]))
            if draw.random() < 0.05:
                kind = draw.choice(["u64", "i64", "i0", "x8", "", "u08"])
            offset = draw.choice([draw.randint(0, 200), "#" + str(draw.randint(0, 9))])
            if draw.random() < 0.05:
                offset = self.bit_offset()
            operation = draw.choice(["GET", "SET", "INCRBY"])
            words += [operation, kind, offset]
            if operation != "GET":
                operand = draw.choice([self.integer(), draw.randint(-300, 300)])
                # (Of the lowest 64-bit numbers Redis makes the highest when they saturate.)
                words.append(operand + 2**62 if operand == -2**63 else operand)
        if draw.random() < 0.05:
            words.append(draw.choice(["GET", "SET", "X", "OVERFLOW"]))
        return words

    def sketch(self):
        # (PFCOUNT of one key writes in Redis, and so changes what GET shows: not here.)
        draw = self.draw
        name = lambda: draw.choice(["h1", "h2", "h3", "h4"]) if draw.random() < 0.95 else self.key()
        elements = [draw.randint(0, draw.choice([20, 10**6])) for _ in range(draw.choice([0, 1, 3, 60]))]
        return draw.choice([
            ["PFADD", name()] + elements, ["PFADD", name()] + elements, ["PFCOUNT", name(), name()],
            ["PFCOUNT", name(), name(), name()], ["PFMERGE", name(), name()], ["PFMERGE", name(), name(), name()],
            ["GET", name()], ["DEL", name()] if draw.random() < 0.2 else ["STRLEN", name()],
            ["PFDEBUG", draw.choice(["ENCODING", "DECODE", "TODENSE" if draw.random() < 0.1 else "ENCODING"]), name()]])

    def wrong(self):
        draw = self.draw
        name = draw.choice(["GET", "SET", "INCR", "INCRBY", "MGET", "MSET", "SETEX", "GETRANGE", "EXPIRE", "TTL", "COPY",
                            "RENAME", "DEL", "APPEND", "LCS", "SCAN", "NOSUCHCOMMAND", "SETRANGE", "KEYS", "ECHO",
                            "SELECT", "OBJECT", "PERSIST", "GETEX", "DBSIZE", "FLUSHDB", "PING", "TYPE", "SETBIT", "BITOP",
                            "PFADD", "SORT", "RESTORE", ""])
        words = [self.key() for _ in range(draw.randint(0, 4))]
        if name == "SELECT" or (name == "FLUSHDB" and not words):
            words = ["x"]
        if name == "SCAN":
            words = ["y"] + words
        # (Redis cuts a word at its first NUL in the text of "unknown command".)
        return [self.case(name)] + [word.replace("\0", "\r\n") for word in words]

    def database(self):
        draw = self.draw
        return draw.choice([["SELECT", draw.choice([0, 0, 0, 1, 2])], ["SELECT", draw.choice([16, -1, "x", 2**40])],
                            ["ECHO", self.value()], ["PING"], ["PING", self.value()],
                            draw.choice([["FLUSHDB"], ["DBSIZE"], ["DBSIZE"], ["DBSIZE"], ["FLUSHALL", "ASYNC"],
                                         ["FLUSHDB", "SYNC"], ["FLUSHALL", "X"]])])


# (what, does it cover this command and these replies): differences that are meant. What would make the
# states differ is not drawn at all: hexadecimal text as a number (INCRBYFLOAT), which is none here.
DEVIATIONS = [
    ("OBJECT ENCODING is told from the value alone: how a string came about is not remembered",
     lambda command, ours, theirs: command[0].upper() == b"OBJECT" and {ours, theirs} <= {
         b"$3\r\nint\r\n", b"$3\r\nraw\r\n", b"$6\r\nembstr\r\n"}),
]


def _normal(name, reply):
    """Sorted, for replies whose order is nobody's promise."""
    if name in ANY_ORDER and reply[:1] == b"*":
        return b"".join(sorted(reply.split(b"\r\n")))
    return reply


def _equal(command, ours, theirs):
    if ours == theirs:
        return True
    name = command[0].upper()
    if name in TIME_TOLERANCE and ours[:1] == theirs[:1] == b":":
        mine, other = int(ours[1:]), int(theirs[1:])
        return mine > 0 and other > 0 and abs(mine - other) <= TIME_TOLERANCE[name]
    if _normal(name, ours) == _normal(name, theirs):
        return True
    return any(covers(command, ours, theirs) for _, covers in DEVIATIONS)


def _float_drift(command, ours, theirs):
    """Redis rounds a float to 17 digits at each INCRBYFLOAT; a leader keeps base and sum apart (as long
    doubles) and rounds what it shows. From here on the two may differ, so the round ends."""
    if command[0].upper() != b"INCRBYFLOAT" or ours[:1] != b"$" or theirs[:1] != b"$":
        return False
    mine, other = float(ours.split(b"\r\n")[1]), float(theirs.split(b"\r\n")[1])
    return abs(mine - other) <= max(1e-15 * max(abs(mine), abs(other)), 1e-6)


def _show(command):
    return " ".join(repr(word)[1:] if len(word) < 80 else repr(word[:80])[1:] + "..." for word in command)


def _compare(seed, count, polyarch, redis):
    """Returns how many commands were compared."""
    generator = Generator(seed)
    history = []
    done = 0
    for connection in (polyarch, redis):
        assert connection.ask("SELECT", 0) == b"OK"
    while done < count:
        batch = [generator.command() for _ in range(min(BATCH, count - done))]
        data = b"".join(b"*%d\r\n" % len(c) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in c) for c in batch)
        polyarch.send_raw(data)
        redis.send_raw(data)
        for command in batch:
            ours, theirs = polyarch.read_raw(), redis.read_raw()
            done += 1
            history.append((done, command, theirs))
            if not _equal(command, ours, theirs):
                if _float_drift(command, ours, theirs):
                    return done
                keys = set(command[1:])
                related = [entry for entry in history if keys & set(entry[1][1:]) or entry[1][0].upper() in (
                    b"SELECT", b"FLUSHDB", b"FLUSHALL")]
                story = "\n".join(f"        {number}: {_show(past)} -> {reply[:80]!r}"
                                  for number, past, reply in related[-25:])
                raise AssertionError(
                    f"command {done} of seed {seed}: {_show(command)}\n      redis:    {theirs[:300]!r}\n"
                    f"      polyarch: {ours[:300]!r}\n      what touched its keys before (with redis's replies):\n{story}")
        del history[:-20_000]
    return done


def _redis_server(cluster):
    if not shutil.which("redis-server"):
        raise Skip("redis-server is not installed")
    version = subprocess.run(["redis-server", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    if "v=7.0." not in version:
        raise Skip("redis-server is not 7.0: " + version.strip())
    port = free_port()
    cluster.others.append(Process(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
         cluster.directory], os.path.join(cluster.directory, "redis.log")))

    def answers():
        try:
            with Connection(port) as connection:
                return connection.ask("PING") == b"PONG"
        except OSError:
            return False
    until("redis-server answers", answers)
    return port


def test_differential(long):
    first = int(os.environ.get("POLYARCH_SEED", 1))
    rounds, count = (100, 10_000) if long else (6, 5_000)
    with Cluster(["eu"], flags=["--durability", "everysec"]) as cluster:
        port = _redis_server(cluster)
        begin = time.monotonic()
        done = 0
        for seed in range(first, first + rounds):
            with cluster.eu.connect() as polyarch, Connection(port) as redis:
                assert polyarch.ask("FLUSHALL") == redis.ask("FLUSHALL") == b"OK"
                done += _compare(seed, count, polyarch, redis)
        assert done > rounds * count // 2, f"only {done} commands were compared"
        print(f"note: {done} commands, {done / (time.monotonic() - begin):.0f}/s")
