"""Messages between clients across leaders, slow subscribers, and events of keys, beside a real Redis."""

import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time

from cluster import Cluster, Skip, free_port, until
from resp import Connection


def _redis():
    try:
        import redis
    except ImportError:
        raise Skip("python3-redis is not installed") from None
    return redis


def _client(leader):
    return _redis().Redis(port=leader.port, decode_responses=True, socket_timeout=30)


class _Listener(threading.Thread):
    """Collects what comes to one subscriber."""

    def __init__(self, client, channels=(), patterns=()):
        super().__init__(daemon=True)
        self.pubsub = client.pubsub(ignore_subscribe_messages=False)
        self.messages, self.confirmed = [], 0
        self.wanted = len(channels) + len(patterns)
        if channels:
            self.pubsub.subscribe(*channels)
        if patterns:
            self.pubsub.psubscribe(*patterns)
        self.start()
        until("subscribed", lambda: self.confirmed == self.wanted)

    def run(self):
        try:
            for message in self.pubsub.listen():
                if message["type"].endswith("subscribe"):
                    self.confirmed += 1
                else:
                    self.messages.append(message)
        except Exception:
            pass

    def texts(self):
        return [m["data"] for m in self.messages]


def test_pubsub(long):
    with Cluster() as cluster:
        leaders = (cluster.eu, cluster.us, cluster.asia)
        cluster.wait_linked()
        listeners = [_Listener(_client(leader), channels=["news"], patterns=["n*s"]) for leader in leaders]
        clients = [_client(leader) for leader in leaders]
        wanted = []
        for i in range(300):
            client = clients[i % 3]
            assert client.publish("news", i) == 2
            wanted.append(str(i))
        for listener in listeners:
            until("all have come", lambda: len(listener.messages) >= 600)
            for kind in ("message", "pmessage"):
                texts = [m["data"] for m in listener.messages if m["type"] == kind]
                assert sorted(texts, key=int) == wanted, texts
                for part in range(3):  # those of one leader in order
                    mine = [t for t in texts if int(t) % 3 == part]
                    assert mine == sorted(mine, key=int), mine

        # A chain: over two steps.
        cluster.eu.call("TOPOLOGY", "SET", "links", "eu-us", "us-asia")
        until("the links follow", lambda: "eu-asia" not in str(cluster.us.call("TOPOLOGY", "GET")) and
              cluster.eu.info()["link_asia"].find("hops=2") >= 0 and
              cluster.asia.info()["link_eu"].find("hops=2") >= 0)
        clients[0].publish("news", "far")
        until("it has come over two steps", lambda: listeners[2].texts().count("far") == 2)
        assert all(leader.info()["publishes_dropped"] == "0" for leader in leaders)

        # What is published behind a write is heard where the write is visible already.
        events = _Listener(clients[1], channels=["written"])
        for i in range(50):
            with clients[0].pipeline(transaction=True) as pipe:
                pipe.set("written", i).publish("written", i)
                pipe.execute()
            until("it has come", lambda: events.texts()[-1:] == [str(i)])
            assert int(clients[1].get("written")) >= i

        # One that is killed is gone for what comes behind it in the same turn.
        with cluster.eu.connect() as victim:
            number = victim.call("CLIENT", "ID")
            victim.call("SUBSCRIBE", "killed")
            assert cluster.eu.call("PUBSUB", "NUMSUB", "killed") == [b"killed", 1]
            kill = ("CLIENT", "KILL", "ID", number)
            after = [("CLIENT", "LIST", "ID", number), ("PUBSUB", "NUMSUB", "killed"), ("PUBLISH", "killed", "x")]
            assert cluster.eu.pipeline([kill, kill, *after]) == [1, 0, b"", [b"killed", 0], 0]


def test_slow_subscriber(long):
    with Cluster(["eu", "us"]) as cluster:
        slow = [socket.create_connection(("127.0.0.1", cluster.us.port)) for _ in range(3)]
        for s in slow:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(b"SUBSCRIBE big\r\n")
            assert s.recv(100).startswith(b"*3")
        quick = _Listener(_client(cluster.us), channels=["big"])
        eu, us = _client(cluster.eu), _client(cluster.us)
        assert us.pubsub_numsub("big") == [("big", 4)]
        text = "x" * 100_000
        sent = 0
        while us.pubsub_numsub("big") != [("big", 1)]:
            sent += 1
            assert sent < 2000, "slow subscribers are never cut off"
            eu.publish("big", text)
            until("the quick one has it", lambda: len(quick.messages) == sent)
        assert sent * len(text) > 30 << 20, "they were cut off too early"
        stats = cluster.us.info("stats")
        assert stats["pubsub_limit_disconnections"] == "3", stats
        assert eu.set("k", 1) and us.ping()
        cluster.wait_converged()
        for s in slow:
            s.close()


class _Crowd(threading.Thread):
    """Many subscribers of one channel each, read by one thread; what comes is kept as bytes and looked at afterwards."""

    def __init__(self, leaders, count, channels):
        super().__init__(daemon=True)
        self.connections, self.parts, self.channel_of = [], [], []
        self.bytes, self.broken, self.over = 0, [], False
        self.poll = select.epoll()
        for i in range(count):
            leader, channel = leaders[i % len(leaders)], f"ch:{i // len(leaders) % channels}"
            connection = Connection(leader.port)
            connection.call("SUBSCRIBE", channel)
            connection.socket.setblocking(False)
            self.poll.register(connection.socket.fileno(), select.EPOLLIN)
            self.connections.append(connection)
            self.channel_of.append(channel)
            self.parts.append([])
        self.at = {c.socket.fileno(): i for i, c in enumerate(self.connections)}
        self.start()

    def run(self):
        while not self.over:
            for number, _ in self.poll.poll(0.2):
                i = self.at[number]
                try:
                    data = self.connections[i].socket.recv(1 << 18)
                except BlockingIOError:
                    continue
                if not data:
                    self.broken.append(i)
                    self.poll.unregister(number)
                    continue
                self.parts[i].append(data)
                self.bytes += len(data)

    def end(self):
        self.over = True
        self.join()
        for connection in self.connections:
            connection.close()
        self.poll.close()

    def texts(self, i):
        """The messages of a subscriber, in the order in which they came."""
        words = b"".join(self.parts[i]).split(b"\r\n")
        assert words.pop() == b"" and len(words) % 7 == 0
        assert set(words[2::7]) <= {b"message"} and set(words[4::7]) <= {self.channel_of[i].encode()}
        return words[6::7]


def test_fanout(long):
    """Subscribers at three leaders get each message of all publishers once, in each publisher's order, while others that do
    not read are cut off (long: 1,000 subscribers of 100 channels, 100,000 messages at 10,000/s)."""
    count, channels, rounds, each = (1000, 100, 1000, 100) if long else (150, 25, 100, 60)
    with Cluster() as cluster:
        leaders = (cluster.eu, cluster.us, cluster.asia)
        cluster.wait_linked()
        crowd = _Crowd(leaders, count, channels)
        slow = [Connection(leader.port, receive_buffer=4096) for leader in leaders]
        try:
            for leader, connection in zip(leaders, slow):
                leader.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 4mb 0 0")
                connection.call("SUBSCRIBE", "ch:0", "flood")
            wanted = {f"ch:{c}": [[] for _ in leaders] for c in range(channels)}
            publishers = [Connection(leader.port) for leader in leaders]
            number = [0, 0, 0]
            pace, begun = 0.01, time.monotonic()
            for r in range(rounds):
                for k, publisher in enumerate(publishers):
                    commands = []
                    for _ in range(each // 3 + (k < each % 3)):
                        channel = f"ch:{number[k] * 7 % channels}"
                        text = b"%d:%d:" % (k, number[k]) + b"x" * 48
                        wanted[channel][k].append(text)
                        commands.append(("PUBLISH", channel, text))
                        number[k] += 1
                    if r % 10 == 0:
                        commands.append(("PUBLISH", "flood", b"y" * 500_000))
                    publisher.pipeline(commands)
                # The pace of the load, not a wait for something.
                ahead = begun + pace * (r + 1) - time.monotonic()
                if long and ahead > 0:
                    time.sleep(ahead)
            took = time.monotonic() - begun
            for k, publisher in enumerate(publishers):
                for channel in wanted:
                    wanted[channel][k].append(b"%d:end" % k)
                publisher.pipeline([("PUBLISH", channel, b"%d:end" % k) for channel in wanted])
            delivered = sum(sum(len(texts) for texts in wanted[channel]) for channel in crowd.channel_of)

            def complete():
                assert not crowd.broken, "a subscriber that reads was cut off"
                return all(sum(part.count(b":end") for part in parts[-20:]) >= 3 for parts in crowd.parts)
            until("all have all", complete, 60)
            print(f"      {sum(number)} messages in {took:.1f} s, {delivered} deliveries to {count} subscribers")
            for i, channel in enumerate(crowd.channel_of):
                texts = crowd.texts(i)
                for k in range(3):
                    got = [text for text in texts if text.startswith(b"%d:" % k)]
                    assert got == wanted[channel][k], (i, channel, k, len(got), len(wanted[channel][k]))
            for leader in leaders:
                print({k: v for k, v in leader.info("stats").items() if "pub" in k}, leader.call("CLIENT", "LIST").decode()[-700:])
                until("who does not read is cut off",
                      lambda leader=leader: leader.info("stats")["pubsub_limit_disconnections"] == "1")
                assert leader.call("PUBSUB", "NUMSUB", "flood") == [b"flood", 0]
        finally:
            crowd.end()
            for connection in slow:
                connection.close()


SCRIPT = [
    "SET k 1", "SET k 1 EX 100", "SETEX k 100 v", "APPEND k x", "SETRANGE k 1 yy", "DEL k", "INCR n", "DECR n", "INCRBYFLOAT n 1.5",
    "GETSET n 5", "GETDEL n", "MSET a 1 b 2", "EXPIRE a 100", "PERSIST a", "PEXPIRE a 1000000", "GETEX a PERSIST",
    "GETEX a EX 100", "RENAME a c", "COPY c d", "MOVE d 3", "UNLINK b c", "SETBIT bits 7 1", "BITOP NOT bits2 bits", "BITFIELD bits SET u8 0 3",
    "PFADD hll a b", "LPUSH l 1 2 3", "RPUSH l 4", "LPUSHX l 0", "LINSERT l BEFORE 4 9", "LSET l 0 7", "LREM l 0 9", "LTRIM l 0 2", "LPOP l",
    "RPOPLPUSH l m", "LMOVE m l LEFT RIGHT", "RPOP l", "RPOP l", "SADD s a b c", "SREM s a", "SMOVE s t b", "SPOP t", "SADD u c x",
    "SUNIONSTORE dst s u", "SINTERSTORE dst s none", "HSET h f v g w", "HSETNX h x y", "HINCRBY h n 2", "HINCRBYFLOAT h n 1.5", "HDEL h f",
    "HDEL h g x n", "ZADD z 1 a 2 b 3 c 4 d", "ZINCRBY z 5 a", "ZPOPMIN z", "ZPOPMAX z", "ZREM z c", "ZADD z 1 e 2 f", "ZREMRANGEBYSCORE z 1 1",
    "ZUNIONSTORE zz 1 z", "ZRANGESTORE zr z 0 -1", "ZREMRANGEBYRANK z 0 -1", "GEOADD g 13 38 p", "SORT u ALPHA STORE sorted",
    "RPUSH q 1 2", "RPOPLPUSH q q", "LMOVE q q LEFT RIGHT", "XADD x 1-1 f v", "XADD x MAXLEN 1 2-1 f v", "XADD x MINID 3 3-1 f v",
    "ZADD zi INCR 1 m", "GETSET none1 v", "GETDEL none", "GETEX none PERSIST", "SET none2 v GET", "BITOP AND dst none1 none",
    "SUNIONSTORE dst none s", "ZUNIONSTORE dst 2 none zi", "SORT none STORE dst", "PFMERGE hll2 hll none", "COPY none dst",
    "XACK none g 1-1", "RENAME none1 none2", "COPY none2 dst REPLACE", "COPY none2 dst DB 4", "MOVE none2 5",
    "EXPIRE u -1", "GET none", "EXISTS none", "TTL none", "FLUSHALL"]


def _events(port):
    """What a subscriber of all events hears of SCRIPT, in order."""
    redis = _redis()
    client = redis.Redis(port=port, decode_responses=True, socket_timeout=30)
    client.config_set("notify-keyspace-events", "KEAmn")
    listener = _Listener(client, patterns=["__key*@*__:*"])
    for line in SCRIPT:
        client.execute_command(*line.split())
    client.publish("__key@0__:end", "end")
    until("all have come", lambda: listener.texts()[-1:] == ["end"])
    return [(m["channel"], m["data"]) for m in listener.messages]


def test_keyspace_events(long):
    _redis()
    if shutil.which("redis-server") is None:
        raise Skip("redis-server is not installed")
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        server = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--dir", directory],
                                  stdout=subprocess.DEVNULL)
        try:
            until("redis answers", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
            wanted = _events(port)
        finally:
            server.kill()
            server.wait()
    with Cluster(["eu", "us"]) as cluster:
        found = _events(cluster.eu.port)
        assert found == wanted, "\n".join(
            f"{w} {f}" for w, f in zip(wanted, found) if w != f) + f"\n{len(wanted)} {len(found)}"
        cluster.wait_converged()

        # What another leader writes, under the name of the simplest command that does it.
        us = _client(cluster.us)
        us.config_set("notify-keyspace-events", "KEA")
        listener = _Listener(us, patterns=["__keyevent@0__:*"])
        eu = _client(cluster.eu)
        eu.set("k", 1)
        eu.incr("n")
        eu.hset("h", "f", "v")
        eu.rpush("l", "x")
        eu.sadd("s", "m")
        eu.zadd("z", {"m": 1})
        eu.expire("k", 100)
        eu.delete("k", "n")
        eu.hdel("h", "f")
        eu.set("short", 1, px=30)
        cluster.wait_converged()
        until("it has expired everywhere", lambda: ("__keyevent@0__:expired", "short") in
              [(m["channel"], m["data"]) for m in listener.messages])
        heard = [(m["channel"].split(":")[1], m["data"]) for m in listener.messages]
        for event in [("set", "k"), ("incrby", "n"), ("hset", "h"), ("rpush", "l"), ("sadd", "s"), ("zadd", "z"),
                      ("expire", "k"), ("del", "k"), ("del", "n"), ("hdel", "h"), ("del", "h"),
                      ("set", "short"), ("expire", "short"), ("expired", "short")]:
            assert heard.count(event) == 1, (event, heard)
