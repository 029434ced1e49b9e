"""Small logs: a leader that was away for longer than they reach, and a new one, come by a state."""

import os
import re
import threading
import time

from cluster import Cluster, until
from load import OpenLoop, window
from resp import ReplyError

BATCH = 500
PATIENCE_S = 60
VALUE = 300
P99_RATIO_MAX = 2.0
P99_FLOOR_MS = 5.0  # below this the other processes of the machine are the noise
BYTES_RATIO_MAX = 1.25  # of what a receiver is sent, over all kills, to what the state came to


def _fill(leader, keys, round_, size=VALUE):
    """Writes every key of `keys` (numbers) once."""
    connection = leader.connect()
    for begin in range(0, len(keys), BATCH):
        connection.pipeline([("SET", f"key:{k}", f"{round_}:{k}:".ljust(size, "x"))
                             for k in keys[begin:begin + BATCH]])
    connection.close()


def _delete(leader, keys):
    connection = leader.connect()
    for begin in range(0, len(keys), BATCH):
        connection.pipeline([("DEL", *(f"key:{k}" for k in keys[begin:begin + BATCH]))])
    connection.close()


def _check(leader, alive, dead, round_, size=VALUE):
    connection = leader.connect()
    for begin in range(0, len(alive), BATCH):
        part = alive[begin:begin + BATCH]
        values = connection.call("MGET", *(f"key:{k}" for k in part))
        for k, value in zip(part, values):
            assert value == f"{round_}:{k}:".ljust(size, "x").encode(), f"{leader.name} key:{k} {value!r:.40}"
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


def _state_bytes(leader):
    """What the states came to that it has taken over."""
    with open(leader.log_path, errors="replace") as log:
        return sum(map(int, re.findall(r"cut over: the state of \S+ \((\d+) bytes\)", log.read())))


class _Client(threading.Thread):
    """Writes one key after another and reads what it wrote, across crashes, until `stop`."""

    def __init__(self, leader):
        super().__init__(daemon=True)
        self.leader = leader
        self.acknowledged = []
        self.error = None
        self.slowest_s = 0.0
        self.halt = threading.Event()

    def stop(self):
        self.halt.set()
        self.join(60)
        assert not self.is_alive(), f"a client of {self.leader.name} hangs"
        if self.error:
            raise self.error

    def run(self):
        connection = None
        number = 0
        while not self.halt.is_set():
            try:
                if connection is None:
                    connection = self.leader.connect(timeout=20)
                begin = time.monotonic()
                connection.call("SET", f"client:{number}", "mine")
                self.acknowledged.append(number)
                read = connection.call("GET", f"client:{self.acknowledged[number % len(self.acknowledged)]}")
                self.slowest_s = max(self.slowest_s, time.monotonic() - begin)
                if read != b"mine":
                    self.error = AssertionError(f"{self.leader.name} shows {read!r} for what it acknowledged")
                    return
                time.sleep(0.005)
            except (OSError, ConnectionError):
                if connection:
                    connection.close()
                connection = None
                time.sleep(0.01)
            except Exception as error:
                self.error = error
                return
            number += 1


def _slow(cluster, leader):
    """So that a transfer takes long enough to be met in the middle."""
    for other in cluster.living():
        if other is not leader:
            leader.call("LINK", "DELAY", other.name, "100")


def test_away_state(long):
    # Segments are a sixteenth of the quota. In the long run the others write 1 GB.
    quota, keys, rounds, kills, size = ("64mb", 2_000_000, 1, 10, 500) if long else ("16mb", 40_000, 5, 4, VALUE)
    flags = ["--log-quota", quota, "--durability", "everysec", "--state-timeout", "10s" if long else "5s"]
    everything = list(range(keys))
    dead, alive = everything[::2], everything[1::2]
    with Cluster(flags=flags) as cluster:
        eu, us, asia = cluster.eu, cluster.us, cluster.asia
        _fill(eu, everything, 0, size)
        eu.call("INCRBY", "n", "1")
        cluster.wait_converged(PATIENCE_S * 5)
        cluster.isolate("asia")
        # What it lacks begins behind here: else it could come back by the log.
        cut_at = {leader: int(leader.info("persistence")["log_end"]) for leader in (eu, us)}
        own = 0
        for round_ in range(1, rounds + 1):
            _fill(eu, everything[:keys // 2], round_, size)
            _fill(us, everything[keys // 2:], round_, size)
            for _ in range(2000 // rounds):
                asia.pipeline([("SET", f"own:{own + i}", "mine") for i in range(5)] + [("DEL", f"own:{own + 4}")])
                own += 4
            asia.call("INCRBY", "n", "100")
        _delete(us, dead)
        us.call("INCRBY", "n", "10")

        def given_up():
            # Claims and trimming need traffic.
            eu.call("SET", "tick", "x")
            us.call("SET", "tock", "x")
            return _state_of(eu, "asia") == "away" and _state_of(us, "asia") == "away" and all(
                int(leader.info("persistence")["log_begin"]) > cut_at[leader] for leader in (eu, us))
        until(lambda: f"asia is given up: {eu.info()} {eu.info('persistence')}", given_up, PATIENCE_S, 0.2)
        client = _Client(asia)
        client.start()
        before = asia.bytes_in()
        cluster.heal_all()
        done = resumed = sent = 0
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
            if victim is asia:
                sent += asia.bytes_in() - before
                before = 0
            victim.kill()
            cluster.restart(victim.name)
            done += 1
        for other in (eu, us):
            try:
                asia.call("LINK", "DELAY", other.name, "0")
            except ReplyError:
                pass
        until(lambda: f"asia cuts over: {asia.info()}", lambda: _cut_overs(asia) > 0, PATIENCE_S * 5, 0.1)
        sent += asia.bytes_in() - before
        state = _state_bytes(asia)
        client.stop()
        cluster.wait_converged(PATIENCE_S * 5)
        assert done >= (kills if long else 2), f"the transfer was over after {done} kills"
        assert _cut_overs(asia) == 1, "more than one state was taken over"
        # A kill takes what was on its way, and what was not on disk; the rest is not sent again.
        assert resumed > 0 and (not long or sent <= BYTES_RATIO_MAX * state), f"{sent} bytes for {state}, {done} kills"
        for leader in (eu, us, asia):
            _check(leader, alive, dead, rounds, size)
            for begin in range(0, len(client.acknowledged), BATCH):
                part = client.acknowledged[begin:begin + BATCH]
                assert leader.call("MGET", *(f"client:{i}" for i in part)) == [b"mine"] * len(part), leader.name
            assert leader.get("n") == str(11 + 100 * rounds).encode(), leader.get("n")
            values = leader.call("MGET", *(f"own:{i}" for i in range(own)))
            assert values == [b"mine"] * own, f"{leader.name} lacks own writes of asia"
            assert leader.conflict_log() == [], "an invented conflict"
            assert leader.info()["conflicts_open"] == "0", "an invented conflict"
        until(lambda: "asia counts again", lambda: _state_of(eu, "asia") == "alive", PATIENCE_S, 0.1)
        print(f"note: {done} kills, {own + len(client.acknowledged)} own writes, slowest SET and GET "
              f"{client.slowest_s * 1000:.0f} ms, {sent / 1e6:.1f} MB sent for a state of {state / 1e6:.1f} MB, log "
              f"retained {int(eu.info()['log_retained_bytes']) >> 20} MiB")


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


def test_slots_state(long):
    """Who comes back is sent the slots that differ, and no others."""
    keys, changed = (2_000_000, 2_000) if long else (40_000, 40)
    flags = ["--log-quota", "64mb" if long else "16mb", "--durability", "everysec", "--state-timeout", "5s"]
    everything = list(range(keys))
    with Cluster(flags=flags) as cluster:
        eu, us, asia = cluster.eu, cluster.us, cluster.asia
        _fill(eu, everything, 0)
        cluster.wait_converged(PATIENCE_S * 5)
        for leader in (eu, us, asia):  # twice: what the first one meets in motion, the second one meets at rest
            leader.call("POLYARCH", "CHECKPOINT")
            leader.call("POLYARCH", "CHECKPOINT")
        cluster.isolate("asia")
        # What it lacks begins behind here: else it could come back by the log.
        cut_at = {leader: int(leader.info("persistence")["log_end"]) for leader in (eu, us)}
        asia.call("SET", "own", "mine")
        _fill(us, everything[:changed], 1)
        _delete(us, everything[-changed:])
        filler = "x" * 1_000_000

        def given_up():
            for _ in range(10):
                eu.call("SET", "filler", filler)
            us.call("SET", "tock", "x")
            return all(_state_of(leader, "asia") == "away" and int(leader.info("persistence")["log_begin"]) > cut_at[leader]
                       for leader in (eu, us))
        until(lambda: f"asia is given up: {eu.info()}", given_up, PATIENCE_S, 0.1)
        for leader in (eu, us):
            leader.call("POLYARCH", "CHECKPOINT")
        begin = time.monotonic()
        cluster.heal_all()
        until(lambda: f"asia cuts over: {asia.info()}", lambda: _cut_overs(asia) > 0, PATIENCE_S * 5, 0.05)
        seconds = time.monotonic() - begin
        cluster.wait_converged(PATIENCE_S * 5)
        for leader in (eu, us, asia):
            _check(leader, everything[:changed], everything[-changed:], 1)
            _check(leader, everything[changed:-changed], [], 0)
            assert leader.get("own") == b"mine"
            assert leader.conflict_log() == [], "an invented conflict"
        with open(asia.log_path, errors="replace") as log:
            text = log.read()
        equal = int(re.findall(r"(\d+) of 16384 slots", text)[-1])
        sent = int(re.findall(r"the state of \w+ \((\d+) bytes\)", text)[-1])
        total = keys * (VALUE + 60)
        print(f"note: {equal} slots equal, {sent / 1e6:.1f} MB sent of about {total / 1e6:.1f} MB, {seconds:.1f} s")
        assert equal > 16384 * 0.5, f"only {equal} slots were found equal"
        assert sent < total * 0.5 + 20e6, f"{sent} bytes were sent for {changed} keys of {keys}"


def _on_what_is_left():
    """In the child: a leader that joins stands for a machine of its own. On this one, which is full of leaders and
    load, it takes only what they leave of the processors."""
    os.nice(5)
    try:
        with open("/proc/self/autogroup", "w") as autogroup:  # else each session has an equal share
            autogroup.write("5")
    except OSError:
        pass  # a kernel without autogroups


def test_join_under_load(long):
    """A leader joins while the others serve half of what they can: the rate is held. The long form: the limits and the
    durability that a user has who sets nothing."""
    keys, seconds, pipeline = (2_000_000, 20, 16) if long else (40_000, 3, 16)
    flags = [] if long else ["--log-quota", "16mb", "--durability", "everysec", "--state-timeout", "10s"]
    with Cluster(flags=flags) as cluster:
        eu, us = cluster.eu, cluster.us
        for round_ in range(1 if long else 2):
            _fill(eu, list(range(keys)), round_, 100 if long else VALUE)
        cluster.wait_converged(PATIENCE_S * 5)
        if long:
            for leader in cluster.living():
                leader.connect(timeout=PATIENCE_S * 2).call("POLYARCH", "CHECKPOINT")

        def trimmed():
            eu.call("SET", "tick", "x")
            us.call("SET", "tock", "x")
            return all(int(leader.info("persistence")["log_begin"]) > 0 for leader in cluster.living())
        until("all logs are trimmed", trimmed, PATIENCE_S, 0.2)
        leaders = (eu, us, cluster.asia)
        # One connection at each leader that never waits but for its replies.
        full = [OpenLoop(leader.port, 10_000_000, pipeline, keys, 100, label=leader.name) for leader in leaders]
        begin = time.monotonic()
        time.sleep(seconds / 2)
        end = time.monotonic()
        samples = [load.stop() for load in full]
        rates = [sum(begin <= due_latency[2] < end for due_latency in _answered(s)) * pipeline / (end - begin)
                 for s in samples]
        cluster.wait_converged(PATIENCE_S)
        loads = [OpenLoop(leader.port, int(rate / 2), pipeline, keys, 100, label=leader.name)
                 for leader, rate in zip(leaders, rates)]
        time.sleep(2)
        calm = time.monotonic()
        time.sleep(seconds)
        begin = time.monotonic()
        joined = cluster.add("sa", flags, enter=_on_what_is_left if long else None)
        sender = until("a sender is found", lambda: joined.info().get("state_transfer_from") or
                       joined.info()["admitted"] == "1" and "?", PATIENCE_S, 0.05)
        until(lambda: f"sa is admitted: {joined.info()}", lambda: joined.info()["admitted"] == "1",
              PATIENCE_S * 3, 0.2)
        end = time.monotonic()
        samples = [load.stop() for load in loads]
        note = [f"state from {sender} in {end - begin:.1f} s ({_state_bytes(joined) / 1e6:.0f} MB)"]
        failed = []
        for name, rate, sample in zip(("eu", "us", "asia"), rates, samples):
            before = window(sample, calm, begin, pipeline)
            during = window(sample, begin, end, pipeline)
            note.append(f"{name} saturates at {rate:.0f}/s; at half: {before[0]:.0f}/s p50 {before[1]:.2f} p99 "
                        f"{before[2]:.2f} ms, while it joins {during[0]:.0f}/s p50 {during[1]:.2f} p99 "
                        f"{during[2]:.2f} ms")
            if not long:
                continue
            if during[0] < 0.97 * rate / 2:
                failed.append(f"{name} served {during[0]:.0f}/s of {rate / 2:.0f}/s")
            if during[2] > max(P99_RATIO_MAX * before[2], P99_FLOOR_MS):
                failed.append(f"{name} has a p99 of {during[2]:.2f} ms, before {before[2]:.2f} ms")
        print("note: " + "; ".join(note), flush=True)
        until(lambda: f"sa has merged: {joined.info()}",
              lambda: joined.info()["state_transfer_in_progress"] == "0", PATIENCE_S * 2, 0.2)
        cluster.wait_converged(PATIENCE_S)
        assert joined.info()["state_transfers"] == "1", joined.info()
        assert not failed, "; ".join(failed)


def _answered(samples):
    """(when due, latency, when answered)."""
    return [(due, latency, due + latency) for due, latency in samples]
