#!/usr/bin/env python3
"""Big collections: what a command on one of a million elements costs beside a small one, and how long the loop stands still.

    tools/build release
    python3 bench/big.py cost [--elements 1000000] [--commands WORD,...]
    python3 bench/big.py stalls [--elements 10000000] [--types WORD,...]

cost: server CPU per command, pipelined by 16, on a collection of ten elements and on a big one, in turn, median of
rounds; and the same of redis-server. stalls: the longest round of the event loop (longest_tick_us of INFO) while a
collection of each type grows, is checkpointed, deleted, expires, and is flushed, and the longest wait for an
answer that a client beside it has seen. Under load of others a round may take longer than its own work.
"""

import argparse
import os
import random
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402

BATCH = 1000
VALUE = b"value-of-16-byte"

# A command that adds the elements from `first` on.
ADD = {
    "set": lambda key, first, n: [b"SADD", key] + [b"member:%08d" % i for i in range(first, first + n)],
    "hash": lambda key, first, n: [b"HSET", key] + [x for i in range(first, first + n) for x in (b"field:%08d" % i, VALUE)],
    "zset": lambda key, first, n: [b"ZADD", key] + [x for i in range(first, first + n) for x in (b"%d" % i, b"member:%08d" % i)],
    "list": lambda key, first, n: [b"RPUSH", key] + [VALUE] * n,
    "stream": None,  # one entry a command
}


def encode(command):
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(x), x) for x in command)


class Pipe:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.replies = self.socket.makefile("rb")

    def read(self):
        line = self.replies.readline()
        if line.startswith(b"-"):
            sys.exit(line.decode())
        if line.startswith(b"$") and line != b"$-1\r\n":
            return self.replies.read(int(line[1:]) + 2)[:-2]
        if line.startswith(b"*"):
            return [self.read() for _ in range(int(line[1:]))]
        return line[1:-2]

    def all(self, commands):
        """Sends already encoded commands, a bytes object each, and reads their replies."""
        self.socket.sendall(b"".join(commands))
        return [self.read() for _ in commands]

    def call(self, *words):
        return self.all([encode(list(words))])[0]


def fill(pipe, kind, key, elements):
    if kind == "stream":
        entry = encode([b"XADD", key, b"*", b"field", VALUE])
        for first in range(0, elements, BATCH):
            pipe.all([entry] * min(BATCH, elements - first))
        return
    for first in range(0, elements, BATCH):
        pipe.all([encode(ADD[kind](key, first, min(BATCH, elements - first)))])


# Commands on one element: of a collection of n, drawn by `r` (a random number); those that change keep the size.
COMMANDS = {
    "SADD+SREM": ("set", lambda k, n, r: [[b"SADD", k, b"x%d" % r], [b"SREM", k, b"x%d" % r]]),
    "SISMEMBER": ("set", lambda k, n, r: [[b"SISMEMBER", k, b"member:%08d" % (r % n)]]),
    "SRANDMEMBER": ("set", lambda k, n, r: [[b"SRANDMEMBER", k]]),
    "HSET": ("hash", lambda k, n, r: [[b"HSET", k, b"field:%08d" % (r % n), VALUE]]),
    "HGET": ("hash", lambda k, n, r: [[b"HGET", k, b"field:%08d" % (r % n)]]),
    "HSET+HDEL": ("hash", lambda k, n, r: [[b"HSET", k, b"x%d" % r, VALUE], [b"HDEL", k, b"x%d" % r]]),
    "ZADD": ("zset", lambda k, n, r: [[b"ZADD", k, b"%d" % (r // 7 % n), b"member:%08d" % (r % n)]]),
    "ZSCORE": ("zset", lambda k, n, r: [[b"ZSCORE", k, b"member:%08d" % (r % n)]]),
    "ZRANK": ("zset", lambda k, n, r: [[b"ZRANK", k, b"member:%08d" % (r % n)]]),
    "ZRANGE(10)": ("zset", lambda k, n, r: [[b"ZRANGE", k, b"0", b"9"]]),
    "LPUSH+LPOP": ("list", lambda k, n, r: [[b"LPUSH", k, VALUE], [b"LPOP", k]]),
    "RPUSH+RPOP": ("list", lambda k, n, r: [[b"RPUSH", k, VALUE], [b"RPOP", k]]),
    "RPUSH+LPOP": ("list", lambda k, n, r: [[b"RPUSH", k, VALUE], [b"LPOP", k]]),
    "LINDEX": ("list", lambda k, n, r: [[b"LINDEX", k, b"%d" % (r % n)]]),
    "LSET": ("list", lambda k, n, r: [[b"LSET", k, b"%d" % (r % n), VALUE]]),
    "XADD maxlen": ("stream", lambda k, n, r: [[b"XADD", k, b"MAXLEN", b"%d" % n, b"*", b"field", VALUE]]),
    "XRANGE(1)": ("stream", lambda k, n, r: [[b"XRANGE", k, b"-", b"+", b"COUNT", b"1"]]),
}


def cost(options):
    rounds, count, pipeline = 5, options.count, 16
    print(f"| command | Polyarch: 10 elements, us | {options.elements:,}, us | ratio | redis: 10, us | {options.elements:,}, us | ratio |")
    print("|---|---|---|---|---|---|---|")
    servers = {kind: common.Server(kind, "everysec", core=0) for kind in ("polyarch", "redis")}
    os.sched_setaffinity(0, {1})
    try:
        pipes = {kind: Pipe(server.port) for kind, server in servers.items()}
        for pipe in pipes.values():
            for kind in ADD:
                fill(pipe, kind, b"small:" + kind.encode(), 10)
                fill(pipe, kind, b"big:" + kind.encode(), options.elements)
        for name, (kind, make) in COMMANDS.items():
            if options.words and not any(w in name for w in options.words):
                continue
            measured = {}
            batches = {}
            for size, n in ((b"small:", 10), (b"big:", options.elements)):
                draw = random.Random(1)
                flat = [encode(c) for _ in range(count // len(make(b"", 1, 1))) for c in make(size + kind.encode(), n, draw.getrandbits(40))]
                batches[size] = [flat[i:i + pipeline] for i in range(0, len(flat), pipeline)]
            for _ in range(rounds):
                for server in ("polyarch", "redis"):
                    # Redis walks a list from its end to an index: that takes its time.
                    some = 200 if server == "redis" and name in ("LINDEX", "LSET") else len(batches[b"big:"])
                    for size in (b"small:", b"big:"):
                        before = servers[server].cpu_s()
                        for batch in batches[size][:some]:
                            pipes[server].all(batch)
                        spent = servers[server].cpu_s() - before
                        measured.setdefault((server, size), []).append(spent / (some * pipeline) * 1e6)
            figures = []
            for server in ("polyarch", "redis"):
                small, big = (common.median(measured[server, size]) for size in (b"small:", b"big:"))
                figures += [f"{small:.2f}", f"{big:.2f}", f"**{big / max(small, 0.01):.2f}**"]
            print(f"| {name} | " + " | ".join(figures) + " |", flush=True)
    finally:
        for server in servers.values():
            server.end()


class Waiter(threading.Thread):
    """A client that asks for little, over and over, and notes what it waited at most."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.pipe, self.slowest, self.ends = Pipe(port), 0.0, False

    def run(self):
        while not self.ends:
            begin = time.monotonic()
            self.pipe.call(b"GET", b"none")
            self.slowest = max(self.slowest, time.monotonic() - begin)
            time.sleep(0.0005)


def stalls(options):
    print(f"| {options.elements:,} elements | step | longest round, ms | longest wait, ms |\n|---|---|---|---|")
    for kind in ADD:
        if options.words and not any(w in kind for w in options.words):
            continue
        server = common.Server("polyarch", "everysec")
        try:
            pipe = Pipe(server.port)
            if options.realtime:
                os.sched_setscheduler(server.process.pid, os.SCHED_FIFO, os.sched_param(1))

            def told(step, act, settle=0.0):
                pipe.call(b"CONFIG", b"RESETSTAT")
                waiter = Waiter(server.port)
                waiter.start()
                act()
                time.sleep(settle)
                waiter.ends = True
                waiter.join()
                longest = int(server.info("stats")["longest_tick_us"]) / 1000
                print(f"| {kind} | {step} | {longest:.1f} | {waiter.slowest * 1000:.1f} |", flush=True)

            def checkpoint():
                pipe.call(b"POLYARCH", b"CHECKPOINT")
                while server.info("persistence")["checkpoint_in_progress"] == "1":
                    time.sleep(0.01)

            def expire():
                pipe.call(b"PEXPIRE", b"big", b"1")
                while pipe.call(b"EXISTS", b"big") != b"0":
                    time.sleep(0.01)
            for end in ("DEL", "expiry", "FLUSHALL"):
                told("grows", lambda: fill(pipe, kind, b"big", options.elements))
                told("checkpoint", checkpoint)
                told(end, {"DEL": lambda: pipe.call(b"DEL", b"big"), "expiry": expire,
                           "FLUSHALL": lambda: pipe.call(b"FLUSHALL")}[end], settle=options.elements / 400_000)
                told("checkpoint after it", checkpoint)
        finally:
            server.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "stalls"))
    parser.add_argument("--elements", type=int)
    parser.add_argument("--realtime", action="store_true",
                        help="stalls: the loop's thread goes before all others, on a machine that is busy (needs root)")
    parser.add_argument("--count", type=int, default=48_000, help="cost: commands of a round")
    parser.add_argument("--commands", "--types", dest="words", default="", help="those that have one of these words in them")
    options = parser.parse_args()
    options.words = [w for w in options.words.split(",") if w]
    options.elements = options.elements or (1_000_000 if options.what == "cost" else 10_000_000)
    {"cost": cost, "stalls": stalls}[options.what](options)


if __name__ == "__main__":
    main()
