"""SESSION and WAIT on real leaders: what a client has seen goes with it; who holds what it wrote."""

import random
import time

from cluster import Cluster, Skip
from resp import ReplyError


def test_session_hops(long):
    """A client writes at one leader, goes to another one and reads: never older than it wrote, whatever is
    cut off, frozen or killed meanwhile."""
    seed = random.randrange(1 << 30)
    draw = random.Random(seed)
    names = ["eu", "us", "asia"]
    with Cluster(names) as cluster:
        hops = 3000 if long else 300
        waited = refused = 0
        token = None
        at = cluster.eu
        for value in range(1, hops + 1):
            if draw.random() < 0.03:
                victim = draw.choice([leader for leader in cluster.living() if leader is not at])
                victim.kill()
                cluster.restart(victim.name)
            if draw.random() < 0.1:
                a, b = draw.sample(names, 2)
                cluster.cut(a, b)
            if draw.random() < 0.1:
                cluster.heal_all()
            at.call("SET", "position", value)
            token = at.call("SESSION", "TOKEN").decode()
            to = draw.choice([leader for leader in cluster.living() if leader is not at])
            began = time.monotonic()
            reply = to.ask("SESSION", "WAIT", token, 300)
            if isinstance(reply, ReplyError):
                # Cut off from what the client has seen: it is told so, and stays where it was.
                assert reply.text.startswith("TIMEOUT not here yet: "), reply
                refused += 1
                cluster.heal_all()
                assert to.ask("SESSION", "WAIT", token, 20_000) == b"OK", f"seed {seed}"
            elif time.monotonic() - began > 0.005:
                waited += 1
            seen = int(to.call("GET", "position"))
            assert seen == value, f"seed {seed}: wrote {value} at {at.name}, read {seen} at {to.name}"
            at = to
        cluster.heal_all()
        cluster.wait_converged()
        # Each write had seen the one before: so says every leader.
        for leader in cluster.living():
            assert leader.conflict_log() == [], leader.name
        print(f"  {hops} hops, {waited} waited, {refused} were told that it is not there yet")


def test_wait_for_leaders(long):
    with Cluster(["eu", "us", "asia"]) as cluster:
        for n in range(50):
            cluster.eu.call("SET", f"k{n}", n)
            assert cluster.eu.call("WAIT", 2, 10_000) == 2, n
            for leader in (cluster.us, cluster.asia):
                assert leader.call("GET", f"k{n}") == str(n).encode(), n
        # What WAIT has counted survives the loss of the leader that said so.
        cluster.eu.call("SET", "last", "words")
        assert cluster.eu.call("WAIT", 1, 10_000) >= 1
        cluster.asia.freeze()
        cluster.eu.call("SET", "more", "words")
        began = time.monotonic()
        assert cluster.eu.call("WAIT", 2, 300) == 1
        assert 0.25 < time.monotonic() - began < 10
        cluster.asia.thaw()
        assert cluster.eu.call("WAIT", 2, 20_000) == 2
        # Along a chain, too.
        cluster.eu.call("TOPOLOGY", "SET", "links", "eu-us", "us-asia")
        for leader in (cluster.eu, cluster.us, cluster.asia):
            leader.call("INCR", "n")
            assert leader.call("WAIT", 2, 10_000) == 2, leader.name


def test_wait_everysec(long):
    """Leaders that sync once a second do it at once for a client that waits."""
    with Cluster(["eu", "us"], flags=["--durability", "everysec"]) as cluster:
        began = time.monotonic()
        for n in range(20):
            cluster.eu.call("SET", "k", n)
            assert cluster.eu.call("WAIT", 1, 10_000) == 1, n
        took = time.monotonic() - began
        assert took < 10, f"20 writes that wait took {took:.1f} s: as if each waited for the sync of the second"


def test_session_redis_py(long):
    try:
        import redis
    except ImportError as error:
        raise Skip(f"python3-redis is not installed ({error})")
    with Cluster(["eu", "us"]) as cluster:
        eu = redis.Redis(port=cluster.eu.port, decode_responses=True)
        us = redis.Redis(port=cluster.us.port, decode_responses=True)
        with eu.client() as session:  # one connection: WAIT speaks of its writes
            session.set("cart", "bicycle")
            assert session.wait(1, 10_000) == 1
            session.set("cart", "boat")
            token = session.execute_command("SESSION", "TOKEN")
        assert us.execute_command("SESSION", "WAIT", token, 10_000) == "OK"
        assert us.get("cart") == "boat"
