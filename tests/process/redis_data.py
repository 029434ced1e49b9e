"""Data of all types in all encodings for a Redis, writers that go on changing it, and a comparison with a leader that is
nobody's but this file's."""

import random
import threading
import time

from resp import Connection, ReplyError

# So that each encoding is there with few elements.
SMALL_LIMITS = ["--hash-max-listpack-entries", "16", "--zset-max-listpack-entries", "16", "--set-max-intset-entries", "16",
                "--list-max-listpack-size", "8", "--stream-node-max-entries", "10"]


def text(draw):
    return draw.choice([
        str(draw.randint(-200, 200)).encode(), str(draw.randint(-2**40, 2**40)).encode(), b"", b"abc" * draw.randint(1, 60),
        bytes(draw.randrange(256) for _ in range(draw.randint(0, 60))), b"x" * draw.choice([63, 64, 65, 3000])])


def fill(connection, draw, count, prefix="k"):
    """`count` keys of each type, some with a time to live, in three databases."""
    for database in (0, 3, 15):
        connection.call("SELECT", database)
        for number in range(count):
            key = f"{prefix}:{number}"
            size = draw.choice([1, 3, 10, 40, 200])
            names = [text(draw) + b"#%d" % i for i in range(size)]
            commands = [
                ("SET", f"string:{key}", text(draw)),
                ("SET", f"integer:{key}", draw.randint(-2**33, 2**33)),
                ("SETBIT", f"bits:{key}", draw.randint(0, 9999), 1),
                ("PFADD", f"hll:{key}", *names),
                ("RPUSH", f"list:{key}", *[text(draw) for _ in range(size)]),
                ("SADD", f"set:{key}", *names),
                ("SADD", f"integers:{key}", *[draw.randint(-10**draw.randint(1, 12), 10**6) for _ in range(size)]),
                ("HSET", f"hash:{key}", *[word for name in names for word in (name, text(draw))]),
                ("ZADD", f"zset:{key}", *[word for name in names for word in (draw.choice([1, -2.5, "inf", draw.random()]), name)]),
            ]
            for i in range(size):
                commands.append(("XADD", f"stream:{key}", f"{i + 1}-{draw.randint(0, 9)}", "name", text(draw), "n", i))
            commands += [("XGROUP", "CREATE", f"stream:{key}", "g", 0), ("XGROUP", "CREATE", f"stream:{key}", "late", "$"),
                         ("XREADGROUP", "GROUP", "g", "alice", "COUNT", 3, "STREAMS", f"stream:{key}", ">"),
                         ("XGROUP", "CREATECONSUMER", f"stream:{key}", "g", "idle"),
                         ("XTRIM", f"stream:{key}", "MAXLEN", max(1, size - 2))]
            if number % 3 == 0:
                commands += [("PEXPIRE", f"{kind}:{key}", draw.randint(200_000, 900_000)) for kind in ("string", "hash", "stream", "zset")]
            for reply in connection.pipeline(commands):
                assert not isinstance(reply, ReplyError), reply
    connection.call("SELECT", 0)


# What the source itself refuses of what `Changes` draws.
ALLOWED = ("WRONGTYPE", "NOGROUP", "ERR no such key", "ERR The ID", "ERR index out of range", "ERR value is not", "ERR hash value is not",
           "ERR source and destination objects are the same", "ERR increment or decrement would overflow", "ERR One or more scores")


class Changes(threading.Thread):
    """A client that goes on changing what `fill` made, with all that replicas get in a form of their own."""

    def __init__(self, port, seed, count, password=None):
        super().__init__(daemon=True)
        self.port, self.count, self.password = port, count, password
        self.seed = seed
        self.draw = random.Random(seed)
        self.done = 0
        self.failed = None
        self.ending = threading.Event()

    def stop(self):
        self.ending.set()
        self.join(30)
        time.sleep(0.1)  # then those that live for milliseconds are gone
        assert self.failed is None, self.failed

    def run(self):
        try:
            with Connection(self.port, password=self.password) as connection:
                name = f"changes{self.seed}"
                connection.call("FUNCTION", "LOAD", "REPLACE", f"#!lua name={name}\nredis.register_function('{name}', function(keys, args) "
                                "return redis.call('SET', keys[1], args[1]) end)")
                while not self.ending.is_set():
                    commands = [command for _ in range(20) for command in self.commands()]
                    for command, reply in zip(commands, connection.pipeline(commands)):
                        if isinstance(reply, ReplyError) and not reply.text.startswith(ALLOWED):
                            raise AssertionError(f"{command[:3]}: {reply.text}")
                    self.done += len(commands)
                    time.sleep(0.002)
        except Exception as failure:  # told by stop()
            self.failed = failure

    def commands(self):
        draw = self.draw
        key = f"k:{draw.randrange(self.count)}"
        other = f"k:{draw.randrange(self.count)}"
        member = b"#%d" % draw.randrange(40)
        value = text(draw)
        return draw.choice([
            [("SELECT", draw.choice([0, 0, 3, 15]))],
            [("SET", f"string:{key}", value)], [("SET", f"string:{key}", value, "EX", draw.randint(100, 900))],
            [("APPEND", f"string:{key}", "z")], [("SETRANGE", f"string:{key}", 5, "y")], [("GETSET", f"string:{key}", value)],
            [("GETEX", f"string:{key}", "PX", draw.randint(100_000, 900_000))], [("GETDEL", f"string:{key}")],
            [("SET", f"short:{key}", value, "PX", draw.randint(1, 50))], [("SETEX", f"string:{key}", 500, value)],
            [("INCR", f"integer:{key}"), ("INCRBY", f"integer:{key}", 17), ("DECR", f"integer:{key}")],
            [("INCRBYFLOAT", f"float:{key}", "0.25")], [("HINCRBYFLOAT", f"floats:{key}", "f", "1.5")], [("HINCRBY", f"floats:{key}", "i", 3)],
            [("SETBIT", f"bits:{key}", draw.randrange(9999), draw.randrange(2))], [("BITOP", "XOR", f"bits:{key}", f"bits:{other}", f"bits:{key}")],
            [("PFADD", f"hll:{key}", value)], [("PFMERGE", f"hll:{key}", f"hll:{other}")], [("PFCOUNT", f"hll:{key}")],
            [("RPUSH", f"list:{key}", value, "1")], [("LPUSH", f"list:{key}", value)], [("LPOP", f"list:{key}", 2)], [("RPOP", f"list:{key}")],
            [("LSET", f"list:{key}", 0, value)], [("LINSERT", f"list:{key}", "BEFORE", "1", value)], [("LREM", f"list:{key}", 1, "1")],
            [("LTRIM", f"list:{key}", 0, 100)], [("LMOVE", f"list:{key}", f"list:{other}", "LEFT", "RIGHT")], [("RPOPLPUSH", f"list:{key}", f"list:{other}")],
            [("SADD", f"set:{key}", value, member)], [("SPOP", f"set:{key}")], [("SPOP", f"set:{key}", 2)], [("SREM", f"set:{key}", member)],
            [("SMOVE", f"set:{key}", f"set:{other}", member)], [("SUNIONSTORE", f"union:{key}", f"set:{key}", f"integers:{other}")],
            [("SADD", f"integers:{key}", draw.randint(0, 10**6))], [("SPOP", f"integers:{key}")],
            [("HSET", f"hash:{key}", member, value)], [("HDEL", f"hash:{key}", member)], [("HSETNX", f"hash:{key}", value, "1")],
            [("ZADD", f"zset:{key}", draw.random(), member)], [("ZINCRBY", f"zset:{key}", 0.5, member)], [("ZPOPMIN", f"zset:{key}")],
            [("ZREMRANGEBYSCORE", f"zset:{key}", 0.2, 0.3)], [("ZUNIONSTORE", f"zunion:{key}", 2, f"zset:{key}", f"zset:{other}")],
            [("ZRANGESTORE", f"zrange:{key}", f"zset:{key}", 0, 5)], [("GEOADD", f"geo:{key}", draw.random(), draw.random(), member)],
            [("XADD", f"stream:{key}", "*", "f", value)], [("XADD", f"stream:{key}", "MAXLEN", "~", 50, "*", "f", value, "g", "1")],
            [("XREADGROUP", "GROUP", "g", draw.choice(["alice", "bob"]), "COUNT", 4, "STREAMS", f"stream:{key}", ">")],
            [("XACK", f"stream:{key}", "g", "1-0", "2-1", "3-2")], [("XAUTOCLAIM", f"stream:{key}", "g", "carol", 0, 0, "COUNT", 2)],
            [("XDEL", f"stream:{key}", f"{draw.randint(1, 40)}-{draw.randint(0, 9)}")], [("XGROUP", "DELCONSUMER", f"stream:{key}", "g", "bob")],
            [("XGROUP", "SETID", f"stream:{key}", "late", "5-0")], [("XTRIM", f"stream:{key}", "MAXLEN", 30)],
            [("DEL", f"zunion:{key}", f"union:{key}")], [("UNLINK", f"geo:{key}")], [("RENAME", f"string:{key}", f"string:{other}")],
            [("COPY", f"hash:{key}", f"hash:{other}", "REPLACE")], [("COPY", f"list:{key}", f"copied:{key}", "DB", 3, "REPLACE")],
            [("MOVE", f"floats:{key}", draw.choice([3, 15]))], [("PERSIST", f"string:{key}")], [("EXPIRE", f"set:{key}", draw.randint(200, 900))],
            [("EXPIREAT", f"hash:{key}", int(time.time()) + 700)], [("EXPIRE", f"copied:{key}", -1)], [("PEXPIRE", f"zset:{key}", 900_000, "GT")],
            [("SORT", f"integers:{key}", "STORE", f"sorted:{key}")], [("PUBLISH", "channel", value)],
            [("MULTI",), ("INCR", f"integer:{key}"), ("RPUSH", f"list:{key}", "multi"), ("SELECT", 3), ("SET", f"string:{key}", "multi"), ("EXEC",)],
            [("MULTI",), ("SPOP", f"set:{key}"), ("EXPIRE", f"set:{key}", 600), ("EXEC",)],
            [("EVAL", "redis.call('SET', KEYS[1], ARGV[1]); redis.call('SPOP', KEYS[2]); redis.call('PEXPIRE', KEYS[1], 500000); "
              "return redis.call('INCR', KEYS[3])", 3, f"string:{key}", f"set:{key}", f"integer:{other}", value)],
            [("FCALL", f"changes{self.seed}", 1, f"string:{key}", value)],
            [("SELECT", 5), ("SET", f"flushed:{key}", value), ("FLUSHDB",), ("SET", f"left:{key}", value), ("SELECT", 0)],
        ])


class Sessions(threading.Thread):
    """Keys that live for two seconds from their last use, and are used all the time: none may be lost on the way."""

    def __init__(self, port, count=50, password=None):
        super().__init__(daemon=True)
        self.port, self.count, self.password = port, count, password
        self.ending = threading.Event()
        self.failed = None
        with Connection(port, password=password) as connection:
            connection.pipeline([("SET", f"session:{i}", i, "PX", 2000) for i in range(count)])

    def stop(self):
        self.ending.set()
        self.join(30)
        assert self.failed is None, self.failed

    def run(self):
        try:
            with Connection(self.port, password=self.password) as connection:
                while not self.ending.is_set():
                    replies = connection.pipeline([("PEXPIRE", f"session:{i}", 2000) for i in range(self.count)])
                    assert replies == [1] * self.count, "the source itself has lost a session"
                    time.sleep(0.4)
                # Long enough to be compared afterwards.
                connection.pipeline([("PEXPIRE", f"session:{i}", 300_000) for i in range(self.count)])
        except Exception as failure:  # told by stop()
            self.failed = failure


def content(connection, keys):
    """{key: (type, value, when it expires in ms or -1)} as replies show it."""
    types = connection.pipeline([("TYPE", key) for key in keys])
    now = time.time() * 1000
    ttls = [ttl if ttl < 0 else now + ttl for ttl in connection.pipeline([("PTTL", key) for key in keys])]
    show = {b"string": ("GET",), b"list": ("LRANGE", 0, -1), b"set": ("SMEMBERS",), b"hash": ("HGETALL",),
            b"zset": ("ZRANGE", 0, -1, "WITHSCORES"), b"stream": ("XRANGE", "-", "+")}
    values = connection.pipeline([(show[kind][0], key, *show[kind][1:]) if kind in show else ("TYPE", key)
                                  for key, kind in zip(keys, types)])
    found = {}
    for key, kind, value, ttl in zip(keys, types, values, ttls):
        if kind == b"hash":
            value = sorted(zip(value[::2], value[1::2]))
        elif kind == b"set":
            value = sorted(value)
        elif kind == b"zset":
            value = sorted((member, float(score)) for member, score in zip(value[::2], value[1::2]))
        elif kind == b"string" and value[:4] == b"HYLL":
            value = value[:8] + value[16:]  # without the cached cardinality
        elif kind == b"stream":
            info = connection.call("XINFO", "STREAM", key)
            fields = dict(zip(info[::2], info[1::2]))
            groups = []
            for group in connection.call("XINFO", "GROUPS", key):
                group = dict(zip(group[::2], group[1::2]))
                consumers = sorted(dict(zip(one[::2], one[1::2]))[b"name"]
                                   for one in connection.call("XINFO", "CONSUMERS", key, group[b"name"]))
                pending = connection.call("XPENDING", key, group[b"name"], "-", "+", 1000)
                groups.append((group[b"name"], group[b"last-delivered-id"], consumers, [(p[0], p[1], p[3]) for p in pending]))
            value = (value, fields[b"last-generated-id"], fields[b"max-deleted-entry-id"], sorted(groups))
        found[key] = (bytes(kind), value, ttl)
    return found


def differences(source, leader, databases=range(16), tolerance_ms=1500):
    """What differs between two connections: a list of (database, key, what source has, what leader has)."""
    found = []
    for database in databases:
        keys = []
        for connection in (source, leader):
            connection.call("SELECT", database)
            keys.append(set(connection.call("KEYS", "*")))
        found += [(database, key, "there", "missing") for key in keys[0] - keys[1]]
        found += [(database, key, "missing", "there") for key in keys[1] - keys[0]]
        common = sorted(keys[0] & keys[1])
        for at in range(0, len(common), 500):
            part = common[at:at + 500]
            a, b = content(source, part), content(leader, part)
            for key in part:
                same_ttl = a[key][2] == b[key][2] or min(a[key][2], b[key][2]) >= 0 and abs(a[key][2] - b[key][2]) <= tolerance_ms
                if a[key][:2] != b[key][:2] or not same_ttl:
                    found.append((database, key, a[key], b[key]))
    for connection in (source, leader):
        connection.call("SELECT", 0)
    return found


def show(found):
    """For an assertion."""
    return f"{len(found)} differ: " + "; ".join(f"{one!r:.600}" for one in found[:5])
