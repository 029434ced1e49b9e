"""What redis-server 7.0.15 dumps is restored here, and what is dumped here is restored there, with the same content."""

import random

from cluster import Cluster
from resp import Connection
from redis_server import start_redis_server


def _text(draw):
    return draw.choice([
        str(draw.randint(-200, 200)).encode(), str(draw.randint(-2**40, 2**40)).encode(), b"", b"abc" * draw.randint(1, 200),
        bytes(draw.randrange(256) for _ in range(draw.randint(0, 100))), b"x" * draw.choice([63, 64, 65, 5000, 20_000])])


def _fill(draw, connection, key):
    """A value of a random type and size; returns the command that shows it all."""
    kind = draw.choice(["SET", "SADD", "HSET", "ZADD", "RPUSH"])
    if kind == "SET":
        assert connection.ask("SET", key, _text(draw)) == b"OK"
        return "GET", key
    numbers = draw.random() < 0.3
    words = []
    for i in range(draw.choice([1, 5, 100, 600, 2000])):
        name = str(draw.randint(-10**draw.randint(1, 15), 10**9)).encode() if numbers else _text(draw) + str(i).encode()
        if kind == "HSET":
            words += [name, _text(draw)]
        elif kind == "ZADD":
            words += [draw.choice([str(i), draw.randint(-9999, 9999) / 64, "inf", "-inf", "3e15"]), name]
        else:
            words.append(name)
    connection.ask(kind, key, *words)
    return {"SADD": ("SMEMBERS", key), "RPUSH": ("LRANGE", key, "0", "-1"), "HSET": ("HGETALL", key), "ZADD": ("ZRANGE", key, "0", "-1", "WITHSCORES")}[kind]


def _content(connection, show):
    reply = connection.ask(*show)
    if show[0] == "HGETALL":
        return sorted(zip(reply[::2], reply[1::2]))
    return sorted(reply) if show[0] == "SMEMBERS" else reply


def test_dump(long):
    with Cluster(["eu"]) as cluster:
        port = start_redis_server(cluster)
        draw = random.Random(1)
        count = 1000 if long else 150
        encodings = set()
        with cluster.eu.connect() as leader, Connection(port) as redis:
            for number in range(count):
                leader.ask("FLUSHALL")
                redis.ask("FLUSHALL")
                show = _fill(draw, redis, "k")
                encodings.add(redis.ask("OBJECT", "ENCODING", "k"))
                wanted = _content(redis, show)
                assert leader.ask("RESTORE", "k", 0, redis.ask("DUMP", "k")) == b"OK", f"value {number}"
                found = _content(leader, show)
                different = [pair for pair in zip(found, wanted) if pair[0] != pair[1]]
                assert found == wanted, f"value {number} is another one here: {len(found)} {len(wanted)} {different[:3]!r:.300}"
                if show[0] != "GET":
                    assert leader.ask("OBJECT", "ENCODING", "k") == redis.ask("OBJECT", "ENCODING", "k"), f"value {number}"
                assert redis.ask("RESTORE", "k", 100_000, leader.ask("DUMP", "k"), "REPLACE") == b"OK", f"value {number}"
                assert _content(redis, show) == wanted, f"value {number} is another one there"
        assert encodings == {b"int", b"embstr", b"raw", b"intset", b"hashtable", b"listpack", b"skiplist",
                             b"quicklist"}, encodings
        print(f"note: {count} values")
