"""Moving in and out: `polyarch import` from a running redis-server and from an RDB file, `polyarch export` into one."""

import os
import pty
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

from cluster import BINARY, Cluster, Process, until
from redis_data import SMALL_LIMITS, Changes, Sessions, differences, fill, show
from redis_server import start_redis_server
from resp import Connection, pairs


class Import:
    """A `polyarch import` that runs beside the test."""

    def __init__(self, cluster, *arguments, env=None):
        self.log = os.path.join(cluster.directory, f"import-{len(cluster.others)}.log")
        before = dict(os.environ)
        os.environ.update(env or {})
        try:
            self.process = Process([BINARY, "import", "--spool", cluster.directory, *map(str, arguments)], self.log)
        finally:
            os.environ.clear()
            os.environ.update(before)
        cluster.others.append(self.process)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_for(self, part, deadline_s=60.0):
        def said():
            if part in self.text():
                return True
            assert self.process.alive(), f"ended with {self.process.child.returncode}: {self.text()}"
            return False
        until(lambda: f"'{part}' in {self.text()[-2000:]}", said, deadline_s)

    def cut_over(self, code=0):
        self.process.signal(signal.SIGUSR1)
        return self.end(code)

    def end(self, code=0, deadline_s=60.0):
        found = self.process.child.wait(deadline_s)
        assert found == code, f"ended with {found}: {self.text()}"
        return self.text()


def run(*arguments, code=0, env=None):
    """A subcommand: what it says on both outputs."""
    done = subprocess.run([BINARY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1800,
                          env={**os.environ, **(env or {})}, check=False)
    assert done.returncode == code, f"{arguments}: ended with {done.returncode}: {done.stdout[-3000:]}"
    return done.stdout


def _assert_same(port, leader, password=None, databases=range(16)):
    with Connection(port, password=password) as source, leader.connect(timeout=60) as there:
        found = differences(source, there, databases)
        assert not found, show(found)
        return sum(int(pairs_of.split(b",")[0].split(b"=")[1]) for pairs_of in source.call("INFO", "keyspace").split(b"\r\n")
                   if pairs_of.startswith(b"db"))


def test_import_usage(long):
    """What cannot count is refused, not passed over; and how to cut over is said where nothing that is typed is read."""
    for option in (["--until-synced"], ["--pause", "1"]):
        said = run("import", "--file", "-", *option, code=2)
        assert option[0] in said and "--from" in said, said
    said = run("import", "--from", "redis://127.0.0.1:1", "--verify-only", "--until-synced", code=2)
    assert "--verify-only imports nothing: leave out --until-synced" in said, said
    with Cluster(["eu"]) as cluster:
        port = start_redis_server(cluster)
        importer = Import(cluster, "--from", f"redis://127.0.0.1:{port}", "--to", f"127.0.0.1:{cluster.eu.port}")
        importer.wait_for("level with the source")
        assert f"; kill -USR1 {importer.process.pid} to cut over" in importer.text(), importer.text()
        assert "type cutover" not in importer.text(), importer.text()
        importer.cut_over()


def test_import_live(long):
    """A redis-server with all types in all encodings, written to all the time, is followed and cut over: nothing is lost, although
    its connection breaks, in the copy and behind it; an expiry that is moved on all the time is never missed."""
    with Cluster(["eu", "us"]) as cluster:
        count = 300 if long else 60
        port = start_redis_server(cluster, *SMALL_LIMITS, "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb")
        with Connection(port) as redis:
            fill(redis, random.Random(1), count)
            redis.pipeline([("SET", f"filler:{i}", f"{i}" * 200) for i in range(30_000)])
            sessions = Sessions(port)
            writers = [Changes(port, seed, count) for seed in (2, 3)]
            for thread in [sessions, *writers]:
                thread.start()
            importer = Import(cluster, "--from", f"redis://127.0.0.1:{port}", "--to", f"127.0.0.1:{cluster.eu.port}")
            importer.wait_for("the copy begins")
            redis.call("CLIENT", "KILL", "TYPE", "replica")
            importer.wait_for("a new copy begins (number 2)")
            # So late that what the snapshot says of sessions is past.
            time.sleep(0.2)
            assert "level" not in importer.text()
            importer.process.signal(signal.SIGSTOP)
            time.sleep(3)
            importer.process.signal(signal.SIGCONT)
            importer.wait_for("level with the source")
            for _ in range(3):
                time.sleep(1)
                assert redis.call("CLIENT", "KILL", "TYPE", "replica") >= 1
                until("it is back", lambda: b"state=online" in redis.call("INFO", "replication"))
            partial = int(pairs_in(redis.call("INFO", "stats"))["sync_partial_ok"])
            assert partial >= 3, f"{partial} times gone on where it was"
            # The source is told how far the leader has it.
            redis.call("SET", "waited-for", "1")
            assert redis.call("WAIT", 1, 5000) == 1
            assert cluster.eu.call("GET", "waited-for") == b"1"
            time.sleep(10 if long else 1)
            for thread in [*writers, sessions]:
                thread.stop()
            redis.call("SET", "the last", "write")
            said = importer.cut_over()
            assert "cut over" in said
            keys = _assert_same(port, cluster.eu)
            assert cluster.eu.call("GET", "the last") == b"write"
            assert cluster.eu.call("FUNCTION", "LIST") and len(cluster.eu.call("FUNCTION", "LIST")) == len(redis.call("FUNCTION", "LIST"))
            cluster.wait_converged()
            # And its own comparison says the same; and when something differs.
            compare = ("import", "--from", f"redis://127.0.0.1:{port}", "--to", f"127.0.0.1:{cluster.eu.port}", "--verify-only")
            assert "no difference" in run(*compare)
            cluster.eu.call("SET", "string:k:1", "another")
            cluster.eu.call("DEL", "the last")
            cluster.eu.call("SADD", "here alone", "x")
            cluster.eu.call("PEXPIRE", "integer:k:2", 77_000)
            cluster.eu.call("DEL", "list:k:3")
            cluster.eu.call("SADD", "list:k:3", "x")
            cluster.eu.call("FUNCTION", "LOAD", "#!lua name=mine\nredis.register_function('mine', function() return 1 end)")
            cluster.eu.call("FUNCTION", "DELETE", "changes2")
            said = run(*compare, code=1)
            for line in ("db0 string:k:1: ", "db0 the last: is missing at the leader", "db0 here alone: is at the leader alone",
                         "db0 integer:k:2: expires never at the source, in 7", "db0 list:k:3: is a list at the source, a set at the leader",
                         "library mine: is at the leader alone", "library changes2: is missing at the leader"):
                assert line in said, said
        print(f"note: {keys} keys, {sum(writer.done for writer in writers)} commands while it was followed, {partial} reconnects")


def pairs_in(info):
    return dict(line.split(":", 1) for line in info.decode().split("\r\n") if ":" in line)


def _told_on_a_terminal(arguments, env):
    """Runs an import on a terminal of its own, and types cutover once it follows."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(BINARY, [BINARY, *arguments], env)
    said = b""
    try:
        deadline = time.monotonic() + 60
        typed = False
        while time.monotonic() < deadline:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # it has ended
                break
            if not part:
                break
            said += part
            if b"type cutover, or kill" in said and not typed:
                os.write(terminal, b"cutover\n")
                typed = True
        assert typed, said[-500:]
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, said[-500:]
    finally:
        os.close(terminal)
    return said.decode()


def test_import_live_again(long):
    """With passwords; killed in the middle and begun again with --replace; a source that swaps databases; one database alone."""
    with Cluster(["eu"], flags=["--requirepass", "there", "--max-bulk", "1mb"]) as cluster:
        port = start_redis_server(cluster, *SMALL_LIMITS, "--repl-diskless-sync", "no", password="here")
        env = {"POLYARCH_PASSWORD": "there", "POLYARCH_SOURCE_PASSWORD": "here"}
        address = ("--from", f"redis://127.0.0.1:{port}", "--to", f"127.0.0.1:{cluster.eu.port}")
        assert "refuses the password" in run("import", "--from", f"redis://:wrong@127.0.0.1:{port}", *address[2:], env=env, code=1)
        assert "needs a password" in run("import", "--from", f"redis://127.0.0.1:{port}", *address[2:], env={"POLYARCH_PASSWORD": "there"}, code=1)
        with Connection(port, password="here") as redis:
            fill(redis, random.Random(4), 40)
            redis.pipeline([("SET", f"filler:{i}", "x" * 1000) for i in range(20_000)])
            writer = Changes(port, 5, 40, password="here")
            writer.start()
            importer = Import(cluster, *address, env=env)
            until("it has begun", lambda: cluster.eu.call("DBSIZE") > 100)
            importer.process.kill()
            # What goes meanwhile is gone.
            redis.pipeline([("DEL", f"filler:{i}") for i in range(0, 20_000, 2)])
            assert "give --replace to empty it first, or --merge" in run("import", *address, env=env, code=1)
            importer = Import(cluster, *address, "--replace", env=env)
            importer.wait_for("level with the source")
            redis.call("SWAPDB", 0, 3)
            importer.wait_for("a new copy begins (number 2): the source has swapped databases")
            until("level again", lambda: importer.text().count("level with the source") == 2, 60)
            writer.stop()
            assert "2 copies" in importer.cut_over()
            _assert_same(port, cluster.eu, "here")
            said = run("import", *address, "--replace", "--until-synced", "--pause", "1", "--verify", env=env)
            assert "the source's writes are paused for 1" in said and "no difference" in said, said
            # One database alone; the others stay.
            cluster.eu.call("SET", "stays", "here")
            before = time.monotonic()
            assert "no difference" in run("import", "--from", f"redis://:here@127.0.0.1:{port}/3", *address[2:], "--replace", "--until-synced",
                                          "--verify", env=env)
            assert time.monotonic() - before < 60
            assert cluster.eu.call("GET", "stays") == b"here"
            # On a terminal, it is told there.
            said = _told_on_a_terminal(["import", "--from", f"redis://:here@127.0.0.1:{port}/3", *address[2:], "--replace"], {**os.environ, **env})
            assert "cut over" in said, said
            # Either side may end.
            importer = Import(cluster, *address, "--replace", env=env)
            importer.wait_for("level with the source")
            cluster.eu.kill()
            assert "lost the connection to the leader" in importer.end(1)
            cluster.restart("eu")
            # What the leader refuses is told.
            redis.call("SET", "k" * 70_000, "too long a key")
            said = run("import", *address, "--replace", "--until-synced", env=env, code=1)
            assert "the leader refused 1 commands or values" in said and "LIMIT key longer" in said, said
            redis.call("DEL", "k" * 70_000)
            redis.call("SET", "too long", "x" * 1_100_000)
            said = run("import", *address, "--replace", "--until-synced", env=env, code=1)
            assert "too long: a string of 1100000 bytes in it is more than the leader takes (1048576, --max-bulk)" in said, said
            importer = Import(cluster, *address, "--replace", env=env)
            importer.wait_for("level with the source")
            redis.call("DEL", "too long")
            redis.call("SET", "again", "x" * 1_100_000)
            redis.call("SET", "after it", "1")
            until("it goes on", lambda: cluster.eu.call("GET", "after it") == b"1")
            assert "SET again: its 3 arguments, the longest of 1100000 bytes, are more than the leader takes" in importer.cut_over(1)
            redis.call("DEL", "again")
            importer = Import(cluster, *address, "--replace", "--patience", "1", env=env)
            importer.wait_for("level with the source")
        cluster.others[0].kill()
        said = importer.end(1)
        assert "cannot reach the source" in said and "the leader has all that the source had sent" in said, said


def test_import_sources(long):
    """Sources that are replicas, that lose their data, whose user may not do what is asked."""
    with Cluster(["eu"]) as cluster:
        to = ("--to", f"127.0.0.1:{cluster.eu.port}")
        master = start_redis_server(cluster, "--repl-diskless-sync-delay", "0")
        master_process = cluster.others[-1]
        replica = start_redis_server(cluster, "--replicaof", f"127.0.0.1 {master}", "--repl-diskless-sync-delay", "0")
        with Connection(master) as redis, Connection(replica) as there:
            until("the replica is level", lambda: b"master_link_status:up" in there.call("INFO", "replication"))
            redis.call("SELECT", 3)
            redis.call("SET", "before", "1")
            assert redis.call("WAIT", 1, 5000) == 1
            address = ("--from", f"redis://127.0.0.1:{replica}", *to)
            assert "is a replica, where --pause holds nothing back" in run("import", *address, "--pause", "1", "--until-synced", code=1)
            importer = Import(cluster, *address)
            importer.wait_for("level with the source")
            # It stands in database 3 since long, and nothing says so once more.
            redis.call("SET", "after", "2")
            assert redis.call("WAIT", 1, 5000) == 1
            until("it is there", lambda: cluster.eu.call("DBSIZE") == 0 and b"db3:keys=2" in cluster.eu.call("INFO", "keyspace"))
            importer.cut_over()
            _assert_same(replica, cluster.eu)
            # A replica that has lost its master stands still; that is not level.
            importer = Import(cluster, *address, "--replace", "--patience", "0.1")
            importer.wait_for("level with the source")
            master_process.kill()
            until("it is noticed", lambda: b"master_link_status:down" in there.call("INFO", "replication"))
            said = importer.cut_over(1)
            assert "is a replica that has lost its master" in said and "the leader has all that the source had sent" in said, said
        # One whose backlog does not reach back is copied anew; but started anew without its data, the leader keeps its own.
        port = start_redis_server(cluster, "--repl-diskless-sync-delay", "0")
        with Connection(port) as redis:
            redis.pipeline([("SET", f"k:{i}", i) for i in range(100)])
        importer = Import(cluster, "--from", f"redis://127.0.0.1:{port}", *to, "--replace")
        importer.wait_for("level with the source")
        with Connection(port) as redis:
            redis.call("CONFIG", "SET", "repl-backlog-size", 16384)
            importer.process.signal(signal.SIGSTOP)
            redis.call("CLIENT", "KILL", "TYPE", "replica")
            redis.pipeline([("DEL", "k:1"), ("SET", "k:2", "x" * 100_000)])
            importer.process.signal(signal.SIGCONT)
        importer.wait_for("a new copy begins (number 2)")
        until("level again", lambda: importer.text().count("level with the source") == 2, 60)
        assert cluster.eu.call("DBSIZE") == 99 and cluster.eu.call("STRLEN", "k:2") == 100_000
        cluster.others[-2].kill()
        start_redis_server(cluster, "--repl-diskless-sync-delay", "0", port=port)
        said = importer.end(1)
        assert "began another history after the leader was level" in said and "the leader keeps what it has" in said, said
        assert cluster.eu.call("DBSIZE") == 99
        # A user who may not ask, and connections that are too many.
        with Connection(port) as redis:
            redis.call("ACL", "SETUSER", "mover", "on", ">x", "~*", "+psync", "+replconf", "+ping")
            said = run("import", "--from", f"redis://mover:x@127.0.0.1:{port}", *to, "--replace", "--until-synced", code=1)
            assert "does not tell how far it is" in said and "NOPERM" in said, said
            assert cluster.eu.call("DBSIZE") == 99
            redis.call("CONFIG", "SET", "maxclients", 2)
            said = run("import", "--from", f"redis://127.0.0.1:{port}", *to, "--replace", "--until-synced", "--patience", "0.1", code=1)
            assert "max number of clients reached" in said, said
            redis.call("CONFIG", "SET", "maxclients", 100)
            # An import that is stopped while the source's writes are paused lets them go on.
            importer = Import(cluster, "--from", f"redis://127.0.0.1:{port}", *to, "--replace", "--pause", "300")
            importer.wait_for("level with the source")
            cluster.eu.process.signal(signal.SIGSTOP)
            redis.call("SET", "on its way", "1")
            importer.process.signal(signal.SIGUSR1)
            importer.wait_for("the source's writes are paused")
            importer.process.signal(signal.SIGTERM)
            importer.wait_for("the source's writes go on")
            cluster.eu.process.signal(signal.SIGCONT)
            assert "stopped before the cut-over" in importer.end(1)
            assert redis.call("SET", "again", "1") == b"OK"


class OldSource:
    """As much of a Redis 6.2 as an import asks of it: it tells its replicas times from now. Its clock is five seconds behind."""
    HISTORY = "a1" * 20
    RDB = b"REDIS0009" + b"\xfe\x00" + b"\x00\x01k\x01v" + b"\xff" + bytes(8)

    def __init__(self, stream):
        self.stream = stream
        self.slow = 0     # so many times a snapshot takes long, and comes to nothing
        self.broken = 0   # and so many times it is broken off
        self.may_go_on = threading.Event()
        self.sent_ms = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rb") as requests:
            while head := requests.readline():
                words = []
                for _ in range(int(head[1:])):
                    words.append(requests.read(int(requests.readline()[1:]) + 2)[:-2])
                self.answer(connection, words)

    def answer(self, connection, words):
        name = words[0].upper()
        if name == b"PSYNC" and self.slow:
            self.slow -= 1
            for _ in range(15):
                time.sleep(0.1)
                connection.sendall(b"\n")
            connection.shutdown(socket.SHUT_RDWR)
        elif name == b"PSYNC" and self.broken:
            self.broken -= 1
            connection.sendall(f"+FULLRESYNC {self.HISTORY} 0\r\n$1000\r\n".encode() + self.RDB[:12])
            connection.shutdown(socket.SHUT_RDWR)
        elif name == b"PSYNC":
            connection.sendall(f"+FULLRESYNC {self.HISTORY} 0\r\n".encode())
            self.may_go_on.wait()
            self.sent_ms = time.time() * 1000
            connection.sendall(b"$%d\r\n" % len(self.RDB) + self.RDB + self.stream)
        elif name == b"INFO":
            text = f"# Replication\r\nrole:master\r\nmaster_replid:{self.HISTORY}\r\nmaster_repl_offset:{len(self.stream)}\r\n".encode()
            connection.sendall(b"$%d\r\n" % len(text) + text + b"\r\n")
        elif name == b"TIME":
            connection.sendall(b"*2\r\n$10\r\n%010d\r\n$1\r\n0\r\n" % (time.time() - 5))
        elif name != b"REPLCONF" or words[1].upper() != b"ACK":
            connection.sendall(b"+PONG\r\n" if name == b"PING" else b"+OK\r\n")


def test_import_old_source(long):
    """Times from now count from when the source sent them, however late they are written; clocks that are apart are told."""
    with Cluster(["eu"]) as cluster:
        commands = [("SELECT", "0"), ("SETEX", "a", "100", "v"), ("SET", "b", "v", "PX", "100000"), ("EXPIRE", "k", "100")]
        source = OldSource(b"".join(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)
                                    for words in commands))
        importer = Import(cluster, "--from", f"redis://127.0.0.1:{source.port}", "--to", f"127.0.0.1:{cluster.eu.port}", "--until-synced")
        importer.wait_for("the copy begins")
        cluster.eu.process.signal(signal.SIGSTOP)
        source.may_go_on.set()
        time.sleep(2)
        cluster.eu.process.signal(signal.SIGCONT)
        said = importer.end()
        assert "warning: the leader's clock is" in said and "ahead of the source's" in said, said
        late = [cluster.eu.call("PEXPIRETIME", key) - source.sent_ms - 100_000 for key in ("a", "b", "k")]
        assert all(abs(ms) < 1000 for ms in late), late
        # One that is at work on a snapshot says so, and is not out of reach; one that breaks each off is of no use.
        again = ("import", "--from", f"redis://127.0.0.1:{source.port}", "--to", f"127.0.0.1:{cluster.eu.port}", "--until-synced", "--replace", "--patience", "1")
        source.slow = 1
        assert "cut over" in run(*again)
        source.broken = 99
        assert "broke off its snapshot 5 times one after another" in run(*again, code=1)
        source.listener.close()


def test_import_merge(long):
    """What the leader held stays, and keys of the same name become the source's."""
    with Cluster(["eu"]) as cluster:
        to = ("--to", f"127.0.0.1:{cluster.eu.port}")
        year_3000 = 32_503_680_000_000
        port = start_redis_server(cluster, "--repl-diskless-sync-delay", "0")
        with Connection(port) as redis, cluster.eu.connect() as leader:
            leader.pipeline([("SET", "mine", "stays"), ("SET", "mine for long", "x", "PXAT", year_3000), ("SET", "taken:1", "mine"),
                             ("SET", "taken:2", "mine"), ("SET", "taken:3", "mine"), ("HSET", "taken:4", "f", "mine"), ("SET", "taken:5", "mine"),
                             ("SELECT", 3), ("SET", "moved", "mine"), ("SELECT", 0)])
            leader.call("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('one', function() return 1 end)")
            redis.pipeline([("SET", "for long", "x", "PXAT", year_3000), ("SET", "old", "1"), ("SET", "moved", "source's", "EX", 700)])
            importer = Import(cluster, "--from", f"redis://127.0.0.1:{port}", *to, "--merge")
            importer.wait_for("level with the source")
            assert leader.call("PEXPIRETIME", "mine for long") == leader.call("PEXPIRETIME", "for long") == year_3000
            redis.pipeline([("SETNX", "taken:1", "s"), ("SET", "taken:2", "s", "NX", "EX", 700), ("RENAMENX", "old", "taken:3"),
                            ("HSETNX", "taken:4", "f", "s"), ("MSETNX", "taken:5", "s", "and", "another"), ("MOVE", "moved", 3)])
            until("all has come", lambda: leader.call("EXISTS", "and") == 1)
            until("and this", lambda: leader.call("EXISTS", "moved") == 0)
            assert leader.call("MGET", "taken:1", "taken:2", "taken:3", "taken:5") == [b"s", b"s", b"1", b"s"]
            assert leader.call("TTL", "taken:2") > 600 and leader.call("HGET", "taken:4", "f") == b"s"
            leader.call("SELECT", 3)
            assert leader.call("GET", "moved") == b"source's" and leader.call("TTL", "moved") > 600
            leader.call("SELECT", 0)
            payload = redis.call("FUNCTION", "DUMP")
            redis.call("FUNCTION", "RESTORE", payload, "FLUSH")
            redis.call("FUNCTION", "FLUSH")
            redis.call("FLUSHALL")
            redis.call("SET", "last", "1")
            until("all has come", lambda: leader.call("EXISTS", "last") == 1)
            said = importer.cut_over(1)
            assert "FLUSHALL of the source: --merge deletes nothing" in said and "FUNCTION FLUSH of the source" in said, said
            assert leader.call("MGET", "mine", "mine for long") == [b"stays", b"x"] and leader.call("FCALL", "one", 0) == 1
            assert leader.call("PEXPIRETIME", "mine for long") == year_3000


def test_import_file(long):
    """An RDB file of redis-server; files that are bad."""
    with Cluster(["eu"]) as cluster:
        port = start_redis_server(cluster, *SMALL_LIMITS)
        path = os.path.join(cluster.directory, "dump.rdb")
        to = ("--to", f"127.0.0.1:{cluster.eu.port}")
        with Connection(port) as redis, cluster.eu.connect() as leader:
            fill(redis, random.Random(6), 300 if long else 40)
            # Values that are written in pieces.
            for part in range(10):
                redis.call("HSET", "large hash", *[f"{part}:{i}:{word}" for i in range(3000) for word in ("field", "value" * 5)])
                redis.call("RPUSH", "large list", *[f"{part}:{i}" * 4 for i in range(3000)])
                redis.call("ZADD", "large zset", *[word for i in range(3000) for word in (i / 7, f"{part}:{i}")])
                redis.call("SADD", "large set", *[f"{part}:{i}" * 4 for i in range(3000)])
                redis.pipeline([("XADD", "large stream", f"{part * 3000 + i + 1}-0", "field", "value" * 10) for i in range(3000)])
            redis.call("XGROUP", "CREATE", "large stream", "g", "0")
            redis.call("XREADGROUP", "GROUP", "g", "c", "COUNT", "500", "STREAMS", "large stream", ">")
            redis.call("XDEL", "large stream", "29999-0")
            # Streams without entries, of which much is pending; the second one is too large for one command.
            for name, entries in (("empty stream", 60_000),) + ((("larger stream", 300_000),) if long else ()):
                redis.call("EVAL", "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], i .. '-0', 'f', 'v') end", 1, name, entries)
                redis.call("XGROUP", "CREATE", name, "g", "0")
                redis.call("EVAL", "redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', ARGV[1], 'STREAMS', KEYS[1], '>')", 1, name, entries)
                redis.call("XTRIM", name, "MAXLEN", 0)
            redis.call("SET", "large string", "x" * 5_000_000)
            redis.call("PEXPIRE", "large hash", 500_000)
            redis.call("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('one', function() return 1 end)")
            redis.call("CONFIG", "SET", "save", "")
            redis.call("SET", "gone", "x", "PX", 1000)
            redis.call("SAVE")
            time.sleep(1.1)
            said = run("import", "--file", path, *to, code=1 if long else 0)
            assert "1 had expired" in said, said
            if long:
                # What is pending of deleted entries is kept by RESTORE alone.
                assert said.count("XCLAIM larger stream: what is pending of an entry that was deleted cannot be written") == 1, said
                groups = leader.call("XINFO", "GROUPS", "larger stream")
                assert len(groups) == 1 and leader.call("XLEN", "larger stream") == 0 and pairs(groups[0])["last-delivered-id"] == b"300000-0"
                redis.call("DEL", "larger stream")
                leader.call("DEL", "larger stream")
                redis.call("SAVE")
            assert leader.call("XPENDING", "empty stream", "g")[0] == 60_000
            _assert_same(port, cluster.eu)
            assert leader.call("FCALL", "one", 0) == 1
            assert "no difference" in run("import", "--from", f"redis://127.0.0.1:{port}", *to, "--verify-only")
            # What is pending of a large stream is compared one by one.
            leader.call("XCLAIM", "large stream", "g", "c", 0, "100-0", "RETRYCOUNT", 7)
            # A key that is missing is so, however wide the tolerance.
            redis.call("SET", "here alone", "x", "PX", 60_000)
            said = run("import", "--from", f"redis://127.0.0.1:{port}", *to, "--verify-only", "--ttl-tolerance", 86400, code=1)
            assert "db0 here alone: is missing at the leader" in said and "db0 large stream: group g: what is pending differs" in said, said
            leader.call("XCLAIM", "large stream", "g", "c", 0, "100-0", "RETRYCOUNT", 1)
            redis.call("DEL", "here alone")
            assert "give --replace" in run("import", "--file", path, *to, code=1)
            leader.call("SET", "mine", "stays")
            leader.call("SET", "string:k:0", "is replaced")
            run("import", "--file", path, *to, "--merge")
            assert leader.call("GET", "mine") == b"stays"
            leader.call("DEL", "mine")
            _assert_same(port, cluster.eu)
            run("import", "--file", path, *to, "--replace", "--db", "3")
            _assert_same(port, cluster.eu)
            # Without compressed strings, and from a pipe.
            redis.call("CONFIG", "SET", "rdbcompression", "no")
            redis.call("SAVE")
            with open(path, "rb") as file:
                subprocess.run([BINARY, "import", "--file", "-", *to, "--replace"], stdin=file, timeout=120, check=True)
            _assert_same(port, cluster.eu)
        # Bad files.
        bad = os.path.join(cluster.directory, "bad.rdb")
        with open(path, "rb") as file:
            good = file.read()

        def refused(data, *parts):
            with open(bad, "wb") as file:
                file.write(data)
            said = run("import", "--file", bad, *to, "--replace", code=1)
            assert all(part in said for part in parts), said
        refused(b"", "not an RDB file")
        refused(b"REDIS0099" + good[9:], "RDB version 99 is of a later Redis")
        refused(good[:len(good) // 2], f"cut off at byte {len(good) // 2}", "keys before it were imported")
        refused(good[:-1] + bytes([good[-1] ^ 1]), "the checksum at the end is of other bytes")
        refused(good[:9] + b"\x07\x01k" + good[9:], "modules are not supported")
        refused(good + b"*1\r\n$4\r\nPING\r\n", f"bytes follow the end of the RDB at byte {len(good)}", "append-only")
        # What a module keeps beside its keys is passed over, and told. Without a checksum.
        with open(bad, "wb") as file:
            file.write(good[:9] + bytes.fromhex("f7817edfe29dd7b1d001" "0202" "0503616263" "00") + good[9:-8] + bytes(8))
        assert "passed over: what the module ft_index0 keeps beside its keys" in run("import", "--file", bad, *to, "--replace")
        with Connection(port) as redis:
            keys = cluster.eu.call("DBSIZE")
            assert keys == redis.call("DBSIZE")
            # The beginning of an append-only file is not all of it; and what is refused changes nothing.
            redis.call("CONFIG", "SET", "appendonly", "yes")
            base = os.path.join(cluster.directory, "appendonlydir", "appendonly.aof.1.base.rdb")
            until("the append-only file is there", lambda: os.path.exists(base))
            assert "beginning of an append-only file (aof-base)" in run("import", "--file", base, *to, "--replace", code=1)
            assert cluster.eu.call("DBSIZE") == keys
        assert "cannot open" in run("import", "--file", bad + "x", *to, "--replace", code=1)
        assert "give --from URI or --file PATH" in run("import", code=2)


def test_export(long):
    """A leader's data as a file that redis-server loads, and as commands that redis-cli --pipe takes."""
    with Cluster(["eu"]) as cluster:
        port = start_redis_server(cluster, *SMALL_LIMITS)
        path = os.path.join(cluster.directory, "dump.rdb")
        with Connection(port) as redis:
            fill(redis, random.Random(7), 300 if long else 40)
            redis.call("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('one', function() return 1 end)")
            redis.call("SAVE")
        to = f"127.0.0.1:{cluster.eu.port}"
        run("import", "--file", path, "--to", to)
        # What leaders alone have: increments, elements that were changed here.
        with cluster.eu.connect() as leader:
            leader.call("INCRBY", "integer:k:1", 5)
            leader.call("HINCRBY", "hash:new", "n", 7)
            leader.call("LINSERT", "list:k:1", "BEFORE", leader.call("LINDEX", "list:k:1", 0), "inserted")
            leader.call("XADD", "stream:new", "*", "f", "v")
            # What is read in parts.
            for part in range(11):
                leader.pipeline([("RPUSH", "large list", *[f"{part}:{i}" for i in range(10_000)]),
                                 ("SADD", "large set", *[f"{part}:{i}" for i in range(10_000)]),
                                 ("HSET", "large hash", *[f"{part}:{i}" for i in range(20_000)]),
                                 ("ZADD", "large zset", *[word for i in range(10_000) for word in (i / 7, f"{part}:{i}")])])
            leader.pipeline([("ZADD", "large zset", "-inf", "low", "1e300", "high"), ("PEXPIRE", "large hash", 700_000)])
            leader.call("SET", b"binary\x00\xff", b"\x00\xff", "PX", 800_000)
        exported = os.path.join(cluster.directory, "exported.rdb")
        assert "exported" in run("export", "-p", cluster.eu.port, "--out", exported)
        other = start_redis_server(cluster, "--dbfilename", "exported.rdb")
        _assert_same(other, cluster.eu)
        with Connection(other) as redis:
            assert redis.call("FCALL", "one", 0) == 1
        commands = os.path.join(cluster.directory, "exported.commands")
        run("export", "-p", cluster.eu.port, "--out", commands, "--commands")
        third = start_redis_server(cluster, "--dbfilename", "none.rdb")
        with open(commands, "rb") as file:
            said = subprocess.run(["redis-cli", "-p", str(third), "--pipe"], stdin=file, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
        assert "errors: 0" in said.stdout, said.stdout
        _assert_same(third, cluster.eu)
        # What is there stays, unless it is to be written over.
        before = os.stat(exported).st_ino
        assert "exists: give another path, or --replace" in run("export", "-p", cluster.eu.port, "--out", exported, code=1)
        assert os.stat(exported).st_ino == before
        run("export", "-p", cluster.eu.port, "--out", exported, "--replace")
        assert os.stat(exported).st_ino != before
        assert "is no regular file" in run("export", "-p", cluster.eu.port, "--out", "/dev/null", "--replace", code=1)
        # What cannot be read is told; what cannot be written leaves nothing.
        cluster.eu.call("POLICY", "SET", "torn:*", "siblings")
        assert "cannot make" in run("export", "-p", cluster.eu.port, "--out", "/no/such/place.rdb", code=1)
        assert not [name for name in os.listdir(cluster.directory) if ".partial" in name]
        assert shutil.which("redis-check-rdb") is None or "RDB looks OK" in subprocess.run(
            ["redis-check-rdb", exported], stdout=subprocess.PIPE, text=True, check=True).stdout


class Jobs(threading.Thread):
    """A queue of consecutive numbers that moves on all the time, and keys with a time to live that come and go."""

    def __init__(self, leader, first):
        super().__init__(daemon=True)
        self.connection, self.next = leader.connect(), first
        self.moved = 0
        self.ending = threading.Event()

    def run(self):
        with self.connection as leader:
            while not self.ending.is_set():
                leader.pipeline([("MULTI",), ("LPOP", "jobs"), ("RPUSH", "jobs", self.next), ("EXEC",)] +
                                [("SET", f"session:{i}", i, "PX", 600_000) for i in range(50)])
                leader.pipeline([("DEL", f"session:{i}") for i in range(0, 50, 2)])
                self.next += 1
                self.moved += 1

    def stop(self):
        self.ending.set()
        self.join(30)


def test_export_moving(long):
    """A leader that is written to meanwhile: a large list is as it was at one moment, what has a time to live keeps it; and
    collections of large elements."""
    with Cluster(["eu"]) as cluster, cluster.eu.connect() as leader:
        count = 110_000
        leader.pipeline([("RPUSH", "jobs", *range(first, first + 10_000)) for first in range(0, count, 10_000)])
        leader.pipeline([("RPUSH", "heavy list", *[f"{part}:{i}:" + "x" * 130_000 for i in range(13)]) for part in range(40)])
        # At full length its dump would be more than a leader sends.
        leader.pipeline([("HSET", "heavy hash", *[word for i in range(13) for word in (f"{part}:{i}", "x" * 130_000)])
                         for part in range(180 if long else 40)])
        jobs = Jobs(cluster.eu, count)
        jobs.start()
        exported = os.path.join(cluster.directory, "exported.rdb")
        for name in (("exported.rdb", "again.rdb") if long else ("exported.rdb",)):
            run("export", "-p", cluster.eu.port, "--out", os.path.join(cluster.directory, name))
        commands = os.path.join(cluster.directory, "exported.commands")
        run("export", "-p", cluster.eu.port, "--out", commands, "--commands")
        jobs.stop()
        other = start_redis_server(cluster, "--dbfilename", os.path.basename(exported))
        third = start_redis_server(cluster, "--dbfilename", "none.rdb")
        with open(commands, "rb") as file:
            said = subprocess.run(["redis-cli", "-p", str(third), "--pipe"], stdin=file, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
        assert "errors: 0" in said.stdout, said.stdout
        for port in (other, third):
            with Connection(port) as redis:
                numbers = [int(number) for number in redis.call("LRANGE", "jobs", 0, -1)]
                assert numbers == list(range(numbers[0], numbers[0] + count)), f"{len(numbers)} from {numbers[0]} to {numbers[-1]}"
                sessions = redis.call("KEYS", "session:*")
                assert len(sessions) >= 25 and all(ttl > 0 for ttl in redis.pipeline([("PTTL", key) for key in sessions])), sessions
                assert redis.call("LRANGE", "heavy list", 0, -1) == leader.call("LRANGE", "heavy list", 0, -1)
                assert sorted(redis.call("HKEYS", "heavy hash")) == sorted(leader.call("HKEYS", "heavy hash"))
                assert all(len(value) == 130_000 for value in redis.call("HVALS", "heavy hash"))
        print(f"note: {jobs.moved} jobs meanwhile, {len(sessions)} sessions")


def _peak_rss(process):
    with open(f"/proc/{process.pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024


def test_import_large(long):
    """A large data set of all types, a million elements in one key among them, is followed while it is written to, and then
    imported from its file: the importer's memory does not grow with it."""
    with Cluster(["eu"], flags=["--durability", "everysec", "--log-quota", "2gb"]) as cluster:
        port = start_redis_server(cluster, "--rdbcompression", "no", "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb",
                                  "--client-output-buffer-limit", "replica 1gb 512mb 60")
        scale = 50 if long else 1
        with Connection(port, timeout=600) as redis:
            fill(redis, random.Random(8), 20 * scale)
            for i in range(scale):
                redis.call("EVAL", "for i = 1, 10000 do redis.call('SET', 'bulk:' .. ARGV[1] .. ':' .. i, string.rep(ARGV[1] .. i .. '.', 130)) end "
                           "for i = 1, 20000 do redis.call('HSET', 'large:hash', ARGV[1] .. ':' .. i, 'value ' .. i) end "
                           "for i = 1, 20000 do redis.call('RPUSH', 'large:list', ARGV[1] .. ':element:' .. i) end "
                           "for i = 1, 20000 do redis.call('SADD', 'large:set', ARGV[1] .. ':member:' .. i) end "
                           "for i = 1, 20000 do redis.call('ZADD', 'large:zset', i / 3, ARGV[1] .. ':member:' .. i) end "
                           "for i = 1, 10000 do redis.call('XADD', 'large:stream', '*', 'field', 'value ' .. i) end", 0, i)
            redis.call("SET", "large:string", "x" * (60 << 20 if long else 1 << 20))
            writer = Changes(port, 9, 20 * scale)
            writer.start()
            begin = time.monotonic()
            importer = Import(cluster, "--from", f"redis://127.0.0.1:{port}", "--to", f"127.0.0.1:{cluster.eu.port}")
            importer.wait_for("copied ", 1800)
            copied = time.monotonic() - begin
            importer.wait_for("level with the source", 1800)
            level = time.monotonic() - begin
            peak = _peak_rss(importer.process)
            writer.stop()
            importer.cut_over()
            said = run("import", "--from", f"redis://127.0.0.1:{port}", "--to", f"127.0.0.1:{cluster.eu.port}", "--verify-only")
            assert "no difference" in said, said
            redis.call("SAVE")
            size = os.path.getsize(os.path.join(cluster.directory, "dump.rdb"))
            begin = time.monotonic()
            from_file = Import(cluster, "--file", os.path.join(cluster.directory, "dump.rdb"), "--to", f"127.0.0.1:{cluster.eu.port}", "--replace")
            file_peak = 0
            while from_file.process.alive():
                try:
                    file_peak = _peak_rss(from_file.process)
                except (OSError, StopIteration):
                    pass
                time.sleep(0.05)
            from_file.end()
            file_s = time.monotonic() - begin
            assert "no difference" in run("import", "--from", f"redis://127.0.0.1:{port}", "--to", f"127.0.0.1:{cluster.eu.port}", "--verify-only")
            limit = (450 if long else 150) << 20
            assert max(peak, file_peak) < limit, (peak, file_peak)
        print(f"note: {size / 2**20:.0f} MiB; live: copied after {copied:.1f} s, level after {level:.1f} s, {peak / 2**20:.0f} MiB, "
              f"{writer.done} commands meanwhile; file: {file_s:.1f} s, {file_peak / 2**20:.0f} MiB")
