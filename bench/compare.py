"""Polyarch beside redis-server 7.0.15 with the same durability: bench/compare.py [--rounds 5] [--quick].

The server is pinned to core 0 and the client (redis-benchmark; bench/load.cc for MIX: 30 % SET, 60 % GET,
10 % INCR) to core 1. Both servers stand ready and are measured in turn, cell by cell, round by round;
shown are medians. Server CPU per command is user and system time of all its threads over the number of
commands: the honest figure, since unpipelined redis-benchmark itself is the bottleneck.
Bytes per key is the slope of resident memory from 1 to 3 million keys, 16-byte keys and values.
"""

import argparse
import csv
import io
import subprocess
import sys
import time

from common import Floors, Server, load_tool, median, require_tools, table

COMMANDS = ("SET", "GET", "INCR", "MIX")
# Chosen with --commands: elements of one key of KEYS elements, but for HSET-MANY, which has KEYS small hashes.
ELEMENTS = {
    "HSET": ("HSET", "hash", "field:__rand_int__", "value-of-16-byte"),
    "HGET": ("HGET", "hash", "field:__rand_int__"),
    "HINCRBY": ("HINCRBY", "counts", "field:__rand_int__", "1"),
    "HSET-MANY": ("HSET", "user:__rand_int__", "name", "value-of-16-byte"),
    "SADD": ("SADD", "set", "member:__rand_int__"),
    "SISMEMBER": ("SISMEMBER", "set", "member:__rand_int__"),
    "ZADD": ("ZADD", "zset", "__rand_int__", "member:__rand_int__"),
    "ZINCRBY": ("ZINCRBY", "zset", "1", "member:__rand_int__"),
    "ZSCORE": ("ZSCORE", "zset", "member:__rand_int__"),
    "ZRANGE": ("ZRANGE", "zset", "0", "9"),
    "LPUSH": ("LPUSH", "list", "value-of-16-byte"),
    "RPUSH": ("RPUSH", "list", "value-of-16-byte"),
    "LPOP": ("LPOP", "list"),
    "XADD": ("XADD", "stream", "*", "field", "value-of-16-byte"),
    "EVAL": ("EVAL", "return 1", "0"),
    "EVAL-GET": ("EVAL", "return redis.call('GET', KEYS[1])", "1", "key:__rand_int__"),
    "EVAL-INCR": ("EVAL", "return redis.call('INCR', KEYS[1])", "1", "counter:__rand_int__"),
}
PIPELINES = (1, 16, 64)
COUNT = {("everysec", 1): 150_000, ("everysec", 16): 1_000_000, ("everysec", 64): 2_000_000,
         ("always", 1): 50_000, ("always", 16): 400_000, ("always", 64): 1_000_000}
# CPU per command beside redis-server's, everysec, by pipeline; and resident bytes per key.
FLOORS = {1: 1.10, 16: 1.00, 64: 1.00}
FLOOR_COMMANDS = ("SET", "GET", "INCR")
FLOOR_BYTES = 110
CLIENTS = 50
KEYS = 100_000


def measure(server, command, pipeline, count):
    """(CPU us a command, commands a second, p50 ms, p99 ms)"""
    before = server.cpu_s()
    if command == "MIX":
        result = load_tool("--load", f"{server.port}:0", "--count", count, "--pipeline", pipeline,
                           "--connections", CLIENTS, "--keys", KEYS, "--mix", "30,60,10", core=1)["loads"][0]
        rate, p50, p99 = result["rate"], result["p50_ms"], result["p99_ms"]
    else:
        done = subprocess.run(
            ["taskset", "-c", "1", "redis-benchmark", "-p", str(server.port), "-c", str(CLIENTS), "-P", str(pipeline),
             "-n", str(count), "-r", str(KEYS), "-d", "16", "--csv",
             *(ELEMENTS.get(command) or ("-t", command.lower()))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        if done.returncode or not rows:
            sys.exit(f"redis-benchmark failed: {done.stdout}{done.stderr}")
        rate, p50, p99 = (float(rows[0][name]) for name in ("rps", "p50_latency_ms", "p99_latency_ms"))
    return (server.cpu_s() - before) / count * 1e6, rate, p50, p99


def bytes_per_key(kind, durability):
    server = Server(kind, durability, core=0)
    try:
        def fill(first, count):
            load_tool("--load", f"{server.port}:0", "--count", count, "--sequential", "--first-key", first,
                      "--pipeline", 64, "--connections", 8, "--value-size", 16, core=1)

        def settled():
            """Resident bytes once they stand still."""
            last, since = server.process.rss(), time.monotonic()
            while time.monotonic() - since < 2:
                time.sleep(0.1)
                now = server.process.rss()
                if abs(now - last) > 1 << 20:
                    last, since = now, time.monotonic()
            return server.process.rss()
        fill(0, 1_000_000)
        low = settled()
        fill(1_000_000, 2_000_000)
        high = settled()
        assert server.call("DBSIZE") == 3_000_000
        return (high - low) / 2_000_000
    finally:
        server.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a fifth of the commands: to see that it works")
    parser.add_argument("--durability", choices=("everysec", "always"), action="append")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--pipelines", default=",".join(map(str, PIPELINES)))
    parser.add_argument("--no-memory", action="store_true", help="leave bytes per key out")
    parser.add_argument("--check", action="store_true", help="fail if a floor is broken")
    options = parser.parse_args()
    require_tools()
    floors = Floors()
    for durability in options.durability or ("everysec", "always"):
        servers = {"redis": Server("redis", durability, core=0), "polyarch": Server("polyarch", durability, core=0)}
        try:
            for server in servers.values():  # warm, and something to GET
                measure(server, "SET", 16, 200_000)
                measure(server, "INCR", 16, 200_000)
            rows = []
            for pipeline in map(int, options.pipelines.split(",")):
                for command in options.commands.split(","):
                    count = COUNT[durability, pipeline] // (5 if options.quick else 1)
                    results = {kind: [] for kind in servers}
                    for round_ in range(options.rounds):
                        order = list(servers) if round_ % 2 == 0 else list(servers)[::-1]
                        for kind in order:
                            results[kind].append(measure(servers[kind], command, pipeline, count))
                    redis, ours = ([median([r[i] for r in results[kind]]) for i in range(4)]
                                   for kind in ("redis", "polyarch"))
                    if durability == "everysec" and command in FLOOR_COMMANDS and pipeline in FLOORS:
                        floors.at_most(f"CPU of {command}, pipeline {pipeline}, beside redis-server's",
                                       ours[0] / max(redis[0], 1e-9), FLOORS[pipeline])
                    rows.append((command, pipeline, f"{redis[0]:.2f}", f"{ours[0]:.2f}",
                                 f"**{ours[0] / max(redis[0], 1e-9):.2f}**", f"{redis[1] / 1000:.0f}k",
                                 f"{ours[1] / 1000:.0f}k", f"{ours[1] / redis[1]:.2f}",
                                 f"{redis[2]:.2f} / {redis[3]:.2f}", f"{ours[2]:.2f} / {ours[3]:.2f}"))
                    print(f"  {durability} P{pipeline} {command}: CPU {redis[0]:.2f} -> {ours[0]:.2f} us, "
                          f"{redis[1]:.0f} -> {ours[1]:.0f}/s", file=sys.stderr, flush=True)
        finally:
            for server in servers.values():
                server.end()
        print(f"\n### Durability {durability}, medians of {options.rounds}\n")
        print(table(("command", "pipeline", "redis CPU us", "Polyarch CPU us", "ratio", "redis /s", "Polyarch /s",
                     "ratio", "redis p50/p99 ms", "Polyarch p50/p99 ms"), rows), flush=True)
    if not options.no_memory:
        memory = {kind: bytes_per_key(kind, "everysec") for kind in ("redis", "polyarch")}
        floors.at_most("bytes per key", memory["polyarch"], FLOOR_BYTES)
        print("\n### Memory\n")
        print(table(("", "redis", "Polyarch", "ratio"),
                    [("bytes of RSS per key", f"{memory['redis']:.0f}", f"{memory['polyarch']:.0f}",
                      f"{memory['polyarch'] / memory['redis']:.2f}")]), flush=True)
    floors.end(options.check)


if __name__ == "__main__":
    main()
