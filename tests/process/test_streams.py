"""Streams and their groups across leaders: consumers that wait, leaders that are cut off, and one that starts anew."""

from cluster import Cluster
from test_blocking import _Waiter


def _entries(reply):
    return [entry[0] for entry in reply[0][1]] if reply else []


def test_streams(long):
    with Cluster(["eu", "us"]) as cluster:
        eu, us = cluster.eu, cluster.us
        assert eu.call("XGROUP", "CREATE", "events", "g", "0", "MKSTREAM") == b"OK"
        cluster.wait_converged()
        # A consumer and a reader at us wait for what eu adds.
        consumer = _Waiter(us, "XREADGROUP", "GROUP", "g", "alice", "BLOCK", "0", "STREAMS", "events", ">")
        reader = _Waiter(us, "XREAD", "BLOCK", "0", "STREAMS", "events", "$")
        first = eu.call("XADD", "events", "*", "n", "1").decode()
        assert consumer.take() == [["events", [(first, {"n": "1"})]]], consumer.result
        assert reader.take() == [["events", [(first, {"n": "1"})]]], reader.result
        cluster.wait_converged()
        assert eu.call("XPENDING", "events", "g")[0] == 1
        # A consumer whose group or stream goes is told.
        for command, words in ((("XGROUP", "DESTROY", "events", "g"), "NOGROUP"), (("DEL", "events"), "UNBLOCKED"),
                               (("SET", "events", "x"), "UNBLOCKED")):
            waiter = _Waiter(us, "XREADGROUP", "GROUP", "g", "bob", "BLOCK", "0", "STREAMS", "events", ">")
            eu.call(*command)
            waiter.join(30)
            assert waiter.error is not None and words in str(waiter.error), (waiter.result, waiter.error)
            eu.call("DEL", "events")
            eu.call("XGROUP", "CREATE", "events", "g", "$", "MKSTREAM")
            cluster.wait_converged()
        # Both sides of a cut add and consume; nothing is lost, and ids are nobody else's.
        eu.call("LINK", "CUT", "us")
        ids = set()
        count = 500 if long else 150
        given = []
        for number in range(count):
            for leader in (eu, us):
                ids.add(leader.call("XADD", "events", "*", "n", str(number)))
        assert len(ids) == 2 * count
        for leader in (eu, us):
            given += _entries(leader.call("XREADGROUP", "GROUP", "g", "bob", "COUNT", "100", "STREAMS", "events", ">"))
        eu.call("LINK", "HEAL", "us")
        cluster.wait_converged()
        # A leader that starts anew knows what came late.
        us.terminate()
        cluster.restart("us")
        cluster.wait_converged()
        while True:
            more = _entries(us.call("XREADGROUP", "GROUP", "g", "bob", "COUNT", "64", "STREAMS", "events", ">"))
            given += more
            if not more:
                break
        assert set(given) == ids and len(given) == len(ids), (len(given), len(set(given)), len(ids))
        cluster.wait_converged()
        assert eu.call("XREADGROUP", "GROUP", "g", "bob", "COUNT", "64", "STREAMS", "events", ">") is None
        assert eu.call("XPENDING", "events", "g")[0] == 2 * count
        assert eu.call("XACK", "events", "g", *sorted(ids)) == 2 * count
        assert eu.call("XTRIM", "events", "MAXLEN", "10") == 2 * count - 10
        cluster.wait_converged()
        assert us.call("XLEN", "events") == 10 and us.call("XPENDING", "events", "g")[0] == 0
