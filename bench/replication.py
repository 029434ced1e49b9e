"""Replication beside redis-server 7.0.15: bench/replication.py [--rounds 3] [--seconds 10].

- Lag, p50 and p99, of a write at one server until it shows at another (bench/load.cc): two leaders and a
  redis leader with a replica at 50k SET/s at one; three leaders at 10k and 20k writes/s in all.
- Apply rate: how fast a server that was stopped takes in a backlog of a million writes.
- Bytes on the wire per change.
- Catch-up after 10 s away under 20k writes/s (killed, and stopped): time from its return until it shows
  a write made at the moment of return, the load going on.
All with everysec. Nothing is pinned: several servers and the load share the machine.
"""

import argparse
import signal
import subprocess
import sys
import time

from common import LOAD, Floors, Server, load_tool, median, require_tools, table
from cluster import die_with_parent, until

AWAY_S = 10
AWAY_RATE = 20_000
BACKLOG = 1_000_000


class Pair:
    """Servers that replicate: one redis leader and its replica, or `count` leaders."""

    def __init__(self, kind, count=2):
        self.kind = kind
        first = Server(kind, "everysec", "eu")
        self.servers = [first]
        for name in ("us", "asia")[:count - 1]:
            if kind == "redis":
                self.servers.append(Server(kind, "everysec", name, replica_of=first.port))
            else:
                self.servers.append(Server(kind, "everysec", name, join=[f"127.0.0.1:{first.peer_port}"]))
        self.wait_level()

    def wait_level(self):
        """A fresh write at the first shows everywhere, and (leaders) one at each of the others."""
        writers = self.servers[:1] if self.kind == "redis" else self.servers

        def shows(server, key, value):
            try:
                return server.call("GET", key) == value
            except Exception:  # loading, or not yet admitted
                server.drop_connection()
                return False
        for i, writer in enumerate(writers):
            mark = str(time.monotonic_ns()).encode()

            def written(writer=writer, i=i, mark=mark):
                try:
                    return writer.call("SET", f"level:{i}", mark) == b"OK"
                except Exception:
                    return False
            until("a write is accepted", written, 60)
            for server in self.servers:
                until("the servers are level", lambda s=server, i=i, m=mark: shows(s, f"level:{i}", m), 120)

    def bytes_in(self, server):
        """What reached `server` from the others."""
        if self.kind == "redis":
            return int(server.info("stats")["total_net_repl_input_bytes"])
        total = 0
        for name, value in server.info("replication").items():
            if name.startswith("link_") and "bytes_in=" in value:
                total += int(dict(part.split("=") for part in value.split(","))["bytes_in"])
        return total

    def end(self):
        for server in self.servers:
            server.end()


def lag(kind, count, rate, seconds):
    """(achieved rate, p50, p99, max in ms)"""
    pair = Pair(kind, count)
    try:
        writers = pair.servers if count > 2 else pair.servers[:1]
        arguments = []
        for server in writers:
            arguments += ["--load", f"{server.port}:{rate // len(writers)}"]
        arguments += ["--pipeline", 16, "--connections", 4]
        load_tool(*arguments, "--seconds", 2)
        result = load_tool(*arguments, "--seconds", seconds, "--probe",
                           f"{pair.servers[0].port}:{pair.servers[1].port}")
        found = result["lag"]
        if found["unseen"]:
            print(f"  {found['unseen']} probes never showed", file=sys.stderr)
        return sum(load["rate"] for load in result["loads"]), found["p50_ms"], found["p99_ms"], found["max_ms"]
    finally:
        pair.end()


def backlog(kind):
    """(apply rate of a backlog a second, bytes on the wire a change)"""
    pair = Pair(kind)
    first, second = pair.servers
    try:
        second.process.signal(signal.SIGSTOP)  # killed, redis would ship its 100,000 keys instead
        load_tool("--load", f"{first.port}:0", "--count", BACKLOG, "--pipeline", 64)
        first.call("SET", "last", "written")
        begin = time.monotonic()
        second.process.signal(signal.SIGCONT)

        def level():
            try:
                return second.call("GET", "last") == b"written"
            except Exception:
                return False
        until("the backlog is applied", level, 300)
        seconds = time.monotonic() - begin
    finally:
        pair.end()
    pair = Pair(kind)
    first, second = pair.servers
    try:
        before = pair.bytes_in(second)
        load_tool("--load", f"{first.port}:{AWAY_RATE}", "--seconds", 5)
        pair.wait_level()
        return BACKLOG / seconds, (pair.bytes_in(second) - before) / (AWAY_RATE * 5)
    finally:
        pair.end()


def catch_up(kind, how):
    """Seconds from the return of a server that was away until it shows what was written at that moment."""
    pair = Pair(kind)
    first, second = pair.servers
    load = None
    try:
        load = subprocess.Popen([LOAD, "--load", f"{first.port}:{AWAY_RATE}", "--seconds", "1000"],
                                stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)
        time.sleep(2)
        if how == "killed":
            second.process.kill()
        else:
            second.process.signal(signal.SIGSTOP)
        time.sleep(AWAY_S)
        first.call("SET", "returned", "yes")
        begin = time.monotonic()
        if how == "killed":
            second.start()
        else:
            second.process.signal(signal.SIGCONT)

        def level():
            try:
                return second.call("GET", "returned") == b"yes"
            except Exception:
                return False
        until("it has caught up", level, 300)
        return time.monotonic() - begin
    finally:
        if load:
            load.kill()
            load.wait()
        pair.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--only", choices=("lag", "backlog", "catch-up"))
    parser.add_argument("--check", action="store_true", help="fail if a floor of the lag is broken")
    options = parser.parse_args()
    require_tools()
    floors = Floors()
    if options.only in (None, "lag"):
        rows = []
        cases = [("redis leader, 1 replica", "redis", 2, 50_000), ("2 leaders", "polyarch", 2, 50_000),
                 ("3 leaders", "polyarch", 3, 10_000), ("3 leaders", "polyarch", 3, 20_000)]
        results = {case: [] for case in cases}
        for _ in range(options.rounds):
            for case in cases:
                results[case].append(lag(*case[1:], options.seconds))
                print("  lag", *case, " ".join(f"{x:.3f}" for x in results[case][-1]), file=sys.stderr, flush=True)
        p99s = {(case[0], case[3]): median([r[2] for r in results[case]]) for case in cases}
        floors.at_most("p99 of the lag of 2 leaders, beside a redis replica's",
                       p99s["2 leaders", 50_000] / p99s["redis leader, 1 replica", 50_000], 2)
        floors.at_most("p99 ms of the lag of 3 leaders at 10k/s", p99s["3 leaders", 10_000], 5)
        floors.at_most("p99 ms of the lag of 3 leaders at 20k/s", p99s["3 leaders", 20_000], 20)
        for case in cases:
            rate, p50, p99, worst = (median([r[i] for r in results[case]]) for i in range(4))
            rows.append((case[0], f"{case[3] // 1000}k", f"{rate / 1000:.1f}k", f"{p50:.3f}", f"{p99:.3f}",
                         f"{worst:.1f}"))
        print(f"\n### Replication lag, everysec, medians of {options.rounds}\n")
        print(table(("servers", "writes/s wanted", "achieved", "p50 ms", "p99 ms", "max ms"), rows), flush=True)
    rows = []
    if options.only in (None, "backlog"):
        results = {kind: [backlog(kind) for _ in range(options.rounds)] for kind in ("redis", "polyarch")}
        redis, ours = ([median([r[i] for r in results[kind]]) for i in range(2)] for kind in ("redis", "polyarch"))
        rows += [("a backlog of 1M writes taken in, changes/s", f"{redis[0]:.0f}", f"{ours[0]:.0f}"),
                 ("bytes on the wire per change (16-byte keys and values)", f"{redis[1]:.1f}", f"{ours[1]:.1f}")]
    if options.only in (None, "catch-up"):
        for how in ("killed", "stopped"):
            redis, ours = (median([catch_up(kind, how) for _ in range(options.rounds)])
                           for kind in ("redis", "polyarch"))
            rows.append((f"catch-up after {AWAY_S} s away ({how}) under {AWAY_RATE // 1000}k/s, s", f"{redis:.2f}",
                         f"{ours:.2f}"))
    if rows:
        print("\n### Away and back\n")
        print(table(("", "redis leader and replica", "Polyarch leaders"), rows), flush=True)
    floors.end(options.check)


if __name__ == "__main__":
    main()
