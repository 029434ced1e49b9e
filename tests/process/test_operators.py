"""What operators use: /metrics, /healthz, /readyz, and the subcommands against living and dead leaders."""

import fcntl
import http.client
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

from cluster import BINARY, Cluster, Leader, free_port, until
from resp import ReplyError
from test_backup import polyarch


def get(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def metrics(port):
    """{name or name{labels}: value}; checks the form on the way."""
    status, text = get(port, "/metrics")
    assert status == 200
    values, types, helps = {}, {}, {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, help_ = line[7:].split(" ", 1)
            assert name not in helps and help_.endswith("."), line
            helps[name] = help_
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name in helps and kind in ("gauge", "counter", "untyped"), line
            assert (kind == "counter") == name.endswith("_total"), line
            types[name] = kind
        else:
            match = re.fullmatch(r'([a-z_]+)(\{[^}]*\})? (-?[0-9.]+)', line)
            assert match and match.group(1) == list(types)[-1], f"a sample outside of its family: {line}"
            values[match.group(1) + (match.group(2) or "")] = float(match.group(3))
    return values, types


def test_http(long):
    ports = {name: free_port() for name in ("eu", "us", "asia")}
    flags = {name: ["--http-port", str(port)] for name, port in ports.items()}
    with Cluster(flags_of=flags) as cluster:
        eu = cluster.eu
        eu.pipeline([("INCR", "n")] * 100)
        cluster.wait_converged()
        for port in ports.values():
            assert get(port, "/healthz") == (200, "ok\n")
            assert get(port, "/readyz?full=1") == (200, "ready\n")
            assert get(port, "/healthz", "HEAD") == (200, "")
        assert get(ports["eu"], "/nothing")[0] == 404

        # Every number of INFO replication and persistence has a metric.
        values, types = metrics(ports["eu"])
        assert "untyped" not in types.values(), [n for n, t in types.items() if t == "untyped"]
        renamed = {"checkpoint_age_ms": "checkpoint_age_seconds", "checkpoints_done": "checkpoints_total",
                   "backups_done": "backups_total", "backup_last_time": "backup_last_timestamp_seconds",
                   "causal_waiting": "causal_waiting_frames", "rdb_changes_since_last_save": "changes_since_checkpoint",
                   "rdb_last_bgsave_time_sec": "checkpoint_last_seconds"}
        # What Redis's clients look for, and is told under other names, or says nothing here.
        redis = ("connected_slaves", "loading", "master_repl_offset", "rdb_bgsave_in_progress", "rdb_last_save_time",
                 "aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled", "aof_current_size", "async_loading",
                 "rdb_current_bgsave_time_sec", "second_repl_offset")
        for section in ("replication", "persistence"):
            for name, value in eu.info(section).items():
                if not re.fullmatch(r"-?\d+", value) or name in ("leader_id", "incarnation", *redis):
                    continue
                name = "polyarch_" + renamed.get(name, name)
                assert any(n in values for n in (name, name + "_total", name + "_bytes")), name
        assert values["polyarch_changes_local_total"] >= 100
        for name in ("expired_keys_total", "error_replies_total", "scripts_compiled", "functions", "libraries",
                     "keyspace_hits_total", "keyspace_misses_total", "commands_per_second", "memory_used_peak_bytes",
                     "memory_system_bytes", "client_reads_total", "client_writes_total"):
            assert f"polyarch_{name}" in values, name
        assert values["polyarch_ready"] == 1
        assert values['polyarch_keys{db="0"}'] == 1
        for peer in ("us", "asia"):
            for name in ("up", "lag_changes", "lag_seconds", "received_bytes_total", "sent_bytes_total",
                         "clock_difference_seconds"):
                assert f'polyarch_link_{name}{{peer="{peer}"}}' in values, (name, peer)
            assert values[f'polyarch_link_up{{peer="{peer}"}}'] == 1
        before = values

        eu.call("LINK", "CUT", "us")
        cluster.asia.kill()
        eu.pipeline([("INCR", "n")] * 50)

        def seen():
            now, _ = metrics(ports["eu"])
            return (now['polyarch_link_cut{peer="us"}'] == 1 and now['polyarch_link_up{peer="asia"}'] == 0
                    and now['polyarch_unclaimed_changes{leader="asia"}'] >= 50
                    and now['polyarch_link_lag_changes{peer="us"}'] >= 50)
        until("the metrics follow", seen)
        assert metrics(ports["eu"])[0]["polyarch_changes_local_total"] >= before["polyarch_changes_local_total"] + 50

        # One that has not been admitted is alive, not ready, and says why.
        port, http_port = free_port((0, 1000)), free_port()
        from cluster import Leader
        late = Leader("late", os.path.join(cluster.directory, "late"), ["--http-port", str(http_port)], port=port)
        cluster.leaders["late"] = late
        late.start(join=[cluster.asia.peer_address], extra=["--durability", "always"])
        status, text = get(http_port, "/readyz")
        assert status == 503 and "admitted" in text and len(text.splitlines()) == 1, text
        assert get(http_port, "/healthz") == (200, "ok\n")
        assert metrics(http_port)[0]["polyarch_ready"] == 0
        assert "ATTENTION" in polyarch("status", "-p", late.port)
        assert "client port?" in polyarch("status", "-p", http_port, "--timeout", "0.5", code=1)


def _resolve_by_hand(cluster):
    """What `conflicts resolve` asks, and what it makes of the answers."""
    eu, us = cluster.eu, cluster.us

    def answer(text, *arguments):
        done = subprocess.run([BINARY, "conflicts", "resolve", "-p", str(eu.port), *arguments], input=text, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout
    cluster.isolate("eu")
    for leader in (eu, us):
        for key in ("wiki:a", "wiki:b", "wiki:c*", "wiki:d"):
            leader.call("SET", key, f"{leader.name}'s {key}")
        leader.call("HSET", "wiki:h", "title", leader.name, "same", "x")
    us.call("DEL", "wiki:d")
    cluster.heal_all()
    cluster.wait_converged()
    assert polyarch("conflicts", "list", "-p", eu.port) == "wiki:a\nwiki:b\nwiki:c*\nwiki:d\nwiki:h field title\n"
    # Of a hash it is the field that is in conflict: its key leads there.
    assert "polyarch conflicts show wiki:h --field title" in polyarch("conflicts", "show", "wiki:h", "-p", eu.port)
    assert "us" in polyarch("conflicts", "show", "wiki:h", "--field", "title", "-p", eu.port)
    listed = json.loads(polyarch("conflicts", "--json", "-p", eu.port))
    assert {"key": "wiki:h", "field": "title", "type": "hash"} in listed, listed
    assert {"key": "wiki:a", "field": None, "type": "string"} in listed, listed
    told = answer("7\n2\n", "wiki:a")
    assert "[1] eu" in told and "[2] us" in told and "none of these" in told and "1 resolved, 0 left" in told, told
    assert "3 left (1 skipped)" in answer("e\nboth's\ns\nq\n"), told
    assert "1 resolved, 0 left" in answer("2\n", "wiki:d")
    assert "1 resolved, 0 left" in answer("d\n", "wiki:h", "--field", "title")
    assert "1 resolved, 0 left" in answer("1\n", "wiki:c*")
    assert "no open conflicts" in answer("", "--match", "wiki:*")
    for key, value in (("wiki:a", "us's wiki:a"), ("wiki:b", "both's"), ("wiki:c*", "eu's wiki:c*"), ("wiki:d", None)):
        cluster.wait_get(key, value)
    assert us.call("HGETALL", "wiki:h") == [b"same", b"x"]

    # A delete that is shown already: DEL answers 0, and ends the conflict all the same.
    eu.call("POLICY", "SET", "wiki:e", "priority", "eu", "us")
    cluster.wait_converged()
    cluster.isolate("eu")
    eu.call("SET", "wiki:e", "A")
    eu.call("DEL", "wiki:e")
    us.call("SET", "wiki:e", "B")
    cluster.heal_all()
    cluster.wait_converged()
    assert eu.call("GET", "wiki:e") is None
    assert "1 resolved, 0 left" in answer("d\n", "wiki:e")
    assert polyarch("conflicts", "list", "-p", eu.port) == "no open conflicts\n"
    eu.call("POLICY", "DEL", "wiki:e")
    cluster.wait_get("wiki:e", None)
    # A lost value is written back without naming its tag.
    cluster.isolate("eu")
    eu.call("SET", "back", "first")
    us.call("SET", "back", "second")
    cluster.heal_all()
    cluster.wait_converged()
    log = json.loads(polyarch("conflicts", "log", "--match", "back", "--leader", "eu", "-p", eu.port, "--json"))
    assert polyarch("conflicts", "log", "--match", "back", "--leader", "us", "-p", eu.port).startswith("nothing was")
    assert polyarch("conflicts", "restore", log[0]["id"], "-p", eu.port) == "OK\n"
    cluster.wait_get("back", "first")
    assert "there is no entry 3" in polyarch("conflicts", "restore", "3", "-p", eu.port, code=1)
    us.call("DEL", "back", "wiki:a", "wiki:b", "wiki:c*", "wiki:h")
    cluster.wait_converged()


def test_operator_commands(long):
    with Cluster() as cluster:
        eu, us = cluster.eu, cluster.us
        port = ["-p", eu.port]
        status = polyarch("status", *port)
        assert "leader eu at" in status and "ATTENTION" not in status, status
        data = json.loads(polyarch("status", *port, "--json"))
        assert [leader["id"] for leader in data["leaders"]] == ["asia", "eu", "us"]
        assert data["admitted"] is True and data["attention"] == []
        assert "writes/s" in polyarch("top", *port, "--once", "--interval", "0.2")
        topology = polyarch("topology", *port)
        assert "us" in topology and "routes" in topology, topology
        assert "routes" in json.loads(polyarch("topology", *port, "--json"))

        assert "lww" in polyarch("policy", *port)
        polyarch("policy", "set", "wiki:*", "siblings", *port)
        assert json.loads(polyarch("policy", *port, "--json")) == {"wiki:*": "siblings"}
        assert polyarch("policy", "get", "wiki:x", *port) == "siblings\n"
        polyarch("policy", "set", "wiki:*", "FIELD", "best", "merge", "MAX", *port)
        assert polyarch("policy", "get", "wiki:x", "--field", "best", *port) == "merge MAX\n"
        assert polyarch("policy", "del", "wiki:*", "--field", "best", *port) == "removed\n"
        assert polyarch("policy", "get", "wiki:x", "--field", "best", *port) == "siblings\n"
        assert "unknown policy" in polyarch("policy", "set", "x", "best", *port, code=1)
        assert "see polyarch policy list" in polyarch("policy", "del", "nothing", *port, code=1)

        # A decided conflict and an open one, from the list to their end.
        cluster.isolate("eu")
        eu.call("SET", "plain", "from eu")
        us.call("SET", "plain", "from us")
        eu.call("SET", "wiki:home", "eu's")
        us.call("SET", "wiki:home", "us's \x1b[2J")
        cluster.heal_all()
        cluster.wait_converged()
        # Under lww a key with two versions is open too, until somebody writes it with knowledge of both.
        assert polyarch("conflicts", *port) == "plain\nwiki:home\n"
        assert polyarch("conflicts", "list", "--match", "wiki:*", *port) == "wiki:home\n"
        shown = polyarch("conflicts", "show", "wiki:home", *port)
        assert "\\x1b[2J" in shown and "\x1b" not in shown, shown
        assert re.search(r"^\* eu's +\| us's", shown, re.M), shown
        token = re.search(r"token  (\S+)", shown).group(1)
        assert polyarch("conflicts", "resolve", "wiki:home", token, "both", *port) == "OK\n"
        assert polyarch("conflicts", "list", *port) == "plain\n"
        log = json.loads(polyarch("conflicts", "log", "--match", "plain", *port, "--json"))
        assert len(log) == 1, log
        lost = log[0]["lost"][0]
        assert f"lost   {lost[0]}" in polyarch("conflicts", "log", *port)
        assert polyarch("conflicts", "restore", log[0]["id"], lost[3], *port) == "OK\n"
        cluster.wait_get("plain", lost[0])
        assert polyarch("conflicts", "list", *port) == "no open conflicts\n"
        assert "no key" in polyarch("conflicts", "show", "nothing", *port, code=1)
        _resolve_by_hand(cluster)

        # Each explains its options; wrong usage is one line and 2.
        for words in (["status"], ["top"], ["topology"], ["policy"], ["conflicts"], ["backup"], ["restore"],
                      ["policy", "set"], ["conflicts", "log"], ["topology", "set"]):
            text = polyarch(*words, "--help")
            assert "polyarch " + " ".join(words) in text, text
            polyarch(*words, "--bogus", code=2)
        for words, told in ((["status", "-p", "abc"], "a port is 1 to 65535, not 'abc'"), (["status", "x", "y"], "'x' is not expected here"),
                            (["status", "-u", "foo"], "is no URI"), (["status", "-n", "1"], "unknown flag '-n'"),
                            (["top", "--timeout"], "needs a value")):
            assert told in polyarch(*words, code=2), words
        done = subprocess.run([BINARY, "foo"], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        assert done.returncode == 2 and done.stderr.startswith("polyarch: unknown subcommand 'foo'\n"), done.stderr
        # Another port of the leader.
        assert "client port?" in polyarch("status", "-p", eu.peer_port, "--timeout", "1", code=1)
        # A leader that is stopped, and one that is gone.
        us.freeze()
        assert "gives no answer within 300 ms" in polyarch("status", "-p", us.port, "--timeout", "0.3", code=1)
        us.thaw()
        cluster.asia.kill()
        assert "is it running?" in polyarch("status", "-p", cluster.asia.port, code=1)
        until("eu notices", lambda: "asia is unreachable for" in polyarch("status", *port))
        # How long it lasts is told, whatever is written meanwhile.
        lasts = [eu.links()["asia"]["unreachable_ms"]]

        def longer():
            eu.call("SET", "k", "v")
            lasts.append(eu.links()["asia"]["unreachable_ms"])
            return lasts[-1] >= lasts[0] + 1000
        until("it lasts longer", longer)
        assert lasts == sorted(lasts), lasts
        assert eu.links()["us"]["unreachable_ms"] == 0, eu.links()


class Terminal:
    """A program behind a terminal of its own."""

    def __init__(self, arguments, rows=30, columns=110):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.child = subprocess.Popen([BINARY, *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave,
                                      start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.output = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def pump(self, seconds=0.05):
        while select.select([self.master], [], [], seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self.output += data

    def wait_for(self, what):
        def there():
            self.pump()
            return what in self.output
        until(lambda: f"{what!r} in {self.output[-2000:]!r}", there)

    def ended(self, code):
        until("it ends", lambda: self.pump() or self.child.poll() is not None)
        self.pump()
        assert self.child.returncode == code, (self.child.returncode, self.output[-500:])

    def restored(self):
        """The normal screen, a visible cursor, the settings from before."""
        tail = self.output[self.output.rindex(b"\x1b[?1049h"):]
        assert b"\x1b[?25h" in tail and b"\x1b[?1049l" in tail, tail[-500:]
        assert termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self.master)
        os.close(self.slave)


def test_top_in_a_terminal(long):
    with Cluster() as cluster:
        eu = cluster.eu

        def top(**options):
            terminal = Terminal(["top", "-p", eu.port, "--interval", "0.1"], **options)
            terminal.wait_for(b"polyarch top  eu")
            terminal.wait_for(b"purging")
            return terminal

        terminal = top()
        eu.pipeline([("INCR", "n")] * 100)
        terminal.wait_for(b"asia")
        # A smaller window: the next frame fits.
        terminal.output = terminal.output[-100:]
        terminal.resize(10, 40)
        os.kill(terminal.child.pid, signal.SIGWINCH)
        time_limit = time.monotonic() + 10
        while True:
            terminal.pump()
            frames = terminal.output.split(b"\x1b[H")
            if len(frames) > 4:
                lines = re.sub(rb"\x1b\[[0-9?]*[a-zA-Z]|\r", b"", frames[-2]).split(b"\n")
                if len(lines) <= 10 and max(map(len, lines)) <= 40:
                    break
            assert time.monotonic() < time_limit, frames[-2]
        os.write(terminal.master, b"xq")
        terminal.ended(0)
        # The first frames' entry was cut away above.
        assert b"\x1b[?1049l" in terminal.output and termios.tcgetattr(terminal.slave) == terminal.before
        terminal.close()

        for number, code in ((signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGHUP, 1), (signal.SIGQUIT, 1)):
            terminal = top()
            os.kill(terminal.child.pid, number)
            terminal.ended(code)
            terminal.restored()
            terminal.close()
        terminal = top()
        os.write(terminal.master, b"\x03")  # Ctrl-C
        terminal.ended(0)
        terminal.restored()
        terminal.close()

        # Stopped and resumed: the shell gets its terminal in between.
        terminal = top()
        os.kill(terminal.child.pid, signal.SIGTSTP)
        until("it is stopped", lambda: terminal.pump() or open(
            f"/proc/{terminal.child.pid}/stat").read().rsplit(") ", 1)[1][0] == "T")
        terminal.pump()
        terminal.restored()
        terminal.output = b""
        os.kill(terminal.child.pid, signal.SIGCONT)
        terminal.wait_for(b"\x1b[?1049h")
        terminal.wait_for(b"polyarch top  eu")
        # The leader dies and comes back: said so, and it goes on.
        eu.kill()
        terminal.wait_for(b"cannot reach a leader")
        cluster.restart("eu")
        terminal.output = terminal.output[-20:] + b"\x1b[?1049h"
        until("no notice any more", lambda: terminal.pump() or b"cannot reach" not in terminal.output.split(b"\x1b[H")[-2]
              if terminal.output.count(b"\x1b[H") > 3 else terminal.pump())
        os.write(terminal.master, b"q")
        terminal.ended(0)
        terminal.restored()
        terminal.close()


def test_long_turns(long):
    """What makes clients wait for a second and more is in the leader's log, with its kind."""
    with Cluster(["eu"]) as cluster:
        eu = cluster.eu
        eu.call("DEBUG", "SLEEP", "1.1")
        until("the long command is logged", lambda: "one turn of the event loop took 1" in eu.process.log_tail())
        eu.freeze()
        frozen = time.monotonic()
        until("it has been stopped for a while", lambda: time.monotonic() - frozen > 1.5)
        eu.thaw()
        until("the pause is logged", lambda: "this process did not run for 1" in eu.process.log_tail())


def test_killed_clients_are_not_counted(long):
    """One that is killed and not closed yet, in the same turn of the loop, is none of INFO's clients."""
    with Cluster(["eu"]) as cluster, cluster.eu.connect() as other:
        other_id = other.call("CLIENT", "ID")

        def count(info):
            return int(info.decode().split("connected_clients:")[1].split()[0])
        before, killed, after = cluster.eu.pipeline(
            [("INFO", "clients"), ("CLIENT", "KILL", "ID", str(other_id)), ("INFO", "clients")])
        assert killed == 1 and count(after) == count(before) - 1, (before, killed, after)


def test_foreign_cluster(long):
    """A founder whose volume was not mounted founds another cluster: status says so at both."""
    with Cluster(["eu", "us"]) as cluster:
        eu, us = cluster.eu, cluster.us
        eu.call("SET", "k", "v")
        cluster.wait_converged()
        eu.terminate()
        os.rename(eu.directory, eu.directory + ".unmounted")
        eu.start()
        for leader, stranger in ((us, "eu"), (eu, "us")):
            until(f"{leader.name} has met {stranger}", lambda: leader.info().get("other_cluster", "").startswith(stranger + " at "))
            text = polyarch("status", "-p", leader.port)
            assert f"ATTENTION   leader {stranger} at 127.0.0.1:" in text and "belongs to another cluster" in text, text
        eu.terminate()
        shutil.rmtree(eu.directory)
        os.rename(eu.directory + ".unmounted", eu.directory)
        eu.start()
        cluster.wait_converged()
        assert us.get("k") == b"v"


def test_second_process_does_not_vote(long):
    """Who comes under the name of a living leader becomes a member of another name, but no elector."""
    with Cluster(["eu", "us"]) as cluster:
        second = Leader("us", os.path.join(cluster.directory, "us2"), ["--http-port", "0"])
        second.start(join=[cluster.eu.peer_address])
        cluster.others.append(second.process)
        until("it goes under another name", lambda: second.info()["leader_id"].startswith("us~"))
        assert cluster.eu.call("POLICY", "SET", "s:*", "sync") == b"OK"
        until("it is in force", lambda: cluster.eu.info().get("sync_in_force") == "1")
        until("it is written", lambda: cluster.eu.ask("SET", "s:k", "v") == b"OK")
        until("the second one has it", lambda: second.get("s:k") == b"v")
        for leader in (cluster.eu, cluster.us, second):
            assert sorted(leader.info()["electors"].split(",")) == ["eu", "us"], leader.info()["electors"]
            text = polyarch("status", "-p", leader.port)
            assert "no majority of the electors" not in text, text
        assert cluster.eu.call("POLYARCH", "READ", "s:k") == cluster.eu.call("SYNC", "READ", "s:k")
        cluster.us.kill()
        until("eu knows", lambda: "no majority of the electors" in polyarch("status", "-p", cluster.eu.port))
        reply = cluster.eu.ask("SET", "s:k", "w")
        assert isinstance(reply, ReplyError) and reply.text.startswith("NOQUORUM"), reply
