"""A leader is away under load: the others do not feel it, and it catches up by what it lacks."""

import os
import time

from cluster import Cluster, Leader, until
from load import OpenLoop, window
from slow_line import SlowLine

PIPELINE = 16
RATE = 10_000  # at each of two leaders
BYTES_RATIO_MAX = 1.2
THROUGHPUT_MIN = 0.95
P99_RATIO_MAX = 1.5
P99_FLOOR_MS = 2.0  # below this the measuring process itself is the noise


def _away(long, how):
    away_s, calm_s = (60, 20) if long else (5, 3)
    with Cluster(flags=["--durability", "everysec"]) as cluster:
        eu, us, asia = cluster.eu, cluster.us, cluster.asia
        loads = [OpenLoop(leader.port, RATE, PIPELINE, label=leader.name) for leader in (eu, us)]
        time.sleep(2)
        before = time.monotonic()
        time.sleep(calm_s)
        sent = (eu.links()["us"]["bytes_in"], us.links()["eu"]["bytes_in"])
        got = asia.bytes_in() if how == "stop" else 0
        begin = time.monotonic()
        if how == "stop":
            asia.freeze()
        else:
            asia.kill()
        time.sleep(away_s)
        end = time.monotonic()
        if how == "stop":
            asia.thaw()
        else:
            cluster.restart("asia")
        time.sleep(1)
        samples = [load.stop() for load in loads]
        back = time.monotonic()
        cluster.wait_converged(60)
        catch_up_s = time.monotonic() - back
        missing = (eu.links()["us"]["bytes_in"] - sent[0]) + (us.links()["eu"]["bytes_in"] - sent[1])
        received = asia.bytes_in() - got
        ratio = received / missing
        calm = [window(s, before, begin, PIPELINE) for s in samples]
        away = [window(s, begin, end, PIPELINE) for s in samples]
        print(f"note: calm {sum(c[0] for c in calm):.0f}/s p99 {max(c[2] for c in calm):.2f} ms, away "
              f"{sum(a[0] for a in away):.0f}/s p99 {max(a[2] for a in away):.2f} ms, received "
              f"{received / 1e6:.1f} MB for {missing / 1e6:.1f} missing ({ratio:.2f}), "
              f"level {catch_up_s:.1f} s after the load")
        assert missing > RATE * away_s, f"implausible: {missing} bytes for {away_s} s of load"
        allowed = BYTES_RATIO_MAX * missing
        assert received <= allowed, f"asia received {received} bytes for {missing} that it lacked"
        assert int(asia.info()["state_transfers"]) == 0, "asia came back through a state transfer"
        if long:
            assert sum(a[0] for a in away) >= THROUGHPUT_MIN * sum(c[0] for c in calm), "throughput fell"
            for c, a in zip(calm, away):
                assert a[2] <= max(P99_RATIO_MAX * c[2], P99_FLOOR_MS), f"p99 {c[2]:.2f} -> {a[2]:.2f} ms"


def test_away_stopped(long):
    _away(long, "stop")


def test_away_killed(long):
    _away(long, "kill")


def test_slow_line(long):
    """A change that takes longer over the line than a silent link is given: it arrives, once, and what is
    behind it, too."""
    rate, size = 2_000_000, (40 if long else 10) << 20
    with Cluster([]) as cluster:
        lines = []
        try:
            for name in ("eu", "us"):
                leader = Leader(name, os.path.join(cluster.directory, name))
                lines.append(SlowLine(leader.peer_port, rate))
                leader.flags += ["--durability", "everysec", "--advertise", lines[-1].address]
                cluster.leaders[name] = leader
                leader.start(join=[line.address for line in lines[:-1]])
            cluster.wait_linked()
            before = cluster.us.bytes_in()
            cluster.eu.call("SET", "big", "x" * size)
            cluster.eu.call("SET", "behind", "it")
            cluster.us.call("SET", "other way", "still open")
            until("the small value comes the other way", lambda: cluster.eu.get("other way") == b"still open")
            until("the large value is there", lambda: cluster.us.call("STRLEN", "big") == size,
                  deadline_s=30 + 2 * size / rate, poll_s=0.2)
            until("what is behind it is there", lambda: cluster.us.get("behind") == b"it")
            received = cluster.us.bytes_in() - before
            assert received < 1.1 * size, f"{received} bytes for {size}"
        finally:
            for line in lines:
                line.close()
