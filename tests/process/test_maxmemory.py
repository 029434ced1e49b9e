"""`maxmemory`: three leaders that hold more and more than they may. Each stays within its limit, all have the same in
the end; what is used stays, what leaders agree on is never evicted; without eviction writes are refused at one leader
while those of others arrive there."""

from cluster import Cluster, until
from resp import ReplyError, pairs

LIMIT = 8 << 20
VALUE = b"v" * 1000
# What is on its way between leaders, tables that grow by the segment, and one slice of each.
MARGIN = LIMIT // 8
NAMES = ["eu", "us", "asia"]
OOM = "OOM command not allowed when used memory > 'maxmemory'."


def used(leader):
    return int(leader.info("memory")["used_memory"])


def evicted(leader):
    return int(leader.info("stats")["evicted_keys"])


def refused(leader, *command):
    try:
        leader.call(*command)
    except ReplyError as error:
        return str(error)
    return None


def test_three_leaders_stay_within_their_memory(long):
    with Cluster(NAMES, ["--maxmemory", str(LIMIT), "--maxmemory-policy", "allkeys-lru"]) as cluster:
        leaders = [cluster.eu, cluster.us, cluster.asia]
        for leader in leaders:
            assert leader.info("memory")["maxmemory"] == str(LIMIT), leader.info("memory")
            assert leader.info("memory")["maxmemory_human"] == "8.00M"
            assert leader.info("memory")["maxmemory_policy"] == "allkeys-lru"
        cluster.eu.call("POLICY", "SET", "sync:*", "sync")
        until("the policy is everywhere",
              lambda: all(leader.call("POLICY", "GET", "sync:1") for leader in leaders) and
              refused(cluster.eu, "SET", "sync:0", VALUE) is None)
        for number in range(50):
            assert cluster.eu.call("SET", f"sync:{number}", VALUE) == b"OK"
        hot = [f"hot:{number}" for number in range(200)]
        for key in hot:
            cluster.eu.call("SET", key, VALUE)
        cluster.wait_converged()
        # Three times what may be there, by all leaders; what is hot is read at all of them.
        writes = 3 * LIMIT // len(VALUE)
        most = 0
        connections = [leader.connect() for leader in leaders]
        for start in range(0, writes, 50):
            for connection in connections:
                connection.ask("MGET", *hot)
            at = connections[(start // 50) % 3]
            said = at.pipeline([("SET", f"cold:{number}", VALUE) for number in range(start, start + 50)])
            assert said == [b"OK"] * 50, said
            if start % 1000 == 0:
                most = max(most, *(used(leader) for leader in leaders))
        for connection in connections:
            connection.close()
        assert most <= LIMIT + MARGIN, f"{most} bytes, {LIMIT} are allowed"
        until(lambda: f"within the limit: {[used(leader) for leader in leaders]}",
              lambda: all(used(leader) <= LIMIT for leader in leaders))
        cluster.wait_converged()
        shares = [evicted(leader) for leader in leaders]
        assert all(shares), shares
        # Half of what may be there is there: they did not each remove what was too much for all.
        assert used(cluster.eu) > LIMIT // 2, used(cluster.eu)
        for leader in leaders:
            there = sum(value is not None for value in leader.call("MGET", *hot))
            assert there >= len(hot) * 9 // 10, f"{there} of {len(hot)} hot keys at {leader.name}"
            assert leader.call("EXISTS", *(f"sync:{number}" for number in range(50))) == 50


def test_writes_are_refused_where_nothing_is_evicted(long):
    with Cluster(NAMES) as cluster:
        eu, us = cluster.eu, cluster.us
        eu.call("SET", "k", "v")
        assert pairs(eu.call("CONFIG", "GET", "maxmemory*"))["maxmemory-policy"] == b"noeviction"
        eu.call("CONFIG", "SET", "maxmemory", str(used(eu) + 100_000))
        written = 0
        while (said := refused(eu, "SET", f"fill:{written}", VALUE)) is None:
            written += 1
            assert written < 200, used(eu)
        assert said == OOM, said
        assert eu.get("k") == b"v"
        assert eu.info("replication")["writes_refused"] == "oom"
        # The other leader's go on, and come here.
        us.pipeline([("SET", f"of-us:{number}", VALUE) for number in range(300)])
        cluster.wait_converged()
        assert eu.call("EXISTS", *(f"of-us:{number}" for number in range(300))) == 300
        assert refused(eu, "SET", "k", "w") == OOM
        assert evicted(eu) == 0
        assert "more than maxmemory" in eu.process.log_tail(1000)
        # Keys go, and it writes again; so it does with more memory, at once.
        assert eu.call("DEL", *(f"of-us:{number}" for number in range(300))) == 300
        assert eu.call("DEL", *(f"fill:{number}" for number in range(written))) == written
        until("room again", lambda: refused(eu, "SET", "k", "w") is None)
        eu.call("CONFIG", "SET", "maxmemory", "1")
        assert refused(eu, "SET", "k", "x") == OOM
        eu.call("CONFIG", "SET", "maxmemory", "0")
        assert refused(eu, "SET", "k", "x") is None


def test_what_is_known_of_uses_begins_with_the_start(long):
    flags = ["--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"]
    with Cluster(["eu"], flags) as cluster:
        eu = cluster.eu
        eu.call("SET", "old", "v")
        assert eu.call("OBJECT", "IDLETIME", "old") < 60
        eu.terminate()
        eu.start()
        # Not since 1970.
        assert eu.call("OBJECT", "IDLETIME", "old") < 600
        # What is moved in is as idle, and as often used, as it was.
        dump = eu.call("DUMP", "old")
        eu.call("RESTORE", "moved", "0", dump, "IDLETIME", "1000")
        assert 1000 <= eu.call("OBJECT", "IDLETIME", "moved") < 1060
        eu.terminate()
        eu.flags[eu.flags.index("allkeys-lru")] = "allkeys-lfu"
        eu.start()
        assert eu.call("OBJECT", "FREQ", "old") in (4, 5)
        eu.call("SET", "new", "v")
        assert eu.call("OBJECT", "FREQ", "new") == 5
        eu.call("RESTORE", "moved", "0", dump, "REPLACE", "FREQ", "100")
        assert eu.call("OBJECT", "FREQ", "moved") in (99, 100)


def test_what_a_start_finds_beyond_the_limit_goes(long):
    with Cluster(["eu"]) as cluster:
        eu = cluster.eu
        eu.pipeline([("SET", f"k:{number}", VALUE) for number in range(4000)])
        before = used(eu)
        eu.terminate()
        eu.flags += ["--maxmemory", str(before // 2), "--maxmemory-policy", "allkeys-random"]
        eu.start()
        until(lambda: f"{used(eu)} of {before // 2}", lambda: used(eu) <= before // 2)
        assert eu.call("DBSIZE") > 1000
        assert eu.call("SET", "new", VALUE) == b"OK"
