"""Five leaders on five hosts (network namespaces), and a network that fails in every way: partitions of every shape,
cuts of one direction, two sides that see each other through one host only, cards that go down, hosts that
lose their address or their power, long, thin and lossy lines. All leaders are written to all the while."""

import itertools
import time

from cluster import until
from load import Writer, check_writers
from netns import NetCluster, privileged
from resp import pairs
from test_topology import wait_links

NAMES = ["a", "b", "c", "d", "e"]
HOSTS = range(len(NAMES))
TOPOLOGIES = {
    "mesh": [f"{x}-{y}" for x, y in itertools.combinations(NAMES, 2)],
    "ring a b c d e": ["a-b", "b-c", "c-d", "d-e", "a-e"],
    "star a": ["a-b", "a-c", "a-d", "a-e"],
    "links a-b b-c c-d d-e": ["a-b", "b-c", "c-d", "d-e"],
}
MODES = ["vanish", "reset"]
HOLD_S = 2.2  # a link dies of silence within 1.8 s
INSIDE_S = 30.0  # until those who can reach each other are level although the others are gone
EQUAL_S = 20.0
LOADED_S = 1.0
SHARED = 5
PACE_S = 0.02  # 8 writes each at each leader: 2000/s in all


def set_partitions(count):
    """Every way to cut `count` hosts into sides."""
    def grow(sides, number):
        if number == count:
            yield [list(side) for side in sides]
            return
        for side in sides:
            side.append(number)
            yield from grow(sides, number + 1)
            side.pop()
        sides.append([number])
        yield from grow(sides, number + 1)
        sides.pop()
    return list(grow([], 0))


def shape_of(sides):
    return "|".join(map(str, sorted(map(len, sides))))


def across(sides):
    """The directions from each side to the others."""
    side_of = {host: i for i, side in enumerate(sides) for host in side}
    return {(x, y) for x, y in itertools.permutations(HOSTS, 2) if side_of[x] != side_of[y]}


def all_but(*lines):
    """Only these lines ("0-1") are left."""
    left = {tuple(map(int, line.split("-"))) for line in lines}
    return {(x, y) for x, y in itertools.permutations(HOSTS, 2) if (x, y) not in left and (y, x) not in left}


# Each is (name, the directions that are cut).
ONE_WAY = [
    ("one hears nobody", {(x, 2) for x in HOSTS if x != 2}),
    ("one is heard by nobody", {(2, x) for x in HOSTS if x != 2}),
    ("two sides, one direction", {(x, y) for x in (0, 1) for y in (2, 3, 4)}),
    ("one line, one direction", {(0, 1)}),
    ("each hears the next only", {(x, y) for x, y in itertools.permutations(HOSTS, 2) if y != (x + 1) % 5}),
]
BRIDGES = [
    ("two sides meet at one host", all_but("0-1", "0-2", "1-2", "2-3", "2-4", "3-4")),
    ("all meet at one host", all_but("3-0", "3-1", "3-2", "3-4")),
    ("a chain", all_but("2-0", "0-4", "4-1", "1-3")),
    ("a ring", all_but("0-2", "2-4", "4-1", "1-3", "3-0")),
    ("a bridge and one apart", all_but("0-1", "1-2", "2-3")),
]


def sides_of(closed):
    """Who can still reach whom, over others too: a line is one only if both directions are open."""
    sides = []
    rest = set(HOSTS)
    while rest:
        side, edge = set(), [min(rest)]
        while edge:
            host = edge.pop()
            side.add(host)
            edge += [x for x in HOSTS if x not in side and (host, x) not in closed and (x, host) not in closed]
        sides.append(sorted(side))
        rest -= side
    return sides


def heard_by(host, closed):
    """Whose words may reach this host, over others too: what is on its way needs one direction only, until the
    connection is given up."""
    found, edge = {host}, [host]
    while edge:
        here = edge.pop()
        more = [x for x in HOSTS if x not in found and (x, here) not in closed]
        found.update(more)
        edge += more
    return found


class Drill:
    """One fault after another on one cluster, each with a key space of its own."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.leaders = [cluster.leaders[name] for name in NAMES]
        self.number = 0
        self.topology = "mesh"
        self.acknowledged = 0
        self.inside, self.equal = {}, {}  # the worst times by kind of fault

    def use(self, topology):
        if topology != self.topology:
            self.leaders[self.number % len(NAMES)].call("TOPOLOGY", "SET", *topology.split())
            self.topology = topology
        wait_links(self.cluster, *TOPOLOGIES[topology], deadline_s=60)

    def _prepare(self):
        """Keys that will be deleted elsewhere; writers at all leaders."""
        self.number += 1
        n = self.number
        for i, leader in enumerate(self.leaders):
            leader.call("SET", f"doomed:{n}:{i}", "x")
        self.cluster.wait_converged(EQUAL_S)
        self.writers = [Writer(leader, f"{n}.{leader.name}", n * 10 + i, [f"sum:{n}"], keys=20, pause_s=PACE_S)
                        for i, leader in enumerate(self.leaders)]
        for writer in self.writers:
            writer.start()
        self._progress()

    def _progress(self, deadline_s=5.0):
        """Every leader goes on acknowledging, whatever it can reach."""
        wanted = [writer.acknowledged + 80 for writer in self.writers]
        until(lambda: f"all are writable: {[(w.leader.name, w.acknowledged, w.error) for w in self.writers]}",
              lambda: all(writer.acknowledged >= count for writer, count in zip(self.writers, wanted)), deadline_s)

    def _write_shared(self):
        """Each key at all leaders, a key of its own each, and the doomed ones deleted by another."""
        n = self.number
        for i, leader in enumerate(self.leaders):
            for k in range(SHARED):
                leader.call("SET", f"shared:{n}:{k}", f"{n}.{k}.{leader.name}")
            leader.call("SET", f"own:{n}:{i}", leader.name)
            assert leader.call("DEL", f"doomed:{n}:{(i + 1) % len(NAMES)}") == 1

    def _wait_inside(self, sides, closed):
        """Each side is level within, and has nothing of those that it cannot hear. What each side shows of the
        shared keys."""
        n = self.number
        shared = [f"shared:{n}:{k}" for k in range(SHARED)]
        own = [f"own:{n}:{i}" for i in HOSTS]
        shown = []
        for side in sides:
            heard = set().union(*(heard_by(i, closed) for i in side))

            def level():
                seen = [self.leaders[i].call("MGET", *shared, *own) for i in side]
                for i, values in zip(side, seen):
                    strange = [NAMES[j] for j in HOSTS if values[SHARED + j] is not None and j not in heard]
                    assert not strange, f"{NAMES[i]} has writes of {strange}, across the cut"
                equal = all(values == seen[0] for values in seen)
                return seen[0] if equal and all(seen[0][SHARED + j] is not None for j in side) else None
            shown.append(until(lambda: f"{[NAMES[i] for i in side]} are level: " + "; ".join(
                f"{NAMES[i]} {self.leaders[i].call('MGET', *own)} links {self.leaders[i].links()}" for i in side), level,
                INSIDE_S)[:SHARED])
        return shown

    def _settle(self):
        for writer in self.writers:
            writer.stop()
            self.acknowledged += writer.acknowledged

    def _check(self, sides, closed, shown):
        """After convergence: all that was acknowledged, the conflicts, and the deleted keys."""
        n = self.number
        check_writers(self.writers, self.leaders)
        for writer in self.writers:
            assert not any(counter.pending for counter in writer.counters.values()), "a write without an answer"
        lost = {}
        for leader in self.leaders:
            for entry in leader.conflict_log(f"shared:{n}:*"):
                lost.setdefault(entry["key"].decode(), set()).update(version[0] for version in entry["lost"])
        # What a side wrote itself, and no other could hear, was replaced unseen if at all.
        unheard = {value for side, values in zip(sides, shown) for value in values
                   if value.decode().rsplit(".", 1)[1] in [NAMES[i] for i in side]
                   and not any(heard_by(host, closed) & set(side) for host in HOSTS if host not in side)}
        for leader in self.leaders:
            for k in range(SHARED):
                key = f"shared:{n}:{k}"
                value = leader.get(key)
                last = {values[k] for values in shown}
                assert value in last, f"{leader.name} shows {value!r} under {key}; the sides had {last}"
                missing = (last & unheard) - {value} - lost.get(key, set())
                assert not missing, f"{key}: {missing} was replaced unseen and is in no log"
            assert leader.call("EXISTS", *(f"own:{n}:{i}" for i in HOSTS)) == len(NAMES), f"own keys at {leader.name}"
            back = leader.call("EXISTS", *(f"doomed:{m}:{i}" for m in range(1, n + 1) for i in HOSTS))
            assert back == 0, f"{back} deleted keys are back at {leader.name}"

    def run(self, kind, fault, mend, loaded=False):
        """fault() brings it about and returns the directions in which nothing passes any more; mend() ends it. `loaded`:
        the load goes on for LOADED_S of the mended network."""
        self._prepare()
        closed = fault()
        sides = sides_of(closed)
        begin = time.monotonic()
        self._write_shared()
        shown = self._wait_inside(sides, closed)
        inside = time.monotonic() - begin
        self._progress()
        time.sleep(max(0.0, begin + HOLD_S - time.monotonic()))
        if not loaded:
            self._settle()
        mended = time.monotonic()
        mend()
        if loaded:
            time.sleep(LOADED_S)
            self._settle()
        self.cluster.wait_converged(EQUAL_S)
        self._note(kind + (" under load" if loaded else ""), inside, time.monotonic() - mended)
        self._check(sides, closed, shown)

    def cut(self, kind, closed, mode, loaded=False):
        network = self.cluster.network

        def fault():
            network.cut(closed, mode)
            return closed
        self.run(kind, fault, network.heal, loaded)

    def _note(self, kind, inside, equal):
        print(f"{self.number}. {self.topology}, {kind}: level inside after {inside:.1f} s, equal after {equal:.1f} s", flush=True)
        self.inside[kind] = max(self.inside.get(kind, 0), inside)
        self.equal[kind] = max(self.equal.get(kind, 0), equal)

    def report(self):
        figures = ", ".join(f"{kind} {self.inside[kind]:.1f}/{self.equal[kind]:.1f}" for kind in self.equal)
        print(f"note: {self.number} drills, {self.acknowledged} writes; s until level inside/equal after healing, worst: "
              + figures)


def _run(cases):
    """[(topology, kind, closed, mode, loaded)]"""
    with NetCluster(NAMES, ["--durability", "everysec"]) as cluster:
        drill = Drill(cluster)
        for topology, kind, closed, mode, loaded in cases:
            drill.use(topology)
            try:
                drill.cut(kind, closed, mode, loaded)
            except AssertionError as error:
                lines = " ".join(f"{NAMES[x]}>{NAMES[y]}" for x, y in sorted(closed))
                raise AssertionError(f"drill {drill.number}, {topology}, {kind}, {mode}, cut {lines}: {error}") from error
        drill.report()


@privileged
def test_netns_partitions(long):
    """Long: all 51 partitions of five; each shape meets each topology."""
    if not long:
        _run([(topology, shape_of(sides), across(sides), mode, loaded) for topology, sides, mode, loaded in [
            ("ring a b c d e", [[0], [1, 3], [2, 4]], "reset", False), ("star a", [[0], [1, 2, 3, 4]], "vanish", True)]])
        return
    partitions = sorted((sides for sides in set_partitions(len(NAMES)) if len(sides) > 1), key=shape_of)
    topologies = list(TOPOLOGIES)
    cases = [(topologies[i % 4], shape_of(sides), across(sides), MODES[i // 4 % 2], i % 3 == 2)
             for i, sides in enumerate(partitions)]
    apart = next(closed for _, kind, closed, _, _ in cases if kind == "1|1|1|1|1")
    cases += [(topology, "1|1|1|1|1", apart, "vanish", False) for topology in topologies]
    _run(sorted(cases, key=lambda case: topologies.index(case[0])))


@privileged
def test_netns_one_way_and_bridges(long):
    """Cuts of one direction, and sides that see each other through one host: those who can reach each other, over
    whomever, are level while it lasts."""
    if not long:
        _run([("mesh", *ONE_WAY[2], "vanish", False), ("mesh", *BRIDGES[0], "vanish", False)])
        return
    _run([(topology, kind, closed, MODES[i % 2], i % 3 == 2)
          for topology in TOPOLOGIES for i, (kind, closed) in enumerate(ONE_WAY + BRIDGES)])


def _state_of(leader, name):
    for entry in map(pairs, leader.call("LEADER", "LIST")):
        if entry["id"] == name.encode():
            return entry["state"].decode()
    return None


@privileged
def test_netns_hosts(long):
    """The card goes down; the address is not there; the power fails and a machine with the same address comes back,
    before or after anybody has noticed."""
    with NetCluster(NAMES, ["--durability", "everysec"]) as cluster:
        network = cluster.network
        drill = Drill(cluster)
        noticed_s, back_s = [], []

        def others(name):
            return [leader for leader in drill.leaders if leader.name != name]

        def notice(name):
            begin = time.monotonic()
            until(f"all notice that {name} is gone", lambda: all(
                _state_of(leader, name) == "unreachable" for leader in others(name)), 10)
            noticed_s.append(time.monotonic() - begin)

        def card_down(number):
            host = network.hosts[number]

            def down():
                host.ip("link", "set", "eth0", "down")
                notice(NAMES[number])
                return network.around(number)
            drill.run("card down", down, lambda: host.ip("link", "set", "eth0", "up"))

        def no_address(number):
            host = network.hosts[number]

            def down():
                host.ip("addr", "del", host.address + "/24", "dev", "eth0")
                notice(NAMES[number])
                return network.around(number)
            drill.run("no address", down, lambda: host.ip("addr", "add", host.address + "/24", "dev", "eth0"))

        def power(number, unnoticed):
            """No word of the old connections comes from the host: what is half open must be found out."""
            leader, host = drill.leaders[number], network.hosts[number]
            leader.call("SET", "last words", drill.number)
            cluster.wait_converged()
            writers = [Writer(other, f"p{drill.number}.{other.name}", drill.number, ["power"], keys=10, pause_s=PACE_S)
                       for other in others(leader.name)]
            for writer in writers:
                writer.start()
            network.cut(network.around(number))
            leader.kill()
            host.replace()
            if not unnoticed:
                notice(leader.name)
            network.heal()
            begin = time.monotonic()
            cluster.restart(leader.name)
            until(f"{leader.name} is alive for all", lambda: all(
                _state_of(other, leader.name) == "alive" for other in others(leader.name)), 20)
            back_s.append(time.monotonic() - begin)
            leader.call("SET", "first words", drill.number)
            for writer in writers:
                writer.stop()
            cluster.wait_converged(EQUAL_S)
            wait_links(cluster, *TOPOLOGIES[drill.topology])
            check_writers(writers, drill.leaders)
            drill.acknowledged += sum(writer.acknowledged for writer in writers)

        # The hub and a leaf, the middle and an end; in a mesh and a ring all are alike.
        struck = {"mesh": [2], "ring a b c d e": [1], "star a": [0, 3], "links a-b b-c c-d d-e": [0, 2]}
        for topology in TOPOLOGIES if long else ["star a"]:
            drill.use(topology)
            for number in struck[topology] if long else [0]:
                if long:
                    card_down(number)
                    drill.use(topology)
                    no_address(number)
                    drill.use(topology)
                    power(number, unnoticed=False)
                power(number, unnoticed=True)
        drill.report()
        if noticed_s:
            print(f"note: noticed after {max(noticed_s):.2f} s at most")
        print(f"note: a host that came back was alive for all {max(back_s):.2f} s after its start")


@privileged
def test_netns_lines(long):
    """Long, thin and lossy lines between all, and a partition on top."""
    with NetCluster(NAMES, ["--durability", "everysec"]) as cluster:
        network = cluster.network
        drill = Drill(cluster)
        pairs_of = list(itertools.permutations(HOSTS, 2))
        lines = {"120 ms": {"delay_s": 0.12}, "400 kB/s": {"bytes_per_s": 400_000}, "2% lost": {"loss": 0.02}}
        lines["all three"] = {**lines["120 ms"], **lines["400 kB/s"], **lines["2% lost"]}
        lag_s = {}
        for kind in lines if long else ["120 ms"]:
            for topology in TOPOLOGIES if long else ["mesh"]:
                drill.use(topology)

                def bad_lines():
                    rules = {pair: lines[kind] for pair in pairs_of}
                    network.set(rules)
                    begin = time.monotonic()
                    drill.leaders[1].call("SET", "mark", drill.number)
                    until("a mark is at all", lambda: all(
                        leader.get("mark") == b"%d" % drill.number for leader in drill.leaders), INSIDE_S)
                    lag_s[kind] = max(lag_s.get(kind, 0), time.monotonic() - begin)
                    closed = across([[0, 1], [2, 3, 4]])
                    network.set({**rules, **{pair: {"mode": "vanish"} for pair in closed}})
                    return closed
                drill.run(kind, bad_lines, lambda: network.set({pair: lines[kind] for pair in pairs_of}))
                network.heal()
        drill.report()
        print("note: a write was at all after at most " + ", ".join(f"{s:.2f} s ({kind})" for kind, s in lag_s.items()))
