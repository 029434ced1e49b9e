"""Transactions with a client library: all or nothing at every leader, while leaders are killed; WATCH."""

import threading

from cluster import Cluster, Skip, until


def _redis():
    try:
        import redis
    except ImportError:
        raise Skip("python3-redis is not installed") from None
    return redis


def _client(leader):
    return _redis().Redis(port=leader.port, decode_responses=True, socket_timeout=30)


def test_transactions(long):
    with Cluster(["eu", "us"]) as cluster:
        eu, us = _client(cluster.eu), _client(cluster.us)
        with eu.pipeline(transaction=True) as pipe:
            pipe.set("a", 1).incrby("n", 5).rpush("l", "x", "y").hset("h", "f", "v").expire("a", 100)
            assert pipe.execute() == [True, 5, 2, 1, True]
        cluster.wait_converged()
        with us.pipeline(transaction=True) as pipe:
            pipe.get("a").get("n").lrange("l", 0, -1).hgetall("h")
            assert pipe.execute() == ["1", "5", ["x", "y"], {"f": "v"}]

        # Increments by reading and writing, guarded by WATCH: among clients of one leader none is lost.
        def count(rounds):
            client = _client(cluster.eu)
            for _ in range(rounds):
                client.transaction(lambda pipe: (lambda v: (pipe.multi(), pipe.set("checked", v + 1)))
                                   (int(pipe.get("checked") or 0)), "checked")

        threads = [threading.Thread(target=count, args=(50,), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert eu.get("checked") == "200", eu.get("checked")

        # What another leader has written since the WATCH, and what has expired, counts.
        with eu.pipeline() as pipe:
            pipe.watch("checked")
            us.set("checked", "theirs")
            until("eu has it", lambda: eu.get("checked") == "theirs")
            pipe.multi()
            pipe.set("checked", "mine")
            try:
                pipe.execute()
                raise AssertionError("EXEC ran although a watched key had changed")
            except _redis().WatchError:
                pass
        eu.set("short", 1, px=50)
        with eu.pipeline() as pipe:
            pipe.watch("short")
            until("it has expired", lambda: eu.get("short") is None)
            pipe.multi()
            pipe.set("short", 2)
            try:
                pipe.execute()
                raise AssertionError("EXEC ran although a watched key had expired")
            except _redis().WatchError:
                pass

        # Too large for one change: a clear error, and nothing is done.
        large = b"x" * (30 << 20)
        with eu.pipeline(transaction=True) as pipe:
            pipe.set("a", "changed").set("l1", large).set("l2", large).set("l3", large)
            try:
                pipe.execute()
                raise AssertionError("EXEC ran although it was too large")
            except _redis().ResponseError as error:
                assert str(error).startswith("LIMIT the transaction would write more"), error
        assert eu.get("a") == "1" and eu.exists("l1", "l2", "l3") == 0
        cluster.wait_converged()


class _Transfers(threading.Thread):
    """Moves amounts from one counter to another at one leader, and reads both, until told to stop."""

    def __init__(self, leader, number):
        super().__init__(daemon=True)
        self.leader, self.number = leader, number
        self.stopping = False
        self.acknowledged = self.unknown = self.reads = 0
        self.wrong = None

    def run(self):
        redis = _redis()
        amount = 1
        while not self.stopping:
            try:
                client = _client(self.leader)
                while not self.stopping:
                    self.unknown += amount
                    with client.pipeline(transaction=True) as pipe:
                        pipe.decrby("from", amount).set(f"last:{self.number}", amount).incrby("to", amount)
                        pipe.execute()
                    self.unknown -= amount
                    self.acknowledged += amount
                    with client.pipeline(transaction=True) as pipe:
                        pipe.mget("from", "to")
                        values = [int(v or 0) for v in pipe.execute()[0]]
                    self.reads += 1
                    if sum(values) != 0:
                        self.wrong = f"{self.leader.name} shows half a transaction: {values}"
                        return
                    amount = amount % 1000 + 1
            except (redis.ConnectionError, redis.TimeoutError):
                until("the leader is back", lambda: self.stopping or self.leader.alive())
            except redis.ResponseError as error:
                if not str(error).startswith(("HISTORY ", "EXECABORT Transaction discarded because of: HISTORY",
                                              "EXECABORT Transaction discarded because of previous")):
                    self.wrong = f"{self.leader.name}: {error}"
                    return


def test_transactions_kill(long):
    _redis()
    with Cluster() as cluster:
        transfers = [_Transfers(leader, i) for i, leader in enumerate((cluster.eu, cluster.us, cluster.asia))]
        for thread in transfers:
            thread.start()
        for round_ in range(30 if long else 6):
            name = ("asia", "us", "eu")[round_ % 3]
            before = [t.acknowledged for t in transfers]
            until("all write", lambda: all(t.wrong or t.acknowledged > b for t, b in zip(transfers, before)))
            getattr(cluster, name).kill()
            others = [t for t in transfers if t.leader.name != name]
            before = [t.reads for t in others]
            until("the others go on", lambda: all(t.wrong or t.reads > b for t, b in zip(others, before)))
            cluster.restart(name)
        for thread in transfers:
            thread.stopping = True
        for thread in transfers:
            thread.join(60)
            assert thread.wrong is None, thread.wrong
        cluster.wait_converged()
        for leader in (cluster.eu, cluster.us, cluster.asia):
            with _client(leader).pipeline(transaction=True) as pipe:
                pipe.mget("from", "to")
                values = [int(v) for v in pipe.execute()[0]]
            sure = sum(t.acknowledged for t in transfers)
            assert sum(values) == 0, values
            assert sure <= values[1] <= sure + sum(t.unknown for t in transfers), (sure, values)
        print(f"{sum(t.reads for t in transfers)} reads saw whole transactions only")
