"""Conflict feeds: consumers that die, a delivering leader that cannot be reached, the example's rule."""

import importlib.util
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

from cluster import ROOT, Cluster, Skip, die_with_parent, until
from resp import ReplyError

HANDLER = os.path.join(ROOT, "examples", "booking_handler.py")
BATCH = 500
AGAIN_MS = 5000  # far more than a consumer needs for what it has at hand, on a busy machine, too


def _needs_redis_py():
    """The examples are redis-py's: they run with the interpreter that runs this."""
    if importlib.util.find_spec("redis") is None:
        raise Skip("python3-redis is not installed for " + sys.executable)


class Consumer:
    """The example, run as it is; what it says is kept, also when it is killed."""

    def __init__(self, name, leaders, again_ms):
        self.name = name
        self.lines = []
        addresses = ",".join(f"127.0.0.1:{leader.port}" for leader in leaders)
        self.child = subprocess.Popen(
            [sys.executable, HANDLER, "--leaders", addresses, "--consumer", name, "--again", str(again_ms)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.append(line.split())

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self.reader.join()

    def check_alive(self):
        code = self.child.poll()
        assert code is None, f"{self.name} ended with {code}:\n" + "\n".join(" ".join(x) for x in self.lines[-20:])


def _told(consumers, word):
    """{id: (key, how often)} of what they said."""
    found = {}
    for consumer in consumers:
        for line in consumer.lines:
            if len(line) > 2 and line[0] == word:
                key, times = found.get(line[1], (line[2], 0))
                found[line[1]] = (key, times + 1)
    return found


def _book(cluster, count, prefix="room:"):
    """`count` rooms, each booked at two leaders that do not hear of each other."""
    cluster.isolate("eu")
    for leader, guest in ((cluster.eu, "Ada"), (cluster.us, "Grace")):
        for first in range(0, count, BATCH):
            keys = range(first, min(count, first + BATCH))
            replies = leader.pipeline([("SET", f"{prefix}{i}", f"{guest}-{i}") for i in keys])
            assert all(reply == b"OK" for reply in replies), replies[:3]
    cluster.heal_all()
    cluster.wait_converged(60)


def _begin(cluster, leaders=("eu", "us")):
    cluster.eu.call("POLICY", "SET", "room:*", "siblings")
    cluster.eu.call("CONFLICT", "FEED", "CREATE", "bookings", "room:*", "LEADERS", *leaders)
    cluster.wait_converged()


def _check_rooms(cluster, count, prefix="room:"):
    for leader in cluster.living():
        assert leader.call("CONFLICT", "COUNT") == 0
        for first in range(0, count, BATCH):
            keys = range(first, min(count, first + BATCH))
            for i, value in zip(keys, leader.call("MGET", *(f"{prefix}{i}" for i in keys))):
                # eu's bookings were all written before those of us.
                assert value == b"Ada-%d" % i, f"{leader.name}: {prefix}{i} is {value!r}"


def test_feed_consumers_killed(long):
    _needs_redis_py()
    count = 10_000 if long else 600
    draw = random.Random(5)
    with Cluster() as cluster:
        _begin(cluster)
        _book(cluster, count)
        feeders = [cluster.eu, cluster.us]
        everybody = [Consumer(f"c{i}", feeders, AGAIN_MS) for i in range(3)]
        running = list(everybody)
        killed = 0
        deadline = time.monotonic() + (900 if long else 120)
        while cluster.asia.call("CONFLICT", "COUNT") != 0:
            assert time.monotonic() < deadline, f"{cluster.asia.call('CONFLICT', 'COUNT')} of {count} are left"
            time.sleep(draw.uniform(0.02, 0.1))
            for consumer in running:
                consumer.check_alive()
            # At work, with more items at hand than it has done.
            busy = [consumer for consumer in running if consumer.lines]
            if busy and killed < (200 if long else 12):
                victim = draw.choice(busy)
                running.remove(victim)
                victim.kill()
                killed += 1
                running.append(Consumer(f"k{killed}", feeders, AGAIN_MS))
                everybody.append(running[-1])
        for consumer in running:
            consumer.kill()
        cluster.wait_converged(60)
        _check_rooms(cluster, count)
        given, resolved = _told(everybody, "given"), _told(everybody, "resolved")
        rooms = {key for key, _ in given.values()}
        assert rooms == {f"room:{i}" for i in range(count)}, f"{count - len(rooms)} were never given"
        assert len(given) == count, f"{len(given)} items of {count} conflicts"
        twice = {key: times for key, times in resolved.values() if times > 1}
        assert not twice, f"resolved more than once: {twice}"
        until("acknowledgements go with their items", lambda: all(
            feed[feed.index(b"acknowledged") + 1] == 0 for feed in cluster.us.call("CONFLICT", "FEED", "LIST")), 30)
        cluster.wait_converged(60)
        again = sum(len(line) > 3 and line[0] == "given" and int(line[3]) > 1 for consumer in everybody
                    for line in consumer.lines)
        assert killed >= 6 and again > 0, f"{killed} killed, {again} given again"
        print(f"note: {count} conflicts, {killed} consumers killed, {again} given again")


def test_feed_taken_over(long):
    """The delivering leader is cut off, then killed: each component resolves what it knows of, once."""
    _needs_redis_py()
    count = 2000 if long else 100
    with Cluster() as cluster:
        _begin(cluster)
        _book(cluster, count)
        cluster.isolate("eu")
        until("us takes over", lambda: not isinstance(
            cluster.us.ask("CONFLICT", "FEED", "READ", "bookings", "probe", "COUNT", "1", "AGAIN", "0"), ReplyError))
        sides = [[Consumer("at-eu", [cluster.eu], 2000)], [Consumer("at-us", [cluster.us], 2000)]]

        def resolved_everywhere():
            for side in sides:
                side[0].check_alive()
            return all(leader.call("CONFLICT", "COUNT") == 0 for leader in (cluster.eu, cluster.us, cluster.asia))
        until("both sides resolve", resolved_everywhere, 120)
        for side in sides:
            # Resolved is seen before the consumer is told that it is.
            until("it says so", lambda: len(_told(side, "resolved")) == count, 30)
            resolved = _told(side, "resolved")
            assert len(resolved) == count and all(times == 1 for _, times in resolved.values()), len(resolved)
        # Both have written the same: no conflict is left when they meet.
        cluster.heal_all()
        cluster.wait_converged(60)
        _check_rooms(cluster, count)
        # A dead one: another one delivers what comes now.
        sides[0][0].kill()
        sides[1][0].kill()
        for leader, guest in ((cluster.us, "Ada"), (cluster.asia, "Grace")):
            cluster.isolate("us", "asia")
            for i in range(20):
                leader.call("SET", f"room:late-{i}", f"{guest}-{i}")
        cluster.heal_all()
        cluster.wait_converged(60)
        cluster.eu.kill()
        consumer = Consumer("late", [cluster.eu, cluster.us], 2000)
        until("us delivers in place of eu", lambda: cluster.asia.call("CONFLICT", "COUNT") == 0, 60)
        until("it says so", lambda: len(_told([consumer], "resolved")) == 20, 30)
        consumer.check_alive()
        consumer.kill()
        cluster.restart("eu")
        cluster.wait_converged(60)
        _check_rooms(cluster, 20, "room:late-")
        # eu is first again. us gives nothing away meanwhile, and then says where to ask.
        def says_eu():
            reply = cluster.us.ask("CONFLICT", "FEED", "READ", "bookings", "probe")
            assert reply == [] or isinstance(reply, ReplyError), reply
            return isinstance(reply, ReplyError) and str(reply).startswith("ELSEWHERE leader eu delivers")
        until("eu delivers again", says_eu, 30)
        assert cluster.eu.call("CONFLICT", "FEED", "READ", "bookings", "probe") == []


def test_feed_decided(long):
    """Values that lost and were replaced before any consumer looked: each is told of at least once, though the leader that
    delivers is killed halfway."""
    count = 5000 if long else 400
    with Cluster(flags=["--durability", "always"]) as cluster:
        eu, us, asia = cluster.leaders.values()
        assert us.call("CONFLICT", "FEED", "CREATE", "lost", "doc:*", "DECIDED", "LEADERS", "eu", "us") == b"OK"
        cluster.wait_converged()
        for name in cluster.leaders:
            cluster.isolate(name)
        for leader in (eu, us):
            with leader.connect(timeout=30) as connection:
                connection.pipeline([("SET", f"doc:{i}", f"{leader.name} {i}") for i in range(count)])
        cluster.heal_all()
        cluster.wait_converged(60)
        with asia.connect(timeout=30) as connection:
            connection.pipeline([("SET", f"doc:{i}", "new") for i in range(count)])
        cluster.wait_converged(60)

        def read(leader, until_seen):
            """Reads and acknowledges until so many keys were seen: keys that were acknowledged."""
            seen = set()
            with leader.connect(timeout=30) as connection:
                deadline = time.monotonic() + 60 + count / 20
                while len(seen) < until_seen:
                    assert time.monotonic() < deadline, f"{len(seen)} of {until_seen} were told of"
                    items = connection.ask("CONFLICT", "FEED", "READ", "lost", "worker", "COUNT", "50", "BLOCK", "500")
                    if isinstance(items, ReplyError):
                        assert str(items).startswith("ELSEWHERE"), items
                        time.sleep(0.1)  # it has not heard yet that the other one is gone
                        continue
                    for item in items or []:
                        told = dict(zip(item[::2], item[1::2]))
                        assert told[b"lost"][0] in (b"eu " + told[b"key"][4:], b"us " + told[b"key"][4:]), told
                        seen.add(told[b"key"])
                    if items:
                        assert connection.ask("CONFLICT", "FEED", "ACK", "lost", *[item[1] for item in items]) == len(items)
            return seen

        first = read(eu, count // 2)
        eu.kill()
        rest = {b"doc:%d" % i for i in range(count)} - first
        second = read(us, len(rest))
        while not rest <= second:
            second |= read(us, 1)
        print(f"note: {len(first)} told of by the first leader, {len(second)} by the next one")


def test_examples(long):
    """What examples/ and docs/conflicts.md tell people to copy does what it says."""
    _needs_redis_py()
    with Cluster() as cluster:
        handlers = os.path.join(ROOT, "examples", "handlers")
        for name in sorted(os.listdir(handlers)):
            with open(os.path.join(handlers, name), encoding="utf-8") as file:
                source = file.read()
            cluster.us.call("HANDLER", "LOAD", name.removesuffix(".lua"), source)
            pattern = re.search(r"POLICY SET '([^']+)' handler", source).group(1)
            cluster.us.call("POLICY", "SET", pattern, "handler", name.removesuffix(".lua"))
        cluster.us.call("POLICY", "SET", "wiki:home", "siblings")
        cluster.us.call("POLICY", "SET", "page:*", "siblings")
        cluster.wait_converged()
        cluster.isolate("eu")
        values = {"cart:1": ('{"apples":2}', '{"pears":1}', '{"apples":2,"pears":1}'),
                  "entry:1": ('{"title":"A","cancelled":true}', '{"title":"B"}', '{"cancelled":true,"title":"B"}'),
                  "stock:1": ("12", "9", "9"), "tags:1": ("red,blue", "blue,green", "blue,green,red"),
                  "wiki:title": ("B", "C", "B/C")}
        for key, (at_eu, at_us, _) in values.items():
            cluster.eu.call("SET", key, at_eu)
            cluster.us.call("SET", key, at_us)
        cluster.eu.call("SET", "wiki:home", "D")
        cluster.us.call("SET", "wiki:home", "E")
        cluster.eu.call("HSET", "page:1", "title", "D")
        cluster.us.call("HSET", "page:1", "title", "E")
        cluster.heal_all()
        cluster.wait_converged()
        for key, (_, _, merged) in values.items():
            cluster.wait_get(key, merged)
        for leader in cluster.living():
            for handler in leader.call("HANDLER", "LIST"):
                assert handler[handler.index(b"fallbacks") + 1] == 0, handler
        example = os.path.join(ROOT, "examples", "compare_and_resolve.py")
        for place, leader in ((["wiki:home"], cluster.asia), (["page:1", "title"], cluster.eu)):
            done = subprocess.run([sys.executable, example, str(leader.port), *place], text=True, timeout=60,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            assert done.returncode == 0 and done.stdout == "D | E\n", done.stdout
        cluster.wait_get("wiki:home", "D | E")
