"""What applications and operators ask of one server: client-side caching, the slow log, spikes, MONITOR, pauses; beside a
real Redis, byte by byte."""

import re
import socket
import time

from cluster import Cluster, Skip, until
from redis_server import start_redis_server
from resp import Connection, encode


class _Raw:
    """A connection whose bytes count, pushes among them."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.taken = b""

    def send(self, words):
        self.socket.sendall(encode(*words))

    def take(self, wait_s):
        """What has come, until nothing has for `wait_s`."""
        self.socket.settimeout(wait_s)
        try:
            while True:
                data = self.socket.recv(1 << 16)
                if not data:
                    break
                self.taken += data
        except (socket.timeout, BlockingIOError):
            pass
        taken, self.taken = self.taken, b""
        return taken

    def take_at_least(self, size, deadline_s=10):
        end = time.monotonic() + deadline_s
        self.socket.settimeout(deadline_s)
        while len(self.taken) < size and time.monotonic() < end:
            try:
                self.taken += self.socket.recv(1 << 16)
            except socket.timeout:
                break
        return self.take(0.03)


# Who says what. $a is the id of connection a; + also ends the story of a connection: it is closed.
TRACKING = """
a HELLO 3
a CLIENT TRACKING on
a GET k
b SET k 1
a GET k
a SET k 2
a MULTI
a GET k
a SET k 3
a GET k
a EXEC
b DEL k
a MGET k l m
b MSET l 1 m 2 n 3
b RENAME l k
a GET k
a EVAL "redis.call('set',KEYS[1],'1');return 1" 1 k
a EVAL_RO "return redis.call('get',KEYS[1])" 1 v
b SET v 1
a EXISTS zz
b LPUSH zz 1
a LRANGE zz 0 -1
b RPOP zz
a GET k
b EXPIRE k 100
a TTL k
b PERSIST k
a GET k
b FLUSHDB
a FLUSHALL
a CLIENT TRACKING on NOLOOP
a GET k
a SET k 2
b SET k 3
a GET k
b SET k 4
a CLIENT TRACKING off
a CLIENT TRACKING on OPTIN
a GET k
b SET k 1
a CLIENT CACHING YES
a GET k
b SET k 2
a GET k
b SET k 2
a CLIENT CACHING YES
a MULTI
a GET k
a GET j
a EXEC
b SET k 1
b SET j 1
a CLIENT TRACKING off
a CLIENT TRACKING on OPTOUT
a CLIENT CACHING NO
a GET k
b SET k 3
a GET k
b SET k 4
a CLIENT TRACKING off
a CLIENT TRACKING on BCAST PREFIX p
a SET p1 x
b MSET p2 1 p3 2 q 3
a MSET p2 1 p3 2 q 3
b FLUSHALL
a CLIENT TRACKING off
a CLIENT TRACKING on BCAST NOLOOP
a SET p1 x
b SET z 1
a CLIENT REPLY OFF
a SET p1 x
b SET zz 1
a CLIENT REPLY ON
a CLIENT TRACKING off
c SUBSCRIBE __redis__:invalidate
b CLIENT TRACKING ON REDIRECT $c
b CLIENT GETREDIR
b GET k
b SET k 1
b GET k
a SET k 2
a FLUSHALL
b GET k
c UNSUBSCRIBE
a SET k 3
c PSUBSCRIBE other
b GET k
a SET k 4
b HELLO 3
b GET k
a SET k 5
c HELLO 3
c RESET
c HELLO 3
b GET k
a SET k 6
b CLIENT TRACKING ON
b GET k
a SET k 7
b CLIENT TRACKING ON REDIRECT $d
b GET k
d QUIT
a SET k 8
b GET k
a SET k 9
b CLIENT TRACKING ON
b GET k
b RESET
a SET k 10
b HELLO 3
b CLIENT TRACKING ON
b GET e
b SET e 1 PX 300
b GET e
wait 1
b GET e
"""


def _split(line):
    return [w[1:-1] if w[0] == '"' else w for w in re.findall(r'"[^"]*"|\S+', line)]


def _tell(port, story, like=None, normal=lambda text: text):
    """[(line, {connection: bytes})]; `like`: what came elsewhere, for how long to wait."""
    connections = {name: _Raw(port) for name in "abcd"}
    ids = {}
    for name, connection in connections.items():
        connection.send(["CLIENT", "ID"])
        ids[name] = connection.take_at_least(4).strip(b":\r\n").decode()
    told = []
    for line in story.strip().splitlines():
        name, *words = _split(line)
        if name == "wait":
            time.sleep(float(words[0]))
        else:
            connections[name].send([ids[w[1:]] if w[:1] == "$" else w for w in words])
        came = {}
        for other, connection in connections.items():
            raw = connection.take(0.04) if like is None else connection.take_at_least(like[len(told)][2].get(other, 0))
            text = raw.decode("utf-8", "replace")
            for n, i in ids.items() if re.search(r"\$[a-d]\b", story) else ():
                text = re.sub(r":%s\r\n" % i, f":${n}\r\n", text)
            came[other] = (normal(text), len(raw))
        told.append((line, {n: t for n, (t, _) in came.items()}, {n: s for n, (_, s) in came.items()}))
    for connection in connections.values():
        connection.socket.close()
    return told


def _compare(story, normal=lambda text: text):
    with Cluster(["eu"]) as cluster:
        theirs = _tell(start_redis_server(cluster), story, normal=normal)
        ours = _tell(cluster.eu.port, story, like=theirs, normal=normal)
        for (line, expected, _), (_, found, _) in zip(theirs, ours):
            for name in expected:
                a = re.sub(r"\$\d+\r\nversion.*", "", expected[name], flags=re.S)
                b = re.sub(r"\$\d+\r\nversion.*", "", found[name], flags=re.S)
                assert a == b, f"{line}: connection {name} gets {b!r}, of Redis {a!r}"


def test_tracking_beside_redis(long):
    _compare(TRACKING)


def test_tracking_of_other_leaders(long):
    with Cluster() as cluster:
        cluster.wait_linked()
        cached, told = {}, []
        watching = _Raw(cluster.us.port)
        watching.send(["HELLO", "3"])
        until("RESP3", lambda: watching.take(0.05))

        def ask(*words):
            watching.send(words)
            return until("a reply", lambda: watching.take(0.05))
        assert b"+OK" in ask("CLIENT", "TRACKING", "ON")
        eu, asia = cluster.eu, cluster.asia
        for n, (leader, command) in enumerate([(eu, ("SET", "k", "1")), (asia, ("APPEND", "k", "2")), (eu, ("DEL", "k")),
                                               (asia, ("HSET", "k", "f", "v")), (eu, ("HDEL", "k", "f"))]):
            ask("TYPE", "k")
            leader.call(*command)
            until(f"{command} is told", lambda: b"invalidate\r\n*1\r\n$1\r\nk\r\n" in watching.take(0.05))
        # What expires is told, though nobody can remove it while a leader is away.
        eu.call("SET", "short", "v", "PX", "1500")
        until("it has come", lambda: cluster.us.call("GET", "short") == b"v")
        eu.freeze()
        assert b"$1\r\nv\r\n" in ask("GET", "short")
        until("its end is told", lambda: b"$5\r\nshort\r\n" in watching.take(0.05))
        assert cluster.us.call("GET", "short") is None
        eu.thaw()
        ask("GET", "k")
        asia.call("FLUSHALL")
        until("the flush is told", lambda: b"invalidate\r\n_\r\n" in watching.take(0.05))
        info = cluster.us.info()
        assert cluster.us.info("clients")["tracking_clients"] == "1"
        assert cluster.us.info("stats")["tracking_total_keys"] == "0"


def test_tracking_redis_py(long):
    try:
        import redis
    except ImportError:
        raise Skip("python3-redis is not installed") from None
    with Cluster(["eu", "us"]) as cluster:
        # A cache as one writes it for RESP2: one connection listens, another one reads.
        eu = redis.Redis(port=cluster.eu.port, decode_responses=True)
        us = redis.Redis(port=cluster.us.port, decode_responses=True, single_connection_client=True)
        listener = redis.Redis(port=cluster.us.port, decode_responses=True).pubsub()
        listener.connection = None
        listener.execute_command("CLIENT", "ID")
        listens = listener.connection.read_response()
        listener.subscribe("__redis__:invalidate")
        cache = {}

        def follow():
            while message := listener.get_message(timeout=0.01):
                if message["type"] == "message":
                    for key in message["data"] or list(cache):
                        cache.pop(key, None)
        us.client_tracking_on(clientid=listens)
        assert us.client_getredir() == listens
        assert "on" in us.client_trackinginfo()[1]
        for i in range(20):
            eu.set("k", i)

            def read():
                follow()
                if "k" not in cache:
                    cache["k"] = us.get("k")
                return cache["k"] == str(i)
            until("the cache follows", read)
        us.client_tracking_off()
        assert us.client_getredir() == -1


def _of_monitor(text):
    text = re.sub(r"\+\d+\.\d{6} ", "+TIME ", text)
    return re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text)


MONITOR = """
a MONITOR
b SET k v
b GET k
b AUTH foo
b AUTH user pw
b HELLO 3 AUTH u p
b CONFIG GET nosuch
b MULTI
b SET x 1
b GET x
b EXEC
b EVAL "redis.call('set',KEYS[1],'1'); return redis.call('get',KEYS[1])" 1 x
b nosuch
b GET
b SELECT 3
b SET "\x01\u00e9\\" x
b PING
b WATCH x
b UNWATCH
b DISCARD
b BLPOP nolist 0.1
wait 0.3
b SUBSCRIBE x
b UNSUBSCRIBE x
a PING
a GET x
a SET x 1
a PUBLISH x 1
a MULTI
a PING
a EXEC
a RESET
b PING
c MULTI
c MONITOR
c EXEC
c HELLO 3
c MONITOR
b SET y 1
c QUIT
b SET y 1
"""

# Parameters that are the server's own; those that it only remembers are in tests/transcript/config.txt.
CONFIG = """
a CONFIG SET appendfsync foo
a CONFIG SET AppendFsync foo
a CONFIG SET appendfsync ALWAYS
a CONFIG GET appendfsync
a CONFIG SET appendfsync No
a CONFIG GET appendfsync
a CONFIG SET latency-tracking maybe
a CONFIG SET latency-tracking NO
a CONFIG GET latency-tracking
a CONFIG SET latency-tracking YES
a CONFIG GET latency-tracking
a CONFIG SET acl-pubsub-default some
a CONFIG SET acl-pubsub-default AllChannels
a CONFIG GET acl-pubsub-default
a CONFIG SET acl-pubsub-default RESETCHANNELS
a CONFIG GET acl-pubsub-default
a CONFIG SET dir /nowhere
a CONFIG SET dbfilename x.rdb
a CONFIG SET maxmemory abc databases 17
a CONFIG SET maxmemory abc dir /nowhere
a CONFIG SET maxmemory abc unixsocket /x
a CONFIG SET SlowLog-Max-Len x
a CONFIG SET latency-tracking-info-percentiles "50 99"
a CONFIG GET latency-tracking-info-percentiles
a CONFIG GET slowlog-max-len SLOWLOG-MAX-LEN
"""

SLOWLOG = """
a SLOWLOG GET -2
a SLOWLOG GET x
a SLOWLOG LEN
a SLOWLOG GET
a CONFIG SET slowlog-log-slower-than -2
a CONFIG SET slowlog-log-slower-than x
a CONFIG SET slowlog-max-len x
a CONFIG SET latency-monitor-threshold -1
a CONFIG SET slowlog-log-slower-than 0
a CONFIG SET save "" requirepass ""
a AUTH secret
a HELLO 2 AUTH user secret
a CLIENT SETNAME me
a MULTI
a SET k 1
a PING
a EXEC
a EVAL "redis.call('set',KEYS[1],'1'); return redis.call('get',KEYS[1])" 1 x
a LPUSH k 1
a GET
a NOSUCH
a DEL 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34
a SET k 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789
a SLOWLOG LEN
a SLOWLOG GET 100
a SLOWLOG GET 0
a CONFIG SET slowlog-max-len 2
a SLOWLOG LEN
a SLOWLOG GET -1
a CONFIG SET slowlog-log-slower-than 10000
a SLOWLOG RESET
a SLOWLOG LEN
a LATENCY LATEST
a LATENCY HISTORY command
a LATENCY GRAPH command
a LATENCY RESET
a LATENCY RESET command
a LATENCY NOSUCH
a LATENCY HISTOGRAM nosuch
"""


def _of_slowlog(text):
    # The time of an entry and how long it took.
    text = re.sub(r"(\*6\r\n:\d+\r\n):\d+\r\n:\d+\r\n", r"\1:TIME\r\n:MICROS\r\n", text)
    return re.sub(r"\$\d+\r\n127\.0\.0\.1:\d+", "ADDRESS", text)


def test_monitor_beside_redis(long):
    _compare(MONITOR, _of_monitor)


def test_config_beside_redis(long):
    _compare(CONFIG)


def test_slowlog_beside_redis(long):
    _compare(SLOWLOG, _of_slowlog)


def test_operations_redis_py(long):
    try:
        import redis
    except ImportError:
        raise Skip("python3-redis is not installed") from None
    with Cluster(["eu"]) as cluster:
        client = redis.Redis(port=cluster.eu.port, decode_responses=True)
        client.config_set("slowlog-log-slower-than", 20_000)
        client.config_set("latency-monitor-threshold", 20)
        client.execute_command("DEBUG", "SLEEP", "0.05")
        # Behind quick ones, in one pipeline.
        with client.pipeline(transaction=False) as pipe:
            for _ in range(20):
                pipe.get("k")
            pipe.eval("local n = 0; for i = 1, 6000000 do n = n + 1 end; return n", 0)
            for _ in range(20):
                pipe.get("k")
            pipe.execute()
        slow = client.slowlog_get()
        assert [bytes(entry["command"]).split()[0].upper() for entry in slow] == [b"EVAL", b"DEBUG"], slow
        assert slow[1]["duration"] >= 50_000 and client.slowlog_len() == 2, slow
        assert client.slowlog_reset()
        latest = client.execute_command("LATENCY", "LATEST")
        assert [event[0] for event in latest][0] == "command" and latest[0][3] >= 50, latest
        history = client.execute_command("LATENCY", "HISTORY", "command")
        assert len(history) >= 1 and abs(history[0][0] - time.time()) < 60, history
        graph = client.execute_command("LATENCY", "GRAPH", "command")
        assert graph.startswith("command - high ") and "\n" + "-" * 80 + "\n" in graph, graph
        assert "command: " in client.execute_command("LATENCY", "DOCTOR")
        assert client.execute_command("LATENCY", "RESET") >= 1
        stats = client.info("commandstats")["cmdstat_get"]
        assert stats["calls"] == 40 and stats["rejected_calls"] == 0, stats
        assert 0 < stats["usec_per_call"] < 1000, stats
        assert client.info("latencystats")["latency_percentiles_usec_get"]["p99"] > 0
        histogram = client.execute_command("LATENCY", "HISTOGRAM", "get")
        assert histogram[0] == "get" and histogram[1][:2] == ["calls", 40], histogram
        before = client.info("stats")
        assert client.config_resetstat() and "cmdstat_get" not in client.info("commandstats")
        after = client.info("stats")
        for name in ("total_net_input_bytes", "total_net_output_bytes", "total_commands_processed"):
            assert after[name] < before[name], (name, before[name], after[name])
        assert before["keyspace_misses"] > 0 and after["keyspace_hits"] == after["keyspace_misses"] == 0, after
        assert after["total_reads_processed"] < before["total_reads_processed"], (before, after)
        # Rates are of the last 1.6 s: of work, and then of none but the question.
        deadline = time.time() + 10
        while client.info("stats")["instantaneous_ops_per_sec"] == 0:
            client.get("k")
            assert time.time() < deadline
        rates = {}
        while time.time() < deadline and rates.get("instantaneous_ops_per_sec") != 0:
            time.sleep(2)
            rates = client.info("stats")
        assert rates["instantaneous_ops_per_sec"] == 0 and rates["instantaneous_input_kbps"] < 1, rates
        # A command that waits counts once: when it has its answer.
        waiting = Connection(cluster.eu.port)
        before = client.info("stats")["total_commands_processed"]
        asked = 1
        waiting.send_raw(encode("BLPOP", "waited-for", "0"))
        while client.info("clients")["blocked_clients"] == 0:
            asked += 1
            assert time.time() < deadline + 60
        client.rpush("waited-for", "x")
        assert waiting.read() == [b"waited-for", b"x"]
        waiting.close()
        # Those that asked, the one that saw it blocked, RPUSH and BLPOP.
        assert client.info("stats")["total_commands_processed"] - before == asked + 3, (before, asked)
        memory, server = client.info("memory"), client.info("server")
        assert memory["used_memory_peak"] >= memory["used_memory"] > 0, memory
        assert memory["total_system_memory"] > memory["used_memory_rss"], memory
        assert memory["mem_allocator"].startswith("jemalloc-"), memory
        assert memory["mem_fragmentation_bytes"] == memory["used_memory_rss"] - memory["used_memory"], memory
        assert memory["mem_fragmentation_ratio"] > 1, memory
        assert server["executable"].endswith("/polyarch") and server["configured_hz"] == 10, server

        with client.monitor() as monitor:
            client.set("k", "v")
            command = monitor.next_command()
            assert command["command"] == "SET k v" and command["client_type"] == "tcp", command

        # Who monitors and does not read is closed, and nobody else notices.
        slow_one = Connection(cluster.eu.port, receive_buffer=4096)
        assert slow_one.call("MONITOR") == b"OK"
        sent = 0
        while " flags=O " in "".join(f" flags={c['flags']} " for c in client.client_list()):
            sent += 1
            assert sent < 1000, "who does not read is never closed"
            client.set("k", "x" * 200_000)
        assert sent > 100, sent
        assert client.get("k") == "x" * 200_000
        assert set(client.memory_stats()) >= {"keys.count", "dataset.bytes"}
        assert client.memory_usage("k") > 200_000
        assert client.memory_purge()
