"""Queues: four workers at each of three leaders, by BRPOP, BLMOVE or a group of a stream, while leaders are cut off and
killed. Every job whose push was acknowledged is done by somebody. Under the policy `pop-owner`, too: then, while nothing
fails, none is done twice; nor is one while leaders are only killed."""

import random
import threading
import time
from collections import Counter

from cluster import Cluster, until

WORKERS = 4


class _Worker(threading.Thread):
    """Takes jobs at one leader until it is told to stop; connects again when its leader is killed. A job is done
    once its worker has been told of it."""

    def __init__(self, leader, name, stop):
        super().__init__(daemon=True)
        self.leader, self.label, self.stop = leader, name, stop
        self.done = Counter()
        self.error = None

    def run(self):
        while not self.stop.is_set():
            try:
                with self.leader.connect(timeout=10) as connection:
                    self.begin(connection)
                    while not self.stop.is_set():
                        for job in self.take(connection):
                            self.done[job] += 1
            except OSError:
                time.sleep(0.05)  # its leader is down: try again
            except Exception as error:
                self.error = error
                return

    def begin(self, connection):
        pass


class _Popper(_Worker):
    def take(self, connection):
        reply = connection.ask("BRPOP", "jobs", "0.5")
        return [reply[1]] if reply else []


class _Mover(_Worker):
    """Moves a job to a list of its own leader's before it does it; what it left there is done at its next start."""

    def begin(self, connection):
        for job in connection.ask("LRANGE", "doing:" + self.label, "0", "-1"):
            self.done[job] += 1
            connection.ask("LREM", "doing:" + self.label, "1", job)

    def take(self, connection):
        job = connection.ask("BLMOVE", "jobs", "doing:" + self.label, "RIGHT", "LEFT", "0.5")
        if job is None:
            return []
        self.done[job] += 1  # before it is taken off the list: the reply to that may be lost in a kill
        connection.ask("LREM", "doing:" + self.label, "1", job)
        return []


class _Reader(_Worker):
    """A consumer of a group; what was pending for it when its leader was killed is given to it again."""

    def begin(self, connection):
        self.jobs(connection, connection.ask("XREADGROUP", "GROUP", "g", self.label, "STREAMS", "jobs", "0"))

    def jobs(self, connection, reply):
        entries = [(entry[0], entry[1]) for entry in (reply[0][1] if reply else []) if entry[1]]
        for _, fields in entries:
            self.done[fields[1]] += 1
        if entries:
            connection.ask("XACK", "jobs", "g", *[entry for entry, _ in entries])

    def take(self, connection):
        self.jobs(connection, connection.ask("XREADGROUP", "GROUP", "g", self.label, "COUNT", "10", "BLOCK", "500",
                                             "STREAMS", "jobs", ">"))
        return []


class _Producer(threading.Thread):
    """Pushes its share of the jobs; a push whose reply was lost is not repeated, and not counted."""

    def __init__(self, leader, jobs, push):
        super().__init__(daemon=True)
        self.leader, self.jobs, self.push = leader, jobs, push
        self.acknowledged = []
        self.error = None

    def run(self):
        batches = [self.jobs[i:i + 20] for i in range(0, len(self.jobs), 20)]
        while batches:
            try:
                with self.leader.connect(timeout=10) as connection:
                    while batches:
                        batch = batches.pop()
                        for job, reply in zip(batch, connection.pipeline([self.push(job) for job in batch])):
                            assert isinstance(reply, (int, bytes)), reply
                            self.acknowledged.append(job)
            except OSError:
                time.sleep(0.05)  # its leader is down: the batch under way is in doubt
            except Exception as error:
                self.error = error
                return


def _disturb(cluster, draw, busy, kills, cuts=True):
    """Cuts and kills while `busy` says so, at least so many kills."""
    killed = 0
    while busy() or killed < kills:
        name = draw.choice(list(cluster.leaders))
        if cuts and draw.random() < 0.5:
            cluster.isolate(name)
            time.sleep(draw.uniform(0.2, 0.8))
            cluster.heal_all()
        else:
            cluster.leaders[name].kill()
            killed += 1
            time.sleep(draw.uniform(0, 0.3))
            cluster.restart(name)
        time.sleep(draw.uniform(0.2, 0.5))
    return killed


def _run(kind, worker, push, count, seed, kills, owned=False, cuts=True):
    """`kills`: how often leaders are killed at least; none: nothing fails. `owned`: under pop-owner."""
    draw = random.Random(seed)
    with Cluster(flags=["--durability", "always"]) as cluster:
        if owned:
            assert cluster.eu.call("POLICY", "SET", "jobs", "pop-owner") == b"OK"
            cluster.wait_converged()
        if worker is _Reader:
            assert cluster.eu.call("XGROUP", "CREATE", "jobs", "g", "0", "MKSTREAM") == b"OK"
            cluster.wait_converged()
        stop = threading.Event()
        workers = [worker(leader, f"{leader.name}.{i}", stop) for leader in cluster.leaders.values() for i in range(WORKERS)]
        jobs = [b"job:%d" % i for i in range(count)]
        producers = [_Producer(leader, jobs[i::3], push) for i, leader in enumerate(cluster.leaders.values())]
        threads = workers + producers
        for thread in threads:
            thread.start()
        killed = _disturb(cluster, draw, lambda: any(p.is_alive() for p in producers), kills, cuts) if kills else 0
        for producer in producers:
            producer.join(60 if kills else 60 + count // 50)
            assert producer.error is None and not producer.is_alive(), producer.error
        acknowledged = {job for producer in producers for job in producer.acknowledged}
        assert len(acknowledged) > count / 2, f"hardly any pushed: {len(acknowledged)} of {count}"

        def missing():
            for thread in threads:
                assert thread.error is None, thread.error
            done = set()
            for each in workers:
                done.update(each.done.copy())
            return acknowledged - done

        # A BRPOP whose reply a kill took is gone for good, as with Redis: its job cannot be told from one that is done.
        lost_replies = WORKERS * killed if worker is _Popper else 0
        until(lambda: f"{kind}: {len(missing())} jobs are not done, {sorted(missing())[:5]}",
              lambda: len(missing()) <= lost_replies, 60 + count // 100)  # many, and each at the pace of the disk
        stop.set()
        for each in workers:
            each.join(30)
            assert not each.is_alive(), f"{each.label} hangs"
        cluster.wait_converged(60)
        left = len(missing())
        twice = sum(1 for total in sum((each.done for each in workers), Counter()).values() if total > 1)
        if owned and not (kills and cuts):
            assert twice == 0, f"{twice} jobs were done more than once"
            assert left <= lost_replies
        print(f"note: {kind}: {len(acknowledged)} jobs, {killed} kills, {twice} done more than once, {left} gone with a reply")


def _lists(job):
    return "LPUSH", "jobs", job


def test_queues_brpop(long):
    _run("BRPOP", _Popper, _lists, 100_000 if long else 3000, 1, 20 if long else 2)


def test_queues_blmove(long):
    _run("BLMOVE", _Mover, _lists, 100_000 if long else 3000, 2, 20 if long else 2)


def test_queues_xreadgroup(long):
    _run("XREADGROUP", _Reader, _entries, 100_000 if long else 3000, 3, 20 if long else 2)


def test_queues_owned_brpop(long):
    _run("BRPOP under pop-owner", _Popper, _lists, 100_000 if long else 3000, 4, 0, owned=True)


def test_queues_owned_blmove(long):
    _run("BLMOVE under pop-owner", _Mover, _lists, 100_000 if long else 3000, 5, 0, owned=True)


def test_queues_owned_killed(long):
    """A popper's answer may be lost in a kill; whatever is answered is answered once."""
    _run("BRPOP under pop-owner, kills", _Popper, _lists, 100_000 if long else 3000, 6, 20 if long else 2, owned=True, cuts=False)


def test_queues_owned_disturbed(long):
    _run("BLMOVE under pop-owner, kills and cuts", _Mover, _lists, 100_000 if long else 3000, 7, 20 if long else 2, owned=True)


def _entries(job):
    return "XADD", "jobs", "*", "job", job


def test_queues_owned_xreadgroup(long):
    _run("XREADGROUP under pop-owner", _Reader, _entries, 100_000 if long else 3000, 8, 0, owned=True)


def test_queues_owned_xreadgroup_disturbed(long):
    """What was pending when a leader was killed is given to its consumer again: none is lost, some may come twice."""
    _run("XREADGROUP under pop-owner, kills and cuts", _Reader, _entries, 100_000 if long else 3000, 9, 20 if long else 2, owned=True)


def test_queues_owned_xautoclaim(long):
    """Consumers that never acknowledge leave their entries to two others, at two leaders, which claim what is idle: each
    entry is claimed by one of them."""
    count = 20_000 if long else 1000
    with Cluster(flags=["--durability", "always"]) as cluster:
        eu, us, asia = cluster.leaders.values()
        assert eu.call("POLICY", "SET", "jobs", "pop-owner") == b"OK"
        assert eu.call("XGROUP", "CREATE", "jobs", "g", "0", "MKSTREAM") == b"OK"
        cluster.wait_converged()
        with eu.connect(timeout=30) as connection:
            for at in range(0, count, 100):
                connection.pipeline([("XADD", "jobs", "*", "job", b"job:%d" % i) for i in range(at, at + 100)])
            given = 0
            while given < count:
                reply = connection.ask("XREADGROUP", "GROUP", "g", "lost", "COUNT", "500", "STREAMS", "jobs", ">")
                given += len(reply[0][1])
        cluster.wait_converged()
        claimed = Counter()
        errors = []
        lock = threading.Lock()

        def claim(leader):
            try:
                with leader.connect(timeout=30) as connection:
                    start, found = b"0-0", False
                    while True:
                        start, entries, _ = connection.ask("XAUTOCLAIM", "jobs", "g", leader.name, "60000", start, "COUNT", "20")
                        with lock:
                            claimed.update(entry for entry, _ in entries)
                        found = found or bool(entries)
                        if start == b"0-0":
                            if not found:
                                return  # a whole pass found nothing that is idle
                            found = False
            except Exception as error:
                errors.append(error)

        # As if a minute had gone by since they were given; by the leader that gave them.
        pending = []
        with eu.connect(timeout=30) as connection:
            start = "-"
            while True:
                page = [entry[0] for entry in connection.ask("XPENDING", "jobs", "g", start, "+", "1000")]
                if not page:
                    break
                pending += page
                start = b"(" + page[-1]
            assert len(pending) == count
            for at in range(0, count, 500):
                connection.ask("XCLAIM", "jobs", "g", "lost", "0", *pending[at:at + 500], "IDLE", "100000", "JUSTID")
        cluster.wait_converged()
        threads = [threading.Thread(target=claim, args=(leader,), daemon=True) for leader in (us, asia)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120 + count // 20)
            assert not thread.is_alive(), "XAUTOCLAIM hangs"
        assert not errors, errors
        assert len(claimed) == count, f"{count - len(claimed)} entries were claimed by nobody"
        twice = [entry for entry, times in claimed.items() if times > 1]
        assert not twice, f"{len(twice)} entries were claimed twice"
        print(f"note: {count} pending entries claimed at two leaders, none twice")
