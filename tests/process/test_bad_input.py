"""Bad input from clients: a clear error or a closed connection, bounded memory, no effect, no crash.

The classes are those of known faults in servers of this protocol: sizes that are declared and never
sent, limits before authentication, readers that do not read, patterns that explode, integers at their
edges, other protocols on this port.
"""

import contextlib
import os
import random
import resource
import socket
import time

from cluster import Cluster, until
from resp import ReplyError, encode

MIB = 1 << 20
BULK_MAX = 64 * MIB


@contextlib.contextmanager
def _server(growth_max=64 * MIB, flags=()):
    """One leader; afterwards it must be the same process, healthy, and not much bigger."""
    with Cluster(["eu"], flags=list(flags) + ["--durability", "everysec"]) as cluster:
        leader = cluster.eu
        leader.call("SET", "canary", "alive")
        pid, before = leader.process.pid, leader.process.rss()
        yield leader
        assert leader.alive() and leader.process.pid == pid
        leader.drop_connection()
        begin = time.monotonic()
        assert leader.get("canary") == b"alive"
        assert time.monotonic() - begin < 1, "the server is slow after this"
        growth = leader.process.rss() - before
        assert growth <= growth_max, f"resident memory grew by {growth / MIB:.0f} MiB"


def _exchange(leader, data, wait_s=0.15, end=False):
    """Sends raw bytes, returns (all that came back, whether the server closed)."""
    with socket.create_connection(("127.0.0.1", leader.port), 5) as client:
        with contextlib.suppress(OSError):
            client.sendall(data)
            if end:
                client.shutdown(socket.SHUT_WR)
        client.settimeout(wait_s)
        got = b""
        try:
            while True:
                part = client.recv(65536)
                if not part:
                    return got, True
                got += part
        except TimeoutError:
            return got, False
        except OSError:
            return got, True


def _refused(leader, data, text=None):
    got, closed = _exchange(leader, data, 2)
    assert closed, f"{data[:60]!r} was answered {got[:200]!r} and the connection stays"
    assert got == b"" or got.startswith(b"-"), f"{data[:60]!r}: {got[:200]!r}"
    if text:
        assert text in got, f"{data[:60]!r}: {got[:200]!r}, not {text!r}"


def test_declared_sizes(long):
    with _server() as leader:
        for count in ("2147483647", "2147483648", "9223372036854775807", "9223372036854775808",
                      "99999999999999999999999999", "4294967297", "1048577000", "abc", "1x", "0x10", "1.0",
                      " 1", "1 ", "--1", "\0"):
            _refused(leader, f"*{count}\r\n".encode(), b"invalid multibulk length")
        for size in ("536870913", "2147483648", "9223372036854775807", "-9223372036854775808",
                     "18446744073709551616", "-1", "-2", "abc", "", "1x", " 3", "\0"):
            _refused(leader, f"*1\r\n${size}\r\nPING\r\n".encode(), b"bulk ")
        _refused(leader, b"*1\r\n:4\r\nPING\r\n", b"expected '$', got ':'")
        _refused(leader, b"*1\r\n*1\r\n$4\r\nPING\r\n", b"expected '$', got '*'")
        _refused(leader, b"*1\r\nPING\r\n", b"expected '$', got 'P'")
        for nothing in (b"*0\r\n", b"*-1\r\n", b"*-2147483648\r\n", b"\r\n", b"\n\r\n"):
            got, closed = _exchange(leader, nothing + encode("PING"))
            assert got == b"+PONG\r\n" and not closed, (nothing, got, closed)
        # Many that declare much and send little: nothing may be reserved for what they promise.
        before = leader.process.rss()
        waiting = []
        for i in range(200):
            client = socket.create_connection(("127.0.0.1", leader.port), 5)
            client.sendall(b"*1000000\r\n$3\r\nSET\r\n" if i % 2 else
                           b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$%d\r\nshort" % BULK_MAX)
            waiting.append(client)
        assert leader.call("PING") == b"PONG"
        growth = leader.process.rss() - before
        assert growth < 64 * MIB, f"declared sizes cost {growth / MIB:.0f} MiB"
        for client in waiting:
            client.close()
        assert leader.call("EXISTS", "key") == 0


def test_big_values(long):
    with _server(growth_max=8 * BULK_MAX) as leader:
        value = os.urandom(BULK_MAX - MIB)
        with leader.connect() as client:
            assert client.call("SET", "big", value) == b"OK"
            assert client.call("STRLEN", "big") == len(value)
            assert client.call("GET", "big") == value
        got, closed = _exchange(leader, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % (BULK_MAX + 1), 2)
        assert closed and b"invalid bulk length" in got, (got, closed)
        for command in (("APPEND", "big", "x" * (3 * MIB)), ("SETRANGE", "big", BULK_MAX + 2 * MIB, "x"),
                        ("SETRANGE", "new", 1 << 40, "x"), ("SETRANGE", "new", (1 << 63) - 1, "xx")):
            reply = leader.ask(*command)
            assert isinstance(reply, ReplyError), (command[:2], reply)
        assert leader.call("STRLEN", "big") == len(value) and leader.call("EXISTS", "new") == 0
        assert leader.call("DEL", "big") == 1
        # Cut off in the middle of a value: no half an effect.
        _exchange(leader, b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$100\r\nonly this", 0.05, end=True)
        _exchange(leader, b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$4\r\nabcd", 0.05, end=True)
        assert leader.call("EXISTS", "half") == 0


def test_split_at_every_byte(long):
    commands = [("SET", "a\0b\r\n", b"\0\r\n$5\r\nxx\xff"), ("GET", "a\0b\r\n"), ("INCR", "n"), ("NOSUCH", "x"),
                ("MGET", "n", "none")]
    data = b"".join(encode(*command) for command in commands) + b"PING\r\nset in 'l i\\x41ne'\r\nGET in\nINCR n\r\n"
    with _server() as leader:
        leader.call("DEL", "n")
        wanted, _ = _exchange(leader, data)
        assert wanted.endswith(b":2\r\n"), wanted
        for at in range(1, len(data)):
            leader.call("DEL", "n")
            with socket.create_connection(("127.0.0.1", leader.port), 5) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.sendall(data[:at])
                if at % 8 == 0:
                    leader.call("PING")  # a round trip: the halves do not meet in one read
                client.sendall(data[at:])
                got = b""
                while len(got) < len(wanted):
                    part = client.recv(65536)
                    assert part, f"closed after {got!r}, split at {at}"
                    got += part
                assert got == wanted, f"split at {at}: {got!r}"
        leader.call("DEL", "n")
        with socket.create_connection(("127.0.0.1", leader.port), 5) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(data)):
                client.sendall(data[at:at + 1])
            got = b""
            while len(got) < len(wanted):
                got += client.recv(65536)
            assert got == wanted


def test_inline(long):
    with _server() as leader:
        for line in (b'SET "unbalanced\r\n', b"SET 'unbalanced\r\n", b'GET "a"b\r\n'):
            _refused(leader, line, b"unbalanced quotes in request")
        _refused(leader, b"A" * (65 * 1024), b"too big inline request")
        _refused(leader, b"*" + b"1" * (65 * 1024), b"too big")
        _refused(leader, b"*1\r\n$" + b"1" * (65 * 1024), b"too big")
        for strange in (b"\0\0\0\r\nPING\r\n", b"\0" * 70_000, b"\xff\xfe\r\n", b"\t \r\n", b"''\r\n"):
            _exchange(leader, strange, 0.05)


def test_other_protocols(long):
    hello = bytes.fromhex("16030100f4010000f00303") + os.urandom(200)
    with _server() as leader:
        for request in (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nSET evil 1\r\n",
                        b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n\r\nSET evil 1\r\n",
                        b"PUT /x HTTP/1.1\r\nHost: x\r\n\r\nSET evil 1\r\n"):
            got, closed = _exchange(leader, request, 2)
            assert closed, (request, got)
        _refused(leader, hello)
        _refused(leader, b"Host: x\r\nSET evil 1\r\n")
        assert leader.call("EXISTS", "evil") == 0
        assert _exchange(leader, b"GET canary\r\n")[0] == b"$5\r\nalive\r\n"
        # The peers' port takes nothing from strangers either.
        rubbish = [b"*1\r\n$4\r\nPING\r\n", hello, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b"\0" * 4096,
                   b"\xff\xff\xff\x7f" + b"x" * 100000] + [os.urandom(500) for _ in range(50)]
        for data in rubbish:
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", leader.peer_port), 5) as client:
                    client.sendall(data)
                    client.settimeout(0.05)
                    client.recv(4096)
        assert leader.call("DBSIZE") == 1


def test_before_authentication(long):
    with _server(flags=["--requirepass", "secret"]) as leader:
        for command in (("GET", "canary"), ("SET", "x", "1"), ("INFO",), ("COMMAND",), ("KEYS", "*"),
                        ("CONFIG", "GET", "requirepass"), ("SHUTDOWN",), ("CLIENT", "LIST")):
            got, closed = _exchange(leader, encode(*command))
            assert got.startswith(b"-NOAUTH "), (command, got)
        got, _ = _exchange(leader, encode("AUTH", "wrong"))
        assert got == b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", got
        got, _ = _exchange(leader, encode("AUTH", "secret") + encode("GET", "canary"))
        assert got == b"+OK\r\n$5\r\nalive\r\n", got
        got, _ = _exchange(leader, encode("HELLO", 2, "AUTH", "default", "secret") + encode("GET", "canary"))
        assert got.endswith(b"$5\r\nalive\r\n"), got
        # 8 arguments of 4 KiB; a client that may do more has said who it is.
        got, closed = _exchange(leader, encode("MGET", *["x"] * 7))
        assert got.startswith(b"-NOAUTH ") and not closed, got
        _refused(leader, b"*9\r\n", b"unauthenticated multibulk length")
        got, closed = _exchange(leader, encode("AUTH", "x" * 4096))
        assert got.startswith(b"-WRONGPASS") and not closed, got
        _refused(leader, encode("AUTH", "x" * 4097), b"unauthenticated bulk length")
        _refused(leader, b"*2\r\n$4\r\nAUTH\r\n$4097\r\n", b"unauthenticated bulk length")
        # Replies are limited too: commands that nobody reads the answers of.
        with socket.create_connection(("127.0.0.1", leader.port), 5) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with contextlib.suppress(OSError):
                for _ in range(2000):
                    client.sendall(encode("GET", "canary") * 100)
        crowd = []
        for _ in range(300):
            client = socket.create_connection(("127.0.0.1", leader.port), 5)
            client.setblocking(False)
            with contextlib.suppress(OSError):
                client.send(b"*8\r\n$4096\r\n" + b"x" * 4000)
            crowd.append(client)
        until("the owner still gets in", lambda: leader.connect().call("PING") == b"PONG", 5)
        for client in crowd:
            client.close()
        # Secrets are not shown.
        assert "secret" not in leader.process.log_tail(1000).split("\n", 1)[1], "the password is in the log"


def test_slow_reader(long):
    with _server(growth_max=512 * MIB) as leader:
        leader.call("SET", "big", "x" * (8 * MIB))
        readers = []
        for _ in range(4):
            client = socket.create_connection(("127.0.0.1", leader.port), 5)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            with contextlib.suppress(OSError):
                client.send(encode("GET", "big") * 200)  # 1.6 GB of replies that nobody takes
            readers.append(client)
        worst = 0
        end = time.monotonic() + 3
        while time.monotonic() < end:
            begin = time.monotonic()
            assert leader.call("PING") == b"PONG"
            worst = max(worst, time.monotonic() - begin)
            assert leader.process.rss() < 1200 * MIB, f"{leader.process.rss() / MIB:.0f} MiB for slow readers"
        assert worst < 3, f"others waited {worst:.2f} s"
        for client in readers:
            client.close()
        with leader.connect() as client:  # 16 GB in one reply
            try:
                client.ask("MGET", *["big"] * 2000)
                raise AssertionError("a reply of 16 GB came")
            except OSError:
                pass
        assert leader.process.rss() < 1200 * MIB, f"{leader.process.rss() / MIB:.0f} MiB for one reply"
        with leader.connect() as client:  # one that reads, late but all
            client.send_raw(encode("GET", "canary") * 100_000)
            time.sleep(0.2)
            for _ in range(100_000):
                assert client.read() == b"alive"


def test_many_connections(long):
    count = 9_900 if long else 5_500
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard == resource.RLIM_INFINITY or hard > count + 100, f"only {hard} file descriptors here"
    with _server(growth_max=200 * MIB, flags=["--maxclients", str(count + 50)]) as leader:
        idle = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", leader.port), 10)
            idle.append(client)
        begin = time.monotonic()
        for _ in range(100):
            assert leader.call("PING") == b"PONG"
        assert time.monotonic() - begin < 2, "idle connections slow it down"
        for client in idle[::50]:
            client.sendall(b"PING\r\n")
            assert client.recv(100) == b"+PONG\r\n"
        assert int(leader.info("clients")["connected_clients"]) >= count
        # Beyond maxclients: refused with an error, and those inside are served on.
        refused = 0
        for _ in range(100):
            client = socket.create_connection(("127.0.0.1", leader.port), 10)
            idle.append(client)
            client.sendall(b"PING\r\n")
            try:
                reply = client.recv(100)
            except OSError:
                reply = b""
            refused += reply != b"+PONG\r\n"
            assert reply in (b"+PONG\r\n", b"", b"-ERR max number of clients reached\r\n"), reply
        assert 40 <= refused <= 60, f"{refused} of 100 refused at 50 beyond the limit"
        assert leader.call("PING") == b"PONG"
        for client in idle:
            client.close()
        leader.drop_connection()
        until("they are forgotten", lambda: int(leader.info("clients")["connected_clients"]) < 100, 10)


def test_glob_bombs(long):
    bombs = ["a*" * 500 + "b", "*a" * 200 + "*b", "*?" * 300 + "b", "[a-z]*" * 150 + "b", "*" * 1000 + "b",
             "[" * 1000, "\\" * 999, "[^" * 500, "[a-" * 300, "*[" * 400]
    with _server() as leader:
        for i in range(50):
            leader.call("SET", "a" * 2000 + str(i), "x")
        for bomb in bombs + ["x" * MIB, "*" * MIB, "a*" * (MIB // 2)]:
            for command in (("KEYS", bomb), ("SCAN", "0", "MATCH", bomb, "COUNT", "1000"),
                            ("CONFIG", "GET", bomb), ("CONFLICT", "LIST", "MATCH", bomb)):
                begin = time.monotonic()
                leader.ask(*command)
                spent = time.monotonic() - begin
                assert spent < 1, f"{command[0]} {bomb[:20]}... took {spent:.1f} s"
        for bomb in bombs:
            if not isinstance(leader.ask("POLICY", "SET", bomb, "siblings"), ReplyError):
                begin = time.monotonic()
                for i in range(50):
                    leader.ask("SET", "a" * 2000 + str(i), "y")
                assert time.monotonic() - begin < 1, f"policy {bomb[:20]}... slows writes down"
                leader.call("POLICY", "DEL", bomb)


EDGES = ["0", "-0", "1", "-1", "2147483647", "2147483648", "-2147483648", "-2147483649", "4294967295",
         "4294967296", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
         "-9223372036854775809", "18446744073709551615", "18446744073709551616", "", " 1", "1 ", "+1", "01",
         "1e3", "0x10", "1.5", "nan", "inf", "-inf", "1e400", "9" * 400, "\0", "1\0"]


def test_integer_edges(long):
    templates = [
        ("INCRBY", "n", "?"), ("DECRBY", "n", "?"), ("INCRBYFLOAT", "n", "?"), ("SETRANGE", "s", "?", "x"),
        ("GETRANGE", "s", "?", "?"), ("SUBSTR", "s", "?", "?"), ("EXPIRE", "s", "?"), ("PEXPIRE", "s", "?"),
        ("EXPIREAT", "s", "?"), ("PEXPIREAT", "s", "?"), ("EXPIRE", "s", "?", "GT"), ("SET", "t", "x", "EX", "?"),
        ("SET", "t", "x", "PX", "?"), ("SET", "t", "x", "EXAT", "?"), ("SET", "t", "x", "PXAT", "?"),
        ("SETEX", "t", "?", "x"), ("PSETEX", "t", "?", "x"), ("GETEX", "s", "EX", "?"), ("GETEX", "s", "PXAT", "?"),
        ("SCAN", "?"), ("SCAN", "0", "COUNT", "?"), ("SELECT", "?"), ("COPY", "s", "u", "DB", "?"),
        ("LCS", "s", "n", "MINMATCHLEN", "?", "IDX"), ("HELLO", "?"), ("CLIENT", "KILL", "ID", "?"),
        ("CONFLICT", "LIST", "COUNT", "?"), ("CONFLICT", "LOG", "COUNT", "?"), ("CONFLICT", "LOG", "AFTER", "?"),
        ("CONFLICT", "RESTORE", "?", "?"), ("CONFLICT", "RESOLVE", "s", "?", "x"), ("LINK", "DELAY", "us", "?"),
        ("LINK", "DELAY", "?", "?"), ("OBJECT", "ENCODING", "?"),
        ("LOLWUT", "VERSION", "?"), ("MEMORY", "USAGE", "s", "SAMPLES", "?"), ("OBJECT", "FREQ", "?")]
    with _server(growth_max=512 * MIB) as leader:
        for template in templates:
            for edge in EDGES:
                with leader.connect() as client:  # CLIENT KILL hits kept ones
                    client.pipeline([("DEL", "n", "s", "t", "u"), ("SET", "n", "5"), ("SET", "s", "some text")])
                for other in ([edge] if template.count("?") < 2 else [edge, "0", "-1"]):
                    rest = iter([edge, other])
                    command = [next(rest) if word == "?" else word for word in template]
                    with leader.connect(timeout=10) as client:
                        try:
                            client.ask(*command)
                            client.ask("PING")
                        except ConnectionError:
                            pass  # CLIENT KILL may hit this one
                        except TimeoutError:
                            raise AssertionError(f"no answer to {command}") from None
                    assert leader.alive(), f"{command} ended the server:\n" + leader.process.log_tail()
        # Every command, with every count of arguments up to 6, of every kind.
        leader.drop_connection()
        names = [entry[0].decode() for entry in leader.call("COMMAND")]
        draw = random.Random(5)
        words = ["s", "n", "", "0", "-1", "GET", "NX", "HELP", "MATCH", "*", "9223372036854775807", "\0\xff"]
        for name in names:
            if name in ("shutdown", "debug", "monitor", "subscribe", "psubscribe", "quit", "sync", "psync"):
                continue
            for count in range(0, 7):
                for _ in range(3):
                    command = [name] + [draw.choice(words) for _ in range(count)]
                    with leader.connect(timeout=10) as client:
                        try:
                            client.ask(*command)
                        except (ConnectionError, ValueError):
                            pass  # RESET and HELLO 3 change the connection
                        except TimeoutError:
                            raise AssertionError(f"no answer to {command}") from None
                    assert leader.alive(), f"{command} ended the server:\n" + leader.process.log_tail()
        leader.drop_connection()
        leader.call("SET", "canary", "alive")


def test_random_bytes(long):
    draw = random.Random(6)
    pieces = [b"*", b"$", b"\r\n", b"\n", b"\r", b"3", b"-1", b"SET", b"GET", b"k", b"*3\r\n$3\r\nSET\r\n", b"$1\r\nk\r\n",
              b"\0", b"'", b'"', b"\\x", b" ", b"999999999999", b"PING\r\n", b"%2\r\n", b"~", b">", b"_\r\n", b":1\r\n"]
    with _server() as leader:
        for i in range(20_000 if long else 2_000):
            if i % 2:
                data = b"".join(draw.choice(pieces) for _ in range(draw.randrange(1, 40)))
            else:
                data = draw.randbytes(draw.randrange(1, 300))
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", leader.port), 5) as client:
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    client.settimeout(5)
                    while client.recv(65536):
                        pass
            if i % 100 == 0:
                assert leader.call("PING") == b"PONG"
        leader.call("SET", "canary", "alive")


def test_limits_of_clients(long):
    """CONFIG SET of limits that concern connections is in force at once, for those that are there, too."""
    with _server() as leader:
        reader, idle, listener, waiter, paused = (leader.connect() for _ in range(5))
        listener.call("SUBSCRIBE", "ch")
        waiter.send_raw(encode("BLPOP", "queue", "0"))
        leader.call("SET", "big", "x" * 3_000_000)
        assert len(reader.call("GET", "big")) == 3_000_000
        leader.call("CONFIG", "SET", "client-output-buffer-limit", "normal 8mb 0 0")
        reader.send_raw(encode("GET", "big") * 40)
        until("who does not read is cut off", lambda: leader.info("stats")["client_output_buffer_limit_disconnections"] == "1")
        leader.call("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
        assert len(leader.call("GET", "big")) == 3_000_000
        # A lower limit reaches who has stopped reading before.
        reader = leader.connect()
        reader.send_raw(encode("GET", "big") * 8)
        until("its replies wait", lambda: any(
            int(client.split(b" omem=")[1].split()[0]) > 2_000_000 for client in leader.call("CLIENT", "LIST").splitlines()))
        leader.call("CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0")
        until("it is cut off", lambda: leader.info("stats")["client_output_buffer_limit_disconnections"] == "2")
        leader.call("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
        # One that waits for the end of a pause is not idle.
        leader.call("CLIENT", "PAUSE", "2500", "WRITE")
        paused.send_raw(encode("SET", "paused", "1"))
        leader.call("CONFIG", "SET", "timeout", "1")
        until("who is idle is gone", lambda: leader.call("PING") == b"PONG" and _closed(idle))
        assert leader.call("PUBLISH", "ch", "still there") == 1
        leader.call("RPUSH", "queue", "1")
        assert waiter.read() == [b"queue", b"1"]
        assert paused.read() == b"OK"
        assert leader.call("CONFIG", "GET", "timeout") == [b"timeout", b"1"]


def test_maxclients_at_run_time(long):
    with _server() as leader:
        leader.call("PING")
        first = leader.connect()
        assert first.call("PING") == b"PONG"
        assert leader.call("CONFIG", "SET", "maxclients", "2") == b"OK"
        for asked, said in ((b"0", "between 1 and"), (b"x", "between 1 and"), (b"2147483647", "not able to handle")):
            try:
                raise AssertionError(leader.call("CONFIG", "SET", "maxclients", asked))
            except ReplyError as error:
                assert said in str(error), error
        assert leader.call("CONFIG", "GET", "maxclients") == [b"maxclients", b"2"]
        assert leader.info("clients")["maxclients"] == "2"
        with socket.create_connection(("127.0.0.1", leader.port)) as third:
            third.settimeout(5)
            assert third.recv(100) == b"-ERR max number of clients reached\r\n"
        # Fewer than there are: these stay.
        assert leader.call("CONFIG", "SET", "maxclients", "1") == b"OK"
        assert first.call("PING") == b"PONG"
        assert leader.call("CONFIG", "SET", "maxclients", "10") == b"OK"
        assert leader.connect().call("PING") == b"PONG"


def _closed(connection):
    connection.socket.setblocking(False)
    try:
        return connection.socket.recv(1) == b""
    except BlockingIOError:
        return False


def test_lines_of_the_log(long):
    """What a client has the server log stays one line, and does nothing to a terminal."""
    with _server() as leader:
        leader.call("EVAL", "redis.log(redis.LOG_WARNING, 'begin\\n2026-01-01T00:00:00.000 eu error: forged \\27[2J\\194\\155 end')", "0")
        leader.call("DEBUG", "LOG", b"begin\r\nforged \xff end")
        lines = leader.process.log_tail(1000).splitlines()
        told = [line for line in lines if "forged" in line]
        assert len(told) == 2 and all("begin" in line and line.endswith("end") for line in told), told
        assert "\\x0a2026" in told[0] and "\\x1b[2J\\xc2\\x9b" in told[0], told
        assert "\\x0d\\x0aforged \\xff" in told[1], told
