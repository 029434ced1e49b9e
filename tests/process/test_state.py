"""Small logs: a leader that was away for longer than they reach, and a new one, come by a state."""

import re
import threading
import time

from cluster import Cluster, until
from resp import ReplyError

BATCH = 500
PATIENCE_S = 60


def _fill(leader, keys, round_):
    """Writes every key of `keys` (numbers) once."""
    connection = leader.connect()
    for begin in range(0, len(keys), BATCH):
        connection.pipeline([("SET", f"key:{k}", f"{round_}:{k}:".ljust(300, "x"))
                             for k in keys[begin:begin + BATCH]])
    connection.close()


def _delete(leader, keys):
    connection = leader.connect()
    for begin in range(0, len(keys), BATCH):
        connection.pipeline([("DEL", *(f"key:{k}" for k in keys[begin:begin + BATCH]))])
    connection.close()


def _check(leader, alive, dead, round_):
    connection = leader.connect()
    for begin in range(0, len(alive), BATCH):
        part = alive[begin:begin + BATCH]
        values = connection.call("MGET", *(f"key:{k}" for k in part))
        for k, value in zip(part, values):
            assert value == f"{round_}:{k}:".ljust(300, "x").encode(), f"{leader.name} key:{k} {value!r:.40}"
    for begin in range(0, len(dead), BATCH):
        part = dead[begin:begin + BATCH]
        found = connection.call("EXISTS", *(f"key:{k}" for k in part))
        assert found == 0, f"{leader.name} has {found} of {len(part)} keys that were deleted"
    connection.close()


def _state_of(leader, name):
    for entry in leader.call("LEADER", "LIST"):
        entry = dict(zip(entry[::2], entry[1::2])) if isinstance(entry, list) else entry
        if entry[b"id"] == name.encode():
            return entry[b"state"].decode()
    return None


def _cut_overs(leader):
    with open(leader.log_path, errors="replace") as log:
        return len(re.findall("cut over: the state of", log.read()))


def _slow(cluster, leader):
    """So that a transfer takes long enough to be met in the middle."""
    for other in cluster.living():
        if other is not leader:
            leader.call("LINK", "DELAY", other.name, "100")


def test_away_state(long):
    quota, keys, rounds, kills = ("64mb", 1_000_000, 3, 10) if long else ("16mb", 40_000, 5, 4)
    flags = ["--log-quota", quota, "--durability", "everysec", "--state-timeout", "5s"]
    everything = list(range(keys))
    dead, alive = everything[::2], everything[1::2]
    with Cluster(flags=flags) as cluster:
        eu, us, asia = cluster.eu, cluster.us, cluster.asia
        _fill(eu, everything, 0)
        eu.call("INCRBY", "n", "1")
        cluster.wait_converged(PATIENCE_S * 5)
        cluster.isolate("asia")
        own = 0
        for round_ in range(1, rounds + 1):
            _fill(eu, everything[:keys // 2], round_)
            _fill(us, everything[keys // 2:], round_)
            asia.call("SET", f"own:{own}", "mine")
            own += 1
            asia.call("INCRBY", "n", "100")
        _delete(us, dead)
        us.call("INCRBY", "n", "10")

        def given_up():
            # Claims and trimming need traffic.
            eu.call("SET", "tick", "x")
            us.call("SET", "tock", "x")
            return _state_of(eu, "asia") == "away" and _state_of(us, "asia") == "away" and all(
                int(leader.info("persistence")["log_begin"]) > 0 for leader in (eu, us))
        until(lambda: f"asia is given up: {eu.info()} {eu.info('persistence')}", given_up, PATIENCE_S, 0.2)
        cluster.heal_all()
        done = resumed = 0
        # Wherever it stands: the receiver, or whoever sends.
        while done < kills:
            _slow(cluster, asia)
            begin = time.monotonic()
            seen = None
            while time.monotonic() - begin < PATIENCE_S:
                info = asia.info()
                resumed = max(resumed, int(info["state_transfers_resumed"]))
                if info["state_transfers"] != "0" or _cut_overs(asia):
                    break
                if int(info.get("state_transfer_bytes", 0)) > 0:
                    if seen is None:
                        seen = int(info["state_transfer_bytes"])
                    elif int(info["state_transfer_bytes"]) > seen:
                        break
                asia.call("SET", f"own:{own}", "mine")
                own += 1
            if _cut_overs(asia):
                break
            victim = asia if done % 2 == 0 else cluster.leaders[info.get("state_transfer_from", "eu")]
            victim.kill()
            cluster.restart(victim.name)
            done += 1
        for other in (eu, us):
            try:
                asia.call("LINK", "DELAY", other.name, "0")
            except ReplyError:
                pass
        until(lambda: f"asia cuts over: {asia.info()}", lambda: _cut_overs(asia) > 0, PATIENCE_S * 5, 0.1)
        cluster.wait_converged(PATIENCE_S * 5)
        assert done >= 2, "the transfer was over before it could be killed"
        for leader in (eu, us, asia):
            _check(leader, alive, dead, rounds)
            assert leader.get("n") == str(11 + 100 * rounds).encode(), leader.get("n")
            values = leader.call("MGET", *(f"own:{i}" for i in range(own)))
            assert values == [b"mine"] * own, f"{leader.name} lacks own writes of asia"
            assert leader.conflict_log() == [], "an invented conflict"
        until(lambda: "asia counts again", lambda: _state_of(eu, "asia") == "alive", PATIENCE_S, 0.1)
        print(f"note: {done} kills, {own} own writes, {_cut_overs(asia)} cut-overs, log retained "
              f"{int(eu.info()['log_retained_bytes']) >> 20} MiB")


def test_join_by_state(long):
    quota, keys, rounds = ("64mb", 500_000, 3) if long else ("16mb", 40_000, 4)
    flags = ["--log-quota", quota, "--durability", "everysec", "--state-timeout", "5s"]
    everything = list(range(keys))
    dead, alive = everything[::2], everything[1::2]
    with Cluster(flags=flags) as cluster:
        eu, us = cluster.eu, cluster.us
        for round_ in range(1, rounds + 1):
            _fill(eu, everything[:keys // 2], round_)
            _fill(us, everything[keys // 2:], round_)
        _delete(eu, dead)

        def trimmed():
            eu.call("SET", "tick", "x")
            us.call("SET", "tock", "x")
            return all(int(leader.info("persistence")["log_begin"]) > 0 for leader in cluster.living())
        until("all logs are trimmed", trimmed, PATIENCE_S, 0.2)
        going = threading.Event()
        written = [0]

        def write():
            connection = us.connect()
            while not going.is_set():
                connection.call("INCR", "load")
                written[0] += 1
            connection.close()
        writer = threading.Thread(target=write)
        writer.start()
        try:
            joined = cluster.add("sa", flags)
            until(lambda: f"sa is admitted: {joined.info()}", lambda: joined.info()["admitted"] == "1",
                  PATIENCE_S, 0.05)
            joined.call("SET", "own", "mine")
        finally:
            going.set()
            writer.join()
        cluster.wait_converged(PATIENCE_S)
        assert joined.info()["state_transfers"] == "1", joined.info()
        for leader in cluster.living():
            _check(leader, alive, dead, rounds)
            assert leader.get("own") == b"mine"
            assert leader.get("load") == str(written[0]).encode()
            assert leader.conflict_log() == []
        print(f"note: {written[0]} writes meanwhile")
