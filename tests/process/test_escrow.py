"""ESCROW: a stock is never oversold, cut off every leader sells its part, and in the end all of it is sold."""

import random
import threading
import time

from cluster import Cluster, until
from resp import Connection, ReplyError
from test_sync import _all, _agreed, _in_force


def _create(cluster, key, total):
    _in_force(cluster, "stock:*")

    def shared():
        reply = _agreed(cluster.eu, "ESCROW", "CREATE", key, str(total))
        assert reply == b"OK" or "exists" in str(reply), reply
        return reply == b"OK"
    until("the stock is there", shared)
    cluster.wait_converged()


def _state(leader, key):
    reply = leader.call("ESCROW", "GET", key)
    return dict(zip([name.decode() for name in reply[::2]], reply[1::2]))


def _sell(leader, key, seconds, sold, stop, seed):
    """One client that buys one unit after another; connections may break."""
    draw = random.Random(seed)
    connection = None
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s and not stop.is_set():
        try:
            if connection is None:
                connection = Connection(leader.port)
            reply = connection.ask("ESCROW", "SPEND", key)
            if not isinstance(reply, ReplyError):
                sold.append(1)
            elif str(reply).startswith("NORIGHTS"):
                stop.wait(draw.random() * 0.02)
            else:
                assert str(reply).startswith(("TRYAGAIN", "HISTORY", "LOADING")), reply
                stop.wait(0.05)
        except OSError:
            connection = None
            stop.wait(0.05)


def _sell_everywhere(cluster, key, seconds, clients=3):
    """What was sold at each leader; ends when nothing is left at any."""
    stop = threading.Event()
    sold = {leader.name: [] for leader in _all(cluster)}
    threads = [threading.Thread(target=_sell, args=(leader, key, seconds, sold[leader.name], stop, seed), daemon=True)
               for leader in _all(cluster) for seed in range(clients)]
    for thread in threads:
        thread.start()
    return sold, threads, stop


def test_escrow_partitioned(long):
    """Five leaders, each cut off from all others, sell a stock of 1000 in balanced demand; then healed, they sell the rest."""
    key = "stock:tickets"
    with Cluster(["eu", "us", "asia", "br", "au"]) as cluster:
        _create(cluster, key, 1000)
        names = [leader.name for leader in _all(cluster)]
        for i, one in enumerate(names):
            for two in names[i + 1:]:
                cluster.cut(one, two)
        sold, threads, stop = _sell_everywhere(cluster, key, 60)
        until("each has sold its part", lambda: all(
            _state(leader, key)["here"] == 0 for leader in _all(cluster)), 60)
        apart = sum(len(units) for units in sold.values())
        assert 950 <= apart <= 1000, apart
        # More comes to one of them; healed, the others get of it.
        assert cluster.asia.call("ESCROW", "GRANT", key, "500") == 500
        for i, one in enumerate(names):
            for two in names[i + 1:]:
                cluster.heal(one, two)
        until("all is sold", lambda: all(_state(leader, key)["left"] == 0 for leader in _all(cluster)), 60)
        stop.set()
        for thread in threads:
            thread.join()
        total = sum(len(units) for units in sold.values())
        assert total == 1500, total
        cluster.wait_converged()
        for leader in _all(cluster):
            state = _state(leader, key)
            assert (state["total"], state["spent"], state["left"], state["deficit"]) == (1500, 1500, 0, 0), state
        print(f"1000 units: {apart} sold by five leaders alone; 500 more, added at one: "
              f"{ {name: len(units) for name, units in sold.items()} }")


def test_escrow_killed(long):
    """Leaders are killed (-9) and cut off while all sell, durability everysec: what was acknowledged is never more than
    there is, and in the end nothing is left."""
    key = "stock:k"
    total = 20000 if long else 3000
    with Cluster(flags=["--durability", "everysec"]) as cluster:
        _create(cluster, key, total)
        sold, threads, stop = _sell_everywhere(cluster, key, 600)
        draw = random.Random(7)
        kills = 0
        lost = 0  # whose answer died with the process
        begin = time.monotonic()
        while time.monotonic() - begin < (90 if long else 15):
            leader = draw.choice(_all(cluster))
            if draw.random() < 0.5:
                leader.kill()
                kills += 1
                lost += 3
                leader.start()
            else:
                other = draw.choice([name for name in cluster.leaders if name != leader.name])
                cluster.cut(leader.name, other)
                before = sum(len(units) for units in sold.values())
                until("somebody sells, or nothing is left", lambda: sum(len(units) for units in sold.values()) > before or
                      all(_state(one, key)["left"] == 0 for one in _all(cluster)), 30)
                cluster.heal(leader.name, other)
        until(lambda: "all is sold: " + str([_state(leader, key) for leader in _all(cluster)]), lambda: all(
            _state(leader, key)["left"] == 0 for leader in _all(cluster)), 120)
        stop.set()
        for thread in threads:
            thread.join()
        acknowledged = sum(len(units) for units in sold.values())
        cluster.wait_converged()
        for leader in _all(cluster):
            state = _state(leader, key)
            assert (state["total"], state["spent"], state["deficit"]) == (total, total, 0), state
        assert acknowledged <= total, acknowledged
        print(f"{acknowledged} of {total} acknowledged, {kills} kills")


def test_escrow_copied(long):
    """A directory that was copied, or put back, sells nothing of what it had: what it sold since is not known to it."""
    import shutil
    key = "stock:c"
    with Cluster() as cluster:
        _create(cluster, key, 30)
        cluster.us.terminate()
        copy = str(cluster.us.directory) + ".copy"
        shutil.copytree(cluster.us.directory, copy)
        cluster.us.start()
        until("us sells", lambda: cluster.us.ask("ESCROW", "SPEND", key, "10") == 0)
        cluster.wait_converged()
        cluster.us.kill()
        shutil.rmtree(cluster.us.directory)
        shutil.move(copy, cluster.us.directory)
        cluster.us.start()
        cluster.wait_converged()
        state = _state(cluster.us, key)
        assert (state["here"], state["left"]) == (0, 20), state
        until("it gets rights from the others", lambda: not isinstance(cluster.us.ask("ESCROW", "SPEND", key), ReplyError))
