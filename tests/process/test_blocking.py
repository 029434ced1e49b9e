"""Clients that wait for elements (BLPOP), at one leader and across leaders, with a client library."""

import sys
import threading
import time

from cluster import Cluster, Skip, until


def _redis():
    try:
        import redis
    except ImportError:
        raise Skip("python3-redis is not installed for " + sys.executable) from None
    return redis


class _Waiter(threading.Thread):
    """One client in one blocking command; `result` and `seconds` once it has its reply."""

    def __init__(self, leader, *command):
        super().__init__(daemon=True)
        self.client = _redis().Redis(port=leader.port, decode_responses=True, socket_timeout=60)
        self.id = self.client.client_id()  # of the connection that the thread goes on with
        self.command = command
        self.result = self.error = self.seconds = None
        blocked = int(leader.info("clients")["blocked_clients"])
        self.start()
        until(lambda: f"{command} waits", lambda: self.result is not None or self.error is not None
              or int(leader.info("clients")["blocked_clients"]) > blocked)

    def run(self):
        begin = time.monotonic()
        try:
            self.result = self.client.execute_command(*self.command)
        except Exception as error:
            self.error = error
        self.seconds = time.monotonic() - begin

    def take(self):
        self.join(30)
        assert not self.is_alive(), f"{self.command} still waits"
        if self.error:
            raise self.error
        return self.result


def test_blocking(long):
    with Cluster(["eu", "us"]) as cluster:
        eu, us = cluster.eu, cluster.us
        # Who waited longest gets the first; what a waiter takes is gone everywhere.
        waiters = [_Waiter(us, "BLPOP", "other", "q", 0) for _ in range(3)]
        assert us.call("CLIENT", "LIST").count(b"flags=b ") == 3
        eu.call("RPUSH", "q", "1", "2")
        assert list(waiters[0].take()) == ["q", "1"], waiters[0].result
        assert list(waiters[1].take()) == ["q", "2"], waiters[1].result
        assert waiters[2].is_alive()
        assert us.call("LPUSH", "other", "3") == 1
        assert list(waiters[2].take()) == ["other", "3"]
        cluster.wait_converged()
        assert [leader.call("EXISTS", "q", "other") for leader in (eu, us)] == [0, 0]
        # Timeouts: not before their time.
        early = _Waiter(eu, "BLMOVE", "q", "done", "LEFT", "RIGHT", 0.3)
        assert early.take() is None and 0.3 <= early.seconds < 10, early.seconds
        # Unblocked by another client, and by the end of its connection.
        unblocked = _Waiter(eu, "BZPOPMIN", "z", 0)
        assert eu.call("CLIENT", "UNBLOCK", unblocked.id, "ERROR") == 1
        try:
            unblocked.take()
            raise AssertionError("no error")
        except _redis().ResponseError as error:
            assert str(error).startswith("UNBLOCKED"), error
        gone = _Waiter(eu, "BLPOP", "q", 0)
        assert eu.call("CLIENT", "KILL", "ID", gone.id) == 1
        until("the killed client waits no more", lambda: int(eu.info("clients")["blocked_clients"]) == 0)
        assert us.call("RPUSH", "q", "left") == 1
        cluster.wait_converged()
        assert eu.call("LRANGE", "q", 0, -1) == [b"left"]
        # Killed, and in the same batch the element comes: nothing is taken out for who cannot get it.
        gone = _Waiter(eu, "BLPOP", "pair", 0)
        with eu.connect() as both:
            assert both.pipeline([("CLIENT", "KILL", "ID", gone.id), ("RPUSH", "pair", "job")]) == [1, 1]
        assert eu.call("LRANGE", "pair", 0, -1) == [b"job"]
        # A queue between leaders: all that is pushed at one comes out at the other, in order, once.
        count = 2000 if long else 300
        taken = []

        def consume():
            client = _redis().Redis(port=us.port, decode_responses=True, socket_timeout=60)
            while len(taken) < count:
                taken.append(client.blpop("work", 30)[1])

        consumer = threading.Thread(target=consume, daemon=True)
        consumer.start()
        for i in range(count):
            eu.call("RPUSH", "work", str(i))
        consumer.join(120)
        assert taken == [str(i) for i in range(count)], taken[:20]
        cluster.wait_converged()
        assert eu.call("EXISTS", "work") == 0
