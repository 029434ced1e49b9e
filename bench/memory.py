#!/usr/bin/env python3
"""Bytes of resident memory per key of small collections and per element of big ones, redis-server beside Polyarch.

    tools/build release polyarch
    python3 bench/memory.py [--families WORD,...]

A server of each kind is filled with the keys of one family; what its resident memory has grown by, once it
has settled, is divided by their number. The log's ring is set to 1 MiB: it is of a fixed size, and would
otherwise be most of what the smaller families show. Of a stream what MEMORY USAGE says is shown, too.
"""

import argparse
import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402

BATCH = 500
VALUE = b"value-of-16-byte"


def hash_of(key, fields):
    return [b"HSET", key] + [x for j in range(fields) for x in (b"field%d" % j, VALUE)]


def set_of(key, members, first):
    return [b"SADD", key] + [b"member:%d" % (first + j) for j in range(members)]


def sorted_set_of(key, members):
    return [b"ZADD", key] + [x for j in range(members) for x in (b"%d" % j, b"member%d" % j)]


FAMILIES = {
    "hashes of 5": (300_000, lambda i: hash_of(b"user:%08d" % i, 5)),
    "sets of 5": (300_000, lambda i: set_of(b"tags:%08d" % i, 5, i * 7)),
    "hashes of 100": (20_000, lambda i: hash_of(b"big:%08d" % i, 100)),
    "lists of 5": (300_000, lambda i: [b"RPUSH", b"queue:%08d" % i] + [VALUE] * 5),
    "lists of 100": (20_000, lambda i: [b"RPUSH", b"long:%08d" % i] + [VALUE] * 100),
    "lists of 5, of 100 bytes": (100_000, lambda i: [b"RPUSH", b"jobs:%08d" % i] + [b"x" * 100] * 5),
    "lists of 10, of 300 bytes": (50_000, lambda i: [b"RPUSH", b"work:%08d" % i] + [b"x" * 300] * 10),
    "sorted sets of 5": (300_000, lambda i: sorted_set_of(b"top:%08d" % i, 5)),
    "sorted sets of 100": (20_000, lambda i: sorted_set_of(b"zs:%08d" % i, 100)),
}


# Elements of one key, a command each.
MILLION = {
    "members of one set": lambda i: [b"SADD", b"big", b"member:%07d" % i],
    "fields of one hash": lambda i: [b"HSET", b"big", b"field:%08d" % i, VALUE],
    "members of one sorted set": lambda i: [b"ZADD", b"big", b"%d" % i, b"member:%07d" % i],
    "elements of one list, of 16 bytes": lambda i: [b"RPUSH", b"big", VALUE],
    "elements of one list, of 64 bytes": lambda i: [b"LPUSH", b"big", VALUE * 4],
}


def entry_of(fields):
    return [b"XADD", b"events", b"*"] + [x for j in range(fields) for x in (b"field%d" % j, VALUE)]


# Entries of one stream.
ENTRIES = {
    "entries of 1 field": (1_000_000, lambda i: entry_of(1)),
    "entries of 5 fields": (500_000, lambda i: entry_of(5)),
}


def feed(port, count, command):
    connection = socket.create_connection(("127.0.0.1", port))
    replies = connection.makefile("rb")
    for start in range(0, count, BATCH):
        batch = [command(i) for i in range(start, min(start + BATCH, count))]
        connection.sendall(b"".join(
            b"*%d\r\n" % len(c) + b"".join(b"$%d\r\n%s\r\n" % (len(x), x) for x in c) for c in batch))
        for _ in batch:
            line = replies.readline()
            if not line.startswith((b":", b"$")):
                sys.exit("a command was refused")
            if line.startswith(b"$"):
                replies.readline()
    connection.close()


def settled(process):
    last = 0
    for _ in range(40):
        time.sleep(0.3)
        now = process.rss()
        if abs(now - last) < 1 << 20:
            break
        last = now
    return now


def memory_usage(port, key):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"MEMORY USAGE %s SAMPLES 0\r\n" % key)
        return int(connection.makefile("rb").readline()[1:])


def bytes_per_key(kind, count, command, told_key=None):
    """Of resident memory; with `told_key` also what MEMORY USAGE says of that key, per command."""
    server = common.Server(kind, "everysec")
    try:
        before = settled(server.process)
        feed(server.port, count, command)
        resident = (settled(server.process) - before) / count
        return resident if told_key is None else (resident, memory_usage(server.port, told_key) / count)
    finally:
        server.end()


def small_ring(process):
    def start(arguments, *more, **named):
        if arguments[0] == common.BINARY:
            arguments = arguments + ["--log-ring", "1mb"]
        return process(arguments, *more, **named)
    return start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default="", help="those whose name has one of these words in it")
    words = [w for w in parser.parse_args().families.split(",") if w]
    common.Process = small_ring(common.Process)
    print("| keys | redis | Polyarch | ratio |\n|---|---|---|---|")
    million = {name: (1_000_000, command) for name, command in MILLION.items()}
    for name, (count, command) in {**FAMILIES, **million}.items():
        if words and not any(w in name for w in words):
            continue
        theirs, ours = (bytes_per_key(kind, count, command) for kind in ("redis", "polyarch"))
        print(f"| {count:,} {name} | {theirs:.1f} | {ours:.1f} | {ours / theirs:.2f} |", flush=True)
    for name, (count, command) in ENTRIES.items():
        if words and not any(w in name for w in words):
            continue
        theirs, ours = (bytes_per_key(kind, count, command, b"events") for kind in ("redis", "polyarch"))
        for i, what in enumerate(("", ", by MEMORY USAGE")):
            print(f"| {count:,} {name}{what} | {theirs[i]:.1f} | {ours[i]:.1f} | {ours[i] / theirs[i]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
