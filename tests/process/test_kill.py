"""kill -9 and power cuts of leaders under load; nothing acknowledged may be missing afterwards."""

import random
import resource
import time

from cluster import Cluster, until
from load import Writer, check_writers
from resp import encode


def _loop(kills, seed, flags, kills_a_check):
    """Kills random leaders `kills` times while six writers write, restarts them, and checks all that was
    acknowledged after every `kills_a_check` kills."""
    draw = random.Random(seed)
    # Checkpoints and changes of segment are among what is interrupted; at eu they are as rare as they are.
    often = ["--checkpoint-bytes", "1mb", "--log-segment", "256kb"]
    with Cluster(flags=flags, flags_of={"us": often, "asia": often + ["--log-quota", "16mb"]}) as cluster:
        writers = [Writer(leader, f"{leader.name}.{i}", seed * 100 + i, ("shared:1", "shared:2"))
                   for leader in cluster.living() for i in range(2)]
        acknowledged = done = 0
        while done < kills:
            fresh = []
            for writer in writers:
                again = Writer(writer.leader, writer.label, draw.random(), writer.shared)
                again.registers, again.counters = writer.registers, writer.counters
                again.shared, again.number = writer.shared, writer.number
                fresh.append(again)
            writers = fresh
            for writer in writers:
                writer.start()
            for _ in range(min(kills_a_check, kills - done)):
                time.sleep(draw.uniform(0.2, 0.8))
                names = draw.sample(list(cluster.leaders), draw.choice([1, 1, 1, 1, 2, 3]))
                for name in names:
                    cluster.leaders[name].kill()
                done += 1
                time.sleep(draw.choice([0, 0.05, 0.3]))
                if draw.random() < 0.2:  # killed again while it recovers
                    cluster.restart(names[0], ready=False)
                    time.sleep(draw.uniform(0, 0.1))
                    cluster.leaders[names[0]].kill()
                for name in names:
                    cluster.restart(name)
            time.sleep(0.2)
            for writer in writers:
                writer.stop()
                acknowledged += writer.acknowledged
            cluster.wait_converged(60)
            check_writers(writers, cluster.living())
        for name in ("us", "asia"):
            persistence = cluster.leaders[name].info("persistence")
            # A megabyte of log before the first checkpoint takes some seconds of writing.
            assert kills < 20 or int(persistence["checkpoint_position"]) > 0, f"{name} made no checkpoint"
        assert acknowledged > 100 * kills, f"hardly any load: {acknowledged} acknowledged"
        print(f"note: {kills} kills, {acknowledged} acknowledged writes, seed {seed}")


def test_kill_loop(long):
    _loop(200 if long else 6, 1, ["--durability", "always"], 5 if long else 2)


def test_kill_loop_everysec(long):
    """What was handed to the operating system survives the process, also without fsync."""
    _loop(50 if long else 3, 2, ["--durability", "everysec"], 3)


def test_power_cut(long):
    """--io power-cut: what was not synced never reaches the file, so kill -9 is a power cut."""
    _loop(50 if long else 3, 3, ["--durability", "always", "--io", "power-cut"], 2 if long else 1)


def test_failing_disk(long):
    """The log cannot be written any more (here: a file size limit). The leader stops and says why; what it
    acknowledged, also with `everysec`, is there afterwards."""
    for durability in ["everysec", "always"]:
        with Cluster(["eu"], flags=["--durability", durability]) as cluster:
            leader = cluster.eu
            leader.call("SET", "warm", "up")
            resource.prlimit(leader.process.pid, resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
            acknowledged = []
            with leader.connect() as client:
                try:
                    for first in range(0, 100, 5):
                        client.send_raw(b"".join(encode("SET", f"k{i}", "x" * 100_000) for i in range(first, first + 5)))
                        for i in range(first, first + 5):
                            assert client.read() == b"OK"
                            acknowledged.append(i)
                except OSError:
                    pass
            assert 5 < len(acknowledged) < 60, f"{len(acknowledged)} of 100 keys were acknowledged"
            until("the leader stops", lambda: not leader.alive())
            log = leader.process.log_tail()
            assert "stopped: cannot write" in log and "mend the disk and start again" in log, log
            cluster.restart("eu")
            for i in acknowledged:
                assert leader.call("STRLEN", f"k{i}") == 100_000, f"k{i} was acknowledged with {durability}"
