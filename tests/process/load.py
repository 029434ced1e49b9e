"""Writers for the process tests.

`Writer` is a thread that remembers what was acknowledged, for checking after crashes. `OpenLoop` is a
process that keeps a rate and records latencies, counted from when a batch was due (so that a stalled
server cannot hide its stall by stalling the load); run as a program it is that process.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import die_with_parent  # noqa: E402
from resp import Connection, ReplyError, encode  # noqa: E402


class Register:
    """What may be found under a key that one writer writes: the last acknowledged state, a later one
    whose acknowledgement never came, and, if the last acknowledged write is a DEL, any earlier write
    without acknowledgement: a leader may have lost it in a crash after a peer got it, and then the DEL
    had not seen it."""

    def __init__(self):
        self.acknowledged = None
        self.pending = []  # [(number, value)], in the order of sending
        self.ghosts = set()

    def sent(self, number, value):
        self.pending.append((number, value))

    def acked(self, number):
        while True:
            pending, value = self.pending.pop(0)
            if pending == number:
                self.acknowledged = value
                return
            self.ghosts.add(value)

    def allowed(self):
        values = {self.acknowledged, *(value for _, value in self.pending)}
        return values | self.ghosts if self.acknowledged is None else values

    def settle(self, value):
        """All leaders agree on `value`: nothing is in doubt any more."""
        self.acknowledged, self.pending, self.ghosts = value, [], set()


class Counter:
    def __init__(self):
        self.acknowledged = 0
        self.pending = 0

    def settle(self, value):
        self.acknowledged, self.pending = value, 0


class Writer(threading.Thread):
    """Writes SET, DEL and INCR in small pipelines to one leader until `stop`, across its crashes; between two pipelines
    it waits `pause_s`."""

    def __init__(self, leader, label, seed, shared_counters=(), keys=40, batch=8, pause_s=0.0):
        super().__init__(daemon=True)
        self.leader = leader
        self.random = random.Random(seed)
        self.batch = batch
        self.pause_s = pause_s
        self.registers = {f"r:{label}:{i}": Register() for i in range(keys)}
        self.counters = {f"c:{label}:{i}": Counter() for i in range(keys // 4)}
        self.shared = {name: Counter() for name in shared_counters}
        self.label = label
        self.number = 0
        self.acknowledged = 0
        self.error = None
        self.halt = threading.Event()

    def stop(self):
        self.halt.set()
        self.join(60)
        assert not self.is_alive(), f"writer {self.label} hangs"
        if self.error:
            raise self.error

    def run(self):
        connection = None
        while not self.halt.is_set():
            try:
                if connection is None:
                    connection = self.leader.connect(timeout=20)
                self._round(connection)
                if self.pause_s:
                    self.halt.wait(self.pause_s)
            except (OSError, ConnectionError) as error:
                if isinstance(error, TimeoutError) and self.leader.alive():
                    self.error = AssertionError(f"{self.leader.name} did not answer for 20 s")
                    return
                if connection:
                    connection.close()
                connection = None
                time.sleep(0.01)
            except Exception as error:
                self.error = error
                return
        if connection:
            connection.close()

    def _choose(self):
        draw = self.random.random()
        self.number += 1
        if draw < 0.5:
            return "set", self.random.choice(list(self.registers)), f"{self.label}.{self.number}".encode()
        if draw < 0.6:
            return "del", self.random.choice(list(self.registers)), None
        table = self.shared if self.shared and draw < 0.8 else self.counters
        return "incr", self.random.choice(list(table)), self.random.randint(1, 9)

    def _round(self, connection):
        operations, data, seen = [], [], set()
        while len(operations) < self.batch:
            kind, key, value = self._choose()
            if key in seen:
                continue
            seen.add(key)
            operations.append((kind, key, value, self.number))
            if kind == "incr":
                self._counter(key).pending += value
                data.append(encode("INCRBY", key, value))
            else:
                self.registers[key].sent(self.number, value)
                data.append(encode("SET", key, value) if kind == "set" else encode("DEL", key))
        connection.send_raw(b"".join(data))
        for kind, key, value, number in operations:
            reply = connection.read()
            if isinstance(reply, ReplyError) and reply.text.startswith("HISTORY "):
                continue  # it lost even its own admission in a power cut; not acknowledged is not promised
            if isinstance(reply, ReplyError):
                raise AssertionError(f"{self.leader.name} answered {reply.text!r} to {kind} {key}")
            if kind == "incr":
                counter = self._counter(key)
                counter.pending -= value
                counter.acknowledged += value
            else:
                self.registers[key].acked(number)
            self.acknowledged += 1

    def _counter(self, key):
        return self.counters.get(key) or self.shared[key]


def check_writers(writers, leaders):
    """After convergence: what every leader shows is what the writers were promised. Settles them."""
    shared = {}
    for writer in writers:
        for name, counter in writer.shared.items():
            low, high = shared.get(name, (0, 0))
            shared[name] = (low + counter.acknowledged, high + counter.acknowledged + counter.pending)
    for leader in leaders:
        for writer in writers:
            keys = list(writer.registers)
            for key, value in zip(keys, leader.call("MGET", *keys)):
                allowed = writer.registers[key].allowed()
                assert value in allowed, (
                    f"{leader.name} shows {value!r} under {key}; acknowledged was "
                    f"{writer.registers[key].acknowledged!r}, allowed are {sorted(map(repr, allowed))}")
            names = list(writer.counters)
            for name, value in zip(names, leader.call("MGET", *names)):
                counter = writer.counters[name]
                value = int(value or 0)
                assert counter.acknowledged <= value <= counter.acknowledged + counter.pending, (
                    f"{leader.name} shows {value} under {name}; acknowledged {counter.acknowledged}, "
                    f"in doubt {counter.pending}")
        for name, (low, high) in shared.items():
            value = int(leader.get(name) or 0)
            assert low <= value <= high, f"{leader.name} shows {value} under {name}, not {low}..{high}"
    leader = leaders[0]
    for writer in writers:
        for table in (writer.registers, writer.counters):
            keys = list(table)
            for key, value in zip(keys, leader.call("MGET", *keys)):
                table[key].settle(value if table is writer.registers else int(value or 0))
    for name in shared:
        value = int(leader.get(name) or 0)
        for writer in writers:
            writer.shared[name].settle(0)
        writers[0].shared[name].settle(value)


class OpenLoop:
    """SETs at `rate` a second in pipelines of `pipeline`, by a process of its own, until `stop`."""

    def __init__(self, port, rate, pipeline=16, keys=10000, value_size=32, label=""):
        self.child = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), str(port), str(rate), str(pipeline), str(keys),
             str(value_size), label], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=die_with_parent)

    def stop(self):
        """[(when due, latency)] of every batch, in seconds of the monotonic clock."""
        output, _ = self.child.communicate(b"stop\n", timeout=60)
        assert self.child.returncode == 0, f"the load ended with {self.child.returncode}"
        self.samples = json.loads(output)
        return self.samples


def window(samples, begin, end, pipeline):
    """(operations a second, p50, p99 in ms) of the batches answered between begin and end."""
    latencies = sorted(latency for due, latency in samples if begin <= due + latency < end)
    if not latencies:
        return 0, float("inf"), float("inf")
    return (len(latencies) * pipeline / (end - begin), latencies[len(latencies) // 2] * 1000,
            latencies[int(len(latencies) * 0.99)] * 1000)


def _open_loop(port, rate, pipeline, keys, value_size, label):
    draw = random.Random(port)
    batches = [b"".join(encode("SET", f"load:{label}:{draw.randrange(keys)}",
                               f"{draw.getrandbits(4 * value_size):0{value_size}x}")
                        for _ in range(pipeline)) for _ in range(2000)]
    wanted = b"+OK\r\n" * pipeline
    done = threading.Event()

    def wait_for_stop():
        sys.stdin.readline()
        done.set()
    threading.Thread(target=wait_for_stop, daemon=True).start()
    connection = Connection(port, timeout=60)
    samples = []
    interval = pipeline / rate
    due = time.monotonic()
    while not done.is_set():
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)
        connection.send_raw(batches[len(samples) % len(batches)])
        reply = connection._exactly(len(wanted))
        if reply != wanted:
            sys.exit(f"unexpected reply {reply[:200]!r}")
        samples.append((due, time.monotonic() - due))
        due += interval
    json.dump(samples, sys.stdout)


if __name__ == "__main__":
    _open_loop(*map(int, sys.argv[1:6]), sys.argv[6])
