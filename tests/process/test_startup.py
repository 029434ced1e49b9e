"""Starting and stopping: errors of one line that name the cause, exit codes, a clean end under load."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from cluster import BINARY, ROOT, Cluster, Leader, Process, die_with_parent, free_port, port_is_free, until
from resp import Connection, ReplyError, encode

CLEAN, RUN_TIME, USAGE = 0, 1, 2


def _fails(code, word, *flags):
    done = subprocess.run([BINARY, "server", "--http-port", "0", *flags], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
    lines = done.stdout.strip().splitlines()
    assert done.returncode == code, (flags, done.returncode, done.stdout)
    assert 1 <= len(lines) <= 2 and word in done.stdout, (flags, done.stdout)


def test_startup_errors(long):
    with Cluster(["eu"]) as cluster:
        eu = cluster.eu
        spare = str(free_port((0, 1000)))

        def fresh(name):
            return os.path.join(cluster.directory, name)
        _fails(RUN_TIME, "in use", "--id", "x", "--port", str(eu.port), "--dir", fresh("1"))
        _fails(RUN_TIME, "in use", "--id", "x", "--port", spare, "--peer-port", str(eu.peer_port), "--dir", fresh("2"))
        _fails(RUN_TIME, "in use", "--id", "eu", "--port", spare, "--dir", eu.directory)
        _fails(RUN_TIME, "directory", "--id", "x", "--port", spare, "--dir", "/proc/none")
        _fails(USAGE, "--port", "--id", "x", "--port", "99999", "--dir", fresh("3"))
        _fails(USAGE, "--id", "--id", "no name", "--port", spare, "--dir", fresh("4"))
        _fails(USAGE, "--requirepass", "--id", "x", "--port", spare, "--bind", "0.0.0.0", "--dir", fresh("5"))
        _fails(USAGE, "durability", "--id", "x", "--port", spare, "--durability", "maybe", "--dir", fresh("6"))
        for option, value in [
                ("--peer-port", "-5"), ("--log-segment", "100"), ("--log-ring", "0"), ("--checkpoint-bytes", "0"), ("--max-bulk", "10"),
                ("--max-bulk", "1gb"), ("--maxclients", "0"), ("--conflict-log-age", "-1"),
                ("--conflict-log-age", "9223372036854775807"), ("--max-clock-skew", "-5s"), ("--join", "nowhere"),
                ("--advertise", "host:0")]:
            what = "HOST:PEERPORT" if option in ("--join", "--advertise") else option
            _fails(USAGE, what, "--id", "x", "--port", spare, "--dir", fresh("7"), option, value)
        _fails(USAGE, "none.toml", "--id", "x", "--config", fresh("none.toml"))
        with open(fresh("bad.toml"), "w", encoding="utf-8") as file:
            file.write("id = 'x'\nno_such_key = 1\n")
        _fails(USAGE, "no_such_key", "--id", "x", "--config", fresh("bad.toml"))
        _fails(USAGE, "is a directory", "--id", "x", "--config", cluster.directory)
        for text, words in [
                ("bind = ['127.0.0.1'\n", "this is no TOML"), ("id = w\n", "this is no TOML"), ("\nlog_quota = '1gb'\n", ":2: unknown key 'log_quota' (log-quota?)"),
                ("port = '7001'\n", ":1: 'port' is a whole number"), ("join = [1]\n", ":1: 'join' is a list of texts"),
                ("[server]\nport = 1\n", ":1: 'server' is a table"), ("log-ring = 'much'\n", ":1: log-ring: 64kb to 16gb, not 'much'")]:
            with open(fresh("bad.toml"), "w", encoding="utf-8") as file:
                file.write(text)
            _fails(USAGE, words, "--id", "x", "--config", fresh("bad.toml"))
        for flags, words in [
                (["--port", "abc"], "--port: a port is 0 to 65535, not 'abc'"), (["--prot", "1", "2"], "unknown flag '--prot' (port?)"),
                (["--port"], "--port needs a value"), (["lost"], "'lost'"),
                (["--port", "7001", "--peer-port", "7001"], "--port and --peer-port are both 7001")]:
            _fails(USAGE, words, "--id", "x", "--dir", fresh("8"), *flags)
        assert not os.path.exists(fresh("1")) and not os.path.exists(fresh("8")), "the directory was touched for nothing"
        eu.terminate()
        _fails(RUN_TIME, "eu", "--id", "other", "--port", spare, "--dir", eu.directory)


def test_log_that_nobody_reads(long):
    """A full pipe at standard error holds no client; what was dropped is counted and told, and the last lines are not lost."""
    with tempfile.TemporaryDirectory(prefix="polyarch-pipe-") as scratch:
        port = free_port((0, 1000))
        reader, writer = os.pipe()
        fcntl.fcntl(writer, 1031, 4096)  # F_SETPIPE_SZ
        child = subprocess.Popen([BINARY, "server", "--id", "eu", "--port", str(port), "--http-port", "0", "--dir", scratch],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer, start_new_session=True,
                                 preexec_fn=die_with_parent)
        os.close(writer)
        try:
            def connection():
                assert child.poll() is None, child.returncode
                try:
                    made = Connection(port)
                    made.call("PING")
                    return made
                except (OSError, ReplyError):
                    return None
            client = until("it answers", connection)

            def dropped():
                client.call("EVAL", "for i = 1, 100 do redis.log(redis.LOG_WARNING, string.rep('x', 4000)) end", "0")
                stats = client.call("INFO", "stats").decode()
                return int(stats.split("log_lines_dropped:")[1].split()[0])
            until("lines are dropped", dropped)
            assert client.call("SET", "k", "v") == b"OK"
            text = b""
            os.set_blocking(reader, False)

            def told():
                nonlocal text
                try:
                    text += os.read(reader, 65536)
                except BlockingIOError:
                    pass
                return b"lines of this log were dropped: nobody read standard error" in text
            until(lambda: f"it is told: {text[-500:]!r}", told)
            child.send_signal(signal.SIGTERM)
            os.set_blocking(reader, True)
            while part := os.read(reader, 65536):
                text += part
            assert child.wait(15) == 0
            assert text.endswith(b"stopped\n"), text[-300:]
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            os.close(reader)


def test_directory_of_others(long):
    """A directory that holds something and no leader's data is refused, and left as it is."""
    with tempfile.TemporaryDirectory(prefix="polyarch-others-") as scratch:
        spare = str(free_port((0, 1000)))

        def directory(name, files):
            path = os.path.join(scratch, name)
            for file in files:
                os.makedirs(os.path.dirname(os.path.join(path, file)), exist_ok=True)
                with open(os.path.join(path, file), "w", encoding="utf-8") as made:
                    made.write("theirs")
            return path

        def names(path):
            return sorted(os.path.join(at, name) for at, folders, files in os.walk(path) for name in folders + files)
        for path, word in [(directory("a", ["letter.txt"]), "'letter.txt'"), (directory("b", ["log/syslog"]), "'log'"),
                           (directory("c", ["LOCK", "CURRENT"]), "holds no leader's data")]:
            before = names(path)
            _fails(RUN_TIME, word, "--id", "x", "--port", spare, "--dir", path)
            assert names(path) == before, names(path)
        # What an empty volume holds, and where the log of this very process goes.
        fresh = directory("d", ["lost+found/x", ".snapshot/y"])
        leader = Leader("eu", fresh, log_path=os.path.join(fresh, "server.log"))
        leader.start()
        assert leader.call("SET", "k", "v") == b"OK"
        leader.terminate()
        _fails(RUN_TIME, "holds no leader's data", "--id", "eu", "--port", spare, "--dir", os.path.join(fresh, "store"))
        directory("d", ["letter.txt"])
        leader.start()
        assert leader.get("k") == b"v", "beside a leader's data other files do no harm"
        leader.terminate()


def test_configuration_file(long):
    """Values are what TOML says they are: a password may hold anything."""
    port = free_port((0, 1000, 2000))
    with Cluster(["spare"]) as cluster:
        path = os.path.join(cluster.directory, "x.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""# a leader
id = "x"          # its name
port = {port}
bind = ["127.0.0.1"]
join = []
dir = '{cluster.directory}/x'
requirepass = "se#cret, \\"a\\\\b\\""
log-quota = "64mb"
max-clock-skew = 2000
unix-socket = '{cluster.directory}/x.sock'
""")
        child = subprocess.Popen([BINARY, "server", "--config", path], stderr=subprocess.DEVNULL)
        try:
            def serves():
                try:
                    with Connection(port) as connection:
                        return connection.call("AUTH", 'se#cret, "a\\b"') == b"OK" and connection
                except OSError:
                    return False
            until("it serves", serves)
            with Connection(port) as connection:
                connection.call("AUTH", 'se#cret, "a\\b"')
                assert connection.call("CONFIG", "GET", "log-quota") == [b"log-quota", str(64 << 20).encode()]
                assert connection.call("CONFIG", "GET", "max-clock-skew") == [b"max-clock-skew", b"2000ms"]
            path = os.path.join(cluster.directory, "x.sock")
            assert os.stat(path).st_mode & 0o777 == 0o700
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.sendall(encode("AUTH", 'se#cret, "a\\b"') + encode("CONFIG", "GET", "unixsocket"))
                expected = b"+OK\r\n" + encode("unixsocket", path)
                reply = b""
                while len(reply) < len(expected):
                    reply += client.recv(4096)
                assert reply == expected, reply
        finally:
            child.terminate()
            child.wait(10)


def test_join_that_leads_nowhere(long):
    """Said in the log, address by address, and to clients."""
    with Cluster(["eu"]) as cluster:
        eu = cluster.eu
        port, closed = free_port((0, 1000)), free_port()
        wrong = [f"127.0.0.1:{eu.port}", f"127.0.0.1:{closed}", "nowhere.invalid:8001", f"127.0.0.1:{port + 1000}"]
        late = Leader("late", os.path.join(cluster.directory, "late"), ["--http-port", "0"], port=port)
        cluster.leaders["late"] = late
        late.start(join=wrong, extra=["--durability", "always"])

        def log():
            with open(late.log_path, encoding="utf-8") as file:
                return file.read()
        until("the log says why", lambda: log().count("cannot join: ") >= 4)
        for address, why in zip(wrong, ("speaks no peer protocol", "connection refused", "", "own address")):
            assert f"cannot join: {address}: " in log() and why in log(), log()
        reply = late.ask("SET", "k", "v")
        assert isinstance(reply, ReplyError) and "no member reached (tried " + ", ".join(wrong) in reply.text, reply
        late.terminate()
        # One right address is enough.
        late.start(join=[wrong[0], eu.peer_address], extra=["--durability", "always"])
        until("it is admitted", lambda: late.ask("SET", "k", "v") == b"OK")


def test_password_set_later(long):
    """Nobody who is connected is shut out; what would shut all out, or let all in, is refused."""
    with Cluster(["eu"]) as cluster:
        eu = cluster.eu
        assert eu.call("AUTH", "default", "any") == b"OK", "no password is required"
        assert b"proto" in eu.call("HELLO", "2", "AUTH", "default", "any")
        with Connection(eu.port) as before, Connection(eu.port) as waiting:
            before.call("PING")
            waiting.send_raw(encode("BLPOP", "queue", "0"))
            until("it waits", lambda: b"blocked_clients:1" in before.call("INFO", "clients"))
            reply = before.ask("CONFIG", "SET", "requirepass", "x" * 5000)
            assert isinstance(reply, ReplyError) and "at most 4096 bytes" in reply.text, reply
            assert before.call("CONFIG", "SET", "requirepass", "secret") == b"OK"
            with Connection(eu.port) as after:
                reply = after.ask("SET", "k", "v")
                assert isinstance(reply, ReplyError) and reply.text.startswith("NOAUTH"), reply
                assert after.call("AUTH", "secret") == b"OK"
                time.sleep(1.5)  # what has not authenticated is closed after a second
                assert before.call("SET", "k", "v") == b"OK"
                assert after.call("RPUSH", "queue", "job") == 1
            assert waiting.read() == [b"queue", b"job"]
            assert before.call("CONFIG", "SET", "requirepass", "") == b"OK"


def test_clean_stop(long):
    """SIGTERM under load: a clean end well within 10 s, and nothing acknowledged is missing."""
    with Cluster(["eu", "us"]) as cluster:
        acknowledged = []
        errors = []

        def write(name):
            try:
                with Connection(cluster.eu.port) as connection:
                    for i in range(10_000_000):
                        reply = connection.call("SET", f"{name}:{i}", i)
                        assert reply == b"OK", reply
                        acknowledged.append((f"{name}:{i}", str(i).encode()))
            except (OSError, ReplyError) as error:
                errors.append(error)
        for round_ in range(5 if long else 2):
            writers = [threading.Thread(target=write, args=(f"w{round_}.{n}",), daemon=True) for n in range(8)]
            for writer in writers:
                writer.start()
            time.sleep(0.5)
            begin = time.monotonic()
            cluster.eu.terminate()
            took = time.monotonic() - begin
            assert took < 10, f"stopped after {took:.1f} s"
            for writer in writers:
                writer.join(10)
                assert not writer.is_alive(), "a client was left without an answer or an end"
            cluster.restart("eu")
        keys = [key for key, _ in acknowledged]
        assert len(keys) > 100
        cluster.wait_converged()
        for leader in cluster.living():
            assert leader.call("MGET", *keys) == [value for _, value in acknowledged]
        try:
            cluster.us.call("SHUTDOWN")
        except (OSError, ReplyError):
            pass
        code = cluster.us.process.child.wait(10)
        assert code == CLEAN, code


def test_run(long):
    """What `./run` starts: three leaders that answer, that end with it, and that go on with their data."""
    port = free_port((0, 1, 2, 1000, 1001, 1002))
    with tempfile.TemporaryDirectory(prefix="polyarch-test-") as data:
        program = [sys.executable, os.path.join(ROOT, "tools", "leaders.py"), "--port", str(port), "--data", data]
        took = []
        for round_ in range(2):
            begin = time.monotonic()
            process = Process(program, os.path.join(data, f"run.{round_}"), signal.SIGTERM)
            try:
                until("it says that they are up", lambda: "Three leaders are up" in process.log_tail())
                took.append(time.monotonic() - begin)
                with Connection(port) as eu, Connection(port + 2) as asia:
                    if round_ == 0:
                        assert eu.call("SET", "k", "v") == b"OK"
                    until("asia has it", lambda: asia.call("GET", "k") == b"v")
                if round_ == 0:
                    text = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
                    assert text.returncode == 1 and f"port {port} (of leader eu) is in use" in text.stderr, text
                assert process.stop() == 0
                assert all(port_is_free(p) for p in (port, port + 1, port + 2)), "a leader is left"
            finally:
                process.kill()
        print(f"note: first start {took[0]:.2f} s, second {took[1]:.2f} s")
