"""Expiry races: EXPIRE, PERSIST, SET with and without TTL against expiry, by leaders whose clocks differ."""

import random
import time

from cluster import Cluster, until

SKEW = {"eu": (), "us": ("--clock-offset-ms", "1500"), "asia": ("--clock-offset-ms", "-1500")}
LONG_MS = 10_000_000


def _states(cluster, keys):
    return [leader.pipeline([("PTTL", key) for key in keys]) for leader in cluster.living()]


def test_expiry_races(long):
    with Cluster(flags_of=SKEW) as cluster:
        leaders = cluster.living()
        draw = random.Random(11)
        for round_ in range(10 if long else 2):
            keys = [f"race:{round_}:{i}" for i in range(200)]
            cluster.eu.pipeline([("SET", key, "v", "PX", 700) for key in keys])
            if round_ % 2:
                cluster.isolate("us", "asia")
            end = time.monotonic() + 1.2
            while time.monotonic() < end:
                leader = draw.choice(leaders)
                batch = []
                for _ in range(20):
                    key = draw.choice(keys)
                    batch.append(draw.choice([
                        ("PEXPIRE", key, draw.choice([1, 50, 300, LONG_MS])), ("PERSIST", key),
                        ("SET", key, leader.name), ("SET", key, leader.name, "PX", draw.randint(1, 400)),
                        ("SET", key, leader.name, "KEEPTTL"), ("GETEX", key, "PX", 200), ("DEL", key),
                        ("APPEND", key, "x")]))
                leader.pipeline(batch)
            cluster.heal_all()
            until("all vectors are equal",
                  lambda: len({leader.vv() for leader in leaders}) == 1)

            def agreed():
                # Short ones are past by every clock; what lives on lives everywhere, for the same reason.
                kinds = [[("gone" if t == -2 else "never" if t == -1 else "long" if t > 100_000 else "short")
                          for t in ttls] for ttls in _states(cluster, keys)]
                return kinds[0] if kinds[0] == kinds[1] == kinds[2] and "short" not in kinds[0] else None
            agreed_kinds = until(lambda: f"leaders agree which keys live: {_states(cluster, keys)}", agreed)
            assert {"gone", "never"} <= set(agreed_kinds), "the draw made no race"
        cluster.wait_converged(60)


def test_expired_is_removed(long):
    """What has expired leaves memory and disk at every leader, and nothing comes back."""
    with Cluster(flags_of=SKEW) as cluster:
        for leader in cluster.living():
            leader.pipeline([("SET", f"{leader.name}:{i}", "v", "PX", 100 + i) for i in range(300)])
        until(lambda: f"all are gone: {[leader.call('DBSIZE') for leader in cluster.living()]}",
              lambda: all(leader.call("DBSIZE") == 0 for leader in cluster.living()), 30)
        assert all(leader.call("KEYS", "*") == [] for leader in cluster.living())
        cluster.wait_converged(30)
        for leader in cluster.living():
            assert leader.call("CONFLICT", "COUNT") == 0
