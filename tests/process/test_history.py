"""What clients of real leaders saw, checked by polyarch-check: causal consistency, one order of all concurrent writes,
counters."""

import os
import random
import threading
import time

import history
from cluster import Cluster

NAMES = ["eu", "us", "asia"]
CLIENTS = 4  # a leader
LWW = [f"r:{i}" for i in range(10)]
SIBLINGS = [f"s:{i}" for i in range(4)]
COUNTERS = [f"c:{i}" for i in range(4)]


class _Client(threading.Thread):
    """Draws operations; goes from leader to leader, also when its own is killed."""

    def __init__(self, cluster, recorder, number, seed, stop):
        super().__init__(daemon=True)
        self.cluster, self.recorder, self.number, self.stop = cluster, recorder, number, stop
        self.draw = random.Random(seed)
        self.error = None
        self.hops = self.stayed = self.left = 0

    def run(self):
        try:
            at = self.cluster.leaders[NAMES[self.number % len(NAMES)]]
            while not self.stop.is_set():
                try:
                    with self.recorder.session(f"client{self.number}", at) as session:
                        at = self._session(session)
                except OSError:
                    time.sleep(0.05)
        except Exception as error:
            self.error = error

    def _session(self, session):
        """One session to its end; where the next one begins."""
        while not self.stop.is_set():
            try:
                self._step(session)
            except history.Gone:
                # Its leader was killed, or the one that it went to. Half of the clients wait for it.
                if self.draw.random() < 0.5 or not self._again(session):
                    self.left += 1
                    break
        return self.draw.choice(list(self.cluster.leaders.values()))

    def _again(self, session):
        end = time.monotonic() + 20
        while time.monotonic() < end and not self.stop.is_set():
            try:
                session.again()
                return True
            except OSError:
                time.sleep(0.05)
        return False

    def _step(self, session):
        drawn = self.draw.random()
        if drawn < 0.03:
            moved = session.hop(self.draw.choice(list(self.cluster.leaders.values())), self.draw.choice([50, 2000]))
            self.hops += moved
            self.stayed += not moved
        elif drawn < 0.40:
            session.get(self.draw.choice(LWW))
        elif drawn < 0.65:
            session.set(self.draw.choice(LWW))
        elif drawn < 0.70:
            session.delete(self.draw.choice(LWW[:3]))
        elif drawn < 0.85:
            session.get(self.draw.choice(SIBLINGS + COUNTERS))
        elif drawn < 0.92:
            session.set(self.draw.choice(SIBLINGS))
        else:
            session.incr(self.draw.choice(COUNTERS), self.draw.randint(1, 9))


def _disturb(cluster, draw):
    """Cuts two leaders off from each other, heals, or kills one and brings it back."""
    drawn = draw.random()
    if drawn < 0.5:
        a, b = draw.sample(NAMES, 2)
        if (a, b) not in cluster.cuts:
            cluster.cut(a, b)
    elif drawn < 0.8:
        cluster.heal_all()
    else:
        victim = draw.choice(NAMES)
        cluster.leaders[victim].kill()
        time.sleep(draw.random() * 0.5)
        cluster.restart(victim)


def test_process_history(long):
    """Clients at three leaders, with sessions that hop, cuts and kills: all that they saw can be explained."""
    seed = random.randrange(1 << 30)
    draw = random.Random(seed)
    with Cluster(NAMES) as cluster:
        cluster.eu.call("POLICY", "SET", "s:*", "siblings")
        cluster.wait_converged()
        path = os.path.join(cluster.directory, "history.txt")
        recorder = history.Recorder(path)
        stop = threading.Event()
        clients = [_Client(cluster, recorder, n, draw.random(), stop) for n in range(CLIENTS * len(NAMES))]
        for client in clients:
            client.start()
        kills = 0
        end = time.monotonic() + (600 if long else 15)
        while time.monotonic() < end:
            time.sleep(0.5)
            before = [leader.process.pid for leader in cluster.leaders.values()]
            _disturb(cluster, draw)
            kills += before != [leader.process.pid for leader in cluster.leaders.values()]
        if kills == 0:
            cluster.us.kill()
            cluster.restart("us")
            kills = 1
        stop.set()
        for client in clients:
            client.join()
            assert client.error is None, f"seed {seed}: {client.error!r}"
        cluster.heal_all()
        cluster.wait_converged(60)
        for leader in cluster.leaders.values():
            with recorder.session("end-" + leader.name, leader) as session:
                for key in LWW + SIBLINGS + COUNTERS:
                    session.final(key)
        recorder.close()
        code, said = history.check(path, "--convergent")
        assert code == 0, f"seed {seed}: polyarch-check says {code}\n{said[:5000]}"
        assert recorder.operations > 1000, recorder.operations
        hops = sum(client.hops for client in clients)
        assert hops > 0
        print(f"note: {said}; {hops} hops, {sum(client.stayed for client in clients)} times not there in time, {kills} kills, "
              f"{recorder.unknown} unknown outcomes")


def test_history_without_tokens(long):
    """The checker sees what tokens are for: who goes without one reads older than it wrote."""
    with Cluster(["eu", "us"]) as cluster:
        path = os.path.join(cluster.directory, "history.txt")
        recorder = history.Recorder(path)
        with recorder.session("other", cluster.us) as other, recorder.session("client", cluster.eu) as client:
            client.set("x")
            client.incr("n")
            assert client.hop(cluster.us)
            assert client.hop(cluster.eu)
            cluster.cut("eu", "us")
            client.set("x")
            client.incr("n")
            assert not client.hop(cluster.us, 100)
            client.hop_without_token(cluster.us)
            client.get("x")
            client.get("n")
            other.get("x")
        recorder.close()
        code, said = history.check(path)
        assert code == 1, said
        lines = said.splitlines()
        assert len(lines) == 3, said
        assert any("WriteCORead" in line and "read your writes is broken" in line for line in lines), said
        assert any("CounterLost" in line for line in lines), said
