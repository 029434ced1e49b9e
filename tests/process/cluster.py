"""Real leaders on this machine: start, kill, freeze, cut, compare.

    with Cluster(["eu", "us", "asia"]) as cluster:
        cluster.eu.call("SET", "k", "v")
        cluster.wait_converged()

Every server is a child that the kernel kills when its starter dies (PR_SET_PDEATHSIG), and `close`
ends what is left by pid. That signal follows the *thread* that forked: start leaders from the main
thread only. Ports are free ones below the ephemeral range, so a restarted leader finds its own
again. Logs and data live in one temporary directory, removed unless the test failed and
POLYARCH_KEEP is set.
"""

import ctypes
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from resp import Connection, ReplyError, pairs  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("POLYARCH_BINARY", os.path.join(ROOT, "build", "release", "polyarch"))
POLL_S = 0.01
READY_S = 30.0
STOP_S = 15.0

_libc = ctypes.CDLL(None, use_errno=True)
_random = random.Random(os.getpid() ^ time.time_ns())
_given_ports = set()
# Two tests that run at once take theirs from different ranges; a range is 1,000 less than it could be, for offsets.
PORTS = (20000, 29000) if os.environ.get("POLYARCH_TEST_SLOT") == "1" else (10000, 19000)


class Skip(Exception):
    """This test cannot run here, for the reason given."""


def die_with_parent(how=signal.SIGKILL):
    """For preexec_fn: the kernel sends `how` to this process when the thread that forked it ends."""
    _libc.prctl(1, how)


def until(what, condition, deadline_s=20.0, poll_s=POLL_S):
    """Polls `condition` until it gives something true, and returns that."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            detail = what() if callable(what) else what
            raise AssertionError(f"not within {deadline_s:g} s: {detail}")
        time.sleep(poll_s)


def port_is_free(port, host="127.0.0.1"):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            return True
        except OSError:
            return False


def free_port(offsets=(0,)):
    """A port such that port + each offset is free; never given twice by one process."""
    for _ in range(1000):
        port = _random.randrange(*PORTS)
        wanted = {port + offset for offset in offsets}
        if wanted & _given_ports or not all(port_is_free(p) for p in wanted):
            continue
        _given_ports.update(wanted)
        return port
    raise AssertionError(f"no free port between {PORTS[0]} and {PORTS[1]}")


class Process:
    """A child with a log file; knows how to end it."""

    def __init__(self, arguments, log_path, death_signal=signal.SIGKILL, core=None, enter=None):
        """`enter` is called in the child before the program begins."""
        self.log_path = log_path

        def prepare():
            die_with_parent(death_signal)
            if enter:
                enter()
        if core is not None:
            arguments = ["taskset", "-c", str(core)] + arguments
        with open(log_path, "ab") as log:
            log.write(("--- " + " ".join(arguments) + "\n").encode())
            log.flush()
            self.child = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=prepare)
        self.pid = self.child.pid

    def alive(self):
        return self.child.poll() is None

    def signal(self, number):
        if self.alive():
            self.child.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.child.wait()

    def stop(self, deadline_s=STOP_S):
        """SIGTERM; returns the exit code. A process that does not stop is killed, and it is an error."""
        self.signal(signal.SIGTERM)
        try:
            return self.child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not stop within {deadline_s:g} s of SIGTERM: see {self.log_path}")

    def log_tail(self, lines=30):
        with open(self.log_path, "rb") as log:
            return b"\n".join(log.read()[-65536:].split(b"\n")[-lines:]).decode("utf-8", "replace")

    def stat(self):
        """CPU seconds used so far (user + system, all threads) and resident bytes."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(") ", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")

    def rss(self):
        return self.stat()[1]


class Leader:
    """One `polyarch server`. `call` keeps a connection; `connect` makes another."""

    def __init__(self, name, directory, flags=(), log_path=None, port=None, core=None):
        self.name = name
        self.directory = directory
        self.port = port or free_port((0, 1000))
        self.peer_port = self.port + 1000
        self.flags = list(flags)
        self.core = core
        self.password = None
        if "--requirepass" in self.flags:
            self.password = self.flags[self.flags.index("--requirepass") + 1]
        self.log_path = log_path or directory.rstrip("/") + ".log"
        self.process = None
        self.enter = None  # where the process is to live, if not here
        self._connection = None

    # Life

    def start(self, join=(), extra=(), ready=True):
        assert self.process is None or not self.process.alive(), f"{self.name} is running"
        self.drop_connection()
        os.makedirs(self.directory, exist_ok=True)
        arguments = [BINARY, "server", "--id", self.name, "--port", str(self.port), "--peer-port",
                     str(self.peer_port), "--dir", self.directory]
        if "--http-port" not in self.flags:
            arguments += ["--http-port", "0"]
        for address in join:
            arguments += ["--join", address]
        self.process = Process(arguments + self.flags + list(extra), self.log_path, core=self.core, enter=self.enter)
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, deadline_s=READY_S):
        def answers():
            if not self.process.alive():
                raise AssertionError(f"{self.name} ended with {self.process.child.returncode} at start:\n"
                                     + self.process.log_tail())
            try:
                return self.call("PING") == b"PONG"
            except (OSError, ReplyError):
                self.drop_connection()
                return False
        until(lambda: f"{self.name} answers PING; it used {self.process.stat()[0]:.1f} s of CPU", answers,
              deadline_s)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.drop_connection()

    def terminate(self):
        """SIGTERM, and a clean end."""
        code = self.process.stop()
        self.drop_connection()
        assert code == 0, f"{self.name} ended with {code} after SIGTERM:\n" + self.process.log_tail()

    def freeze(self):
        self.process.signal(signal.SIGSTOP)

        def stopped():
            with open(f"/proc/{self.process.pid}/stat") as stat:
                return stat.read().rsplit(") ", 1)[1][0] == "T"
        until(f"{self.name} is stopped", stopped, 5)

    def thaw(self):
        self.process.signal(signal.SIGCONT)

    def alive(self):
        return self.process is not None and self.process.alive()

    @property
    def peer_address(self):
        return f"127.0.0.1:{self.peer_port}"

    # Talk

    def connect(self, timeout=30.0, **options):
        return Connection(self.port, timeout=timeout, password=self.password, **options)

    def drop_connection(self):
        if self._connection:
            self._connection.close()
            self._connection = None

    def _kept(self):
        if self._connection is None:
            self._connection = self.connect()
        return self._connection

    def ask(self, *arguments):
        try:
            return self._kept().ask(*arguments)
        except OSError:
            self.drop_connection()
            raise

    def call(self, *arguments):
        reply = self.ask(*arguments)
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def pipeline(self, commands):
        try:
            return self._kept().pipeline(commands)
        except OSError:
            self.drop_connection()
            raise

    def get(self, key):
        return self.call("GET", key)

    # State

    def info(self, section="replication"):
        fields = {}
        for line in self.call("INFO", section).decode().splitlines():
            if ":" in line and not line.startswith("#"):
                name, value = line.split(":", 1)
                fields[name] = value
        return fields

    def links(self):
        """{peer: {state, lag_changes, lag_ms, bytes_in, bytes_out}}, numbers as int."""
        links = {}
        for name, value in self.info().items():
            if name.startswith("link_") and "state=" in value:
                fields = dict(part.split("=", 1) for part in value.split(","))
                links[name[5:]] = {k: int(v) if re.fullmatch(r"-?\d+", v) else v
                                   for k, v in fields.items()}
        return links

    def bytes_in(self):
        return sum(link["bytes_in"] for link in self.links().values())

    def vv(self):
        return canonical_vv(self.call("POLYARCH", "VV"))

    def digest(self):
        vv, digest = self.call("POLYARCH", "DIGEST")
        return canonical_vv(vv), digest

    def conflict_log(self, match="*", count=100_000_000):
        """The decided conflicts: dicts with id, time, key, field, policy, shown, lost."""
        return [pairs(entry) for entry in self.call("CONFLICT", "LOG", "MATCH", match, "COUNT", count)]

    def versions(self, key):
        """CONFLICT GET: the token and [(value, leader)...] in canonical order."""
        token, versions = self.call("CONFLICT", "GET", key)
        return token, [(version[0], version[1].decode()) for version in versions]


def canonical_vv(vv):
    """A VV as something comparable, whatever shape the reply has (text, flat list, list of pairs)."""
    if isinstance(vv, bytes):
        return ",".join(sorted(part for part in re.split(r"[,\s]+", vv.decode()) if part))
    if isinstance(vv, list) and vv and isinstance(vv[0], list):
        return repr(sorted(map(repr, vv)))
    if isinstance(vv, list):
        return repr(sorted((repr(vv[i]), repr(vv[i + 1])) for i in range(0, len(vv), 2)))
    return repr(vv)


class Cluster:
    """Leaders that know each other; attributes by name (`cluster.eu`)."""

    def __init__(self, names=("eu", "us", "asia"), flags=(), flags_of=None, cores=None):
        self.directory = tempfile.mkdtemp(prefix="polyarch-test-")
        self.leaders = {}
        self.others = []  # further processes, ended by close
        self.cuts = set()
        try:
            for name in names:
                self.add(name, list(flags) + list((flags_of or {}).get(name, ())),
                         core=(cores or {}).get(name))
            self.wait_linked()
        except BaseException:
            if sys.exc_info()[0] is not KeyboardInterrupt:
                self.show_logs()
            self.close()
            raise

    def __getattr__(self, name):
        try:
            return self.__dict__["leaders"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __enter__(self):
        return self

    def __exit__(self, kind, *unused):
        if kind not in (None, KeyboardInterrupt, Skip):
            self.show_logs()
            if os.environ.get("POLYARCH_KEEP"):
                print(f"      data kept in {self.directory}")
                self.close(keep=True)
                return
        self.close()

    def add(self, name, flags=(), directory=None, label=None, core=None, enter=None):
        """Starts one more leader; it joins through those that live. `label` if the name is taken;
        `enter`: see Process."""
        label = label or name
        leader = Leader(name, directory or os.path.join(self.directory, label), flags,
                        os.path.join(self.directory, label + ".log"), core=core)
        leader.enter = enter
        self.leaders[label] = leader
        return leader.start(join=self.join_addresses(leader))

    def join_addresses(self, leader):
        return [other.peer_address for other in self.leaders.values()
                if other is not leader and other.alive()][:2]

    def restart(self, name, extra=(), ready=True):
        leader = self.leaders[name]
        return leader.start(join=self.join_addresses(leader), extra=extra, ready=ready)

    def living(self):
        return [leader for leader in self.leaders.values() if leader.alive()]

    def show_logs(self):
        for label, leader in self.leaders.items():
            if leader.process:
                state = "running" if leader.alive() else f"ended {leader.process.child.returncode}"
                print(f"      --- {label} ({state}), end of its log:")
                print("\n".join("      " + line for line in leader.process.log_tail(15).splitlines()))

    def close(self, keep=False):
        for leader in self.leaders.values():
            leader.drop_connection()
            if leader.process:
                leader.process.kill()
        for process in self.others:
            process.kill()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    # Links

    def wait_linked(self, deadline_s=READY_S):
        """Every living leader is admitted, knows the others by name, and has a live link to each."""
        living = self.living()

        def linked():
            for leader in living:
                info = leader.info()
                up = [peer for peer, link in leader.links().items() if link["state"] == "up"]
                if info["admitted"] != "1" or int(info["leaders"]) < len(living) or len(up) < len(living) - 1:
                    return False
            return True
        until(lambda: "all links are up: " + "; ".join(
            f"{leader.name} sees {leader.links()}" for leader in living), linked, deadline_s)

    def cut(self, a, b):
        """Stops replication between two leaders, at both ends."""
        self.leaders[a].call("LINK", "CUT", self.leaders[b].name)
        self.leaders[b].call("LINK", "CUT", self.leaders[a].name)
        self.cuts.add((a, b))

    def heal(self, a, b):
        self.leaders[a].call("LINK", "HEAL", self.leaders[b].name)
        self.leaders[b].call("LINK", "HEAL", self.leaders[a].name)
        self.cuts.discard((a, b))

    def isolate(self, *names):
        """Cuts each of `names` from everyone."""
        labels = list(self.leaders)
        for i, a in enumerate(labels):
            for b in labels[i + 1:]:
                if (a in names or b in names) and (a, b) not in self.cuts:
                    self.cut(a, b)

    def heal_all(self):
        for a, b in sorted(self.cuts):
            self.heal(a, b)

    # State

    def wait_converged(self, deadline_s=20.0):
        """All living leaders report equal VV and digest. Equal VV with another digest fails at once."""
        living = self.living()
        last = []

        def converged():
            last[:] = [leader.vv() for leader in living]
            if len(set(last)) > 1:
                return False
            states = [leader.digest() for leader in living]
            last[:] = states
            by_vv = {}
            for leader, (vv, digest) in zip(living, states):
                other = by_vv.setdefault(vv, (leader, digest))
                assert other[1] == digest, (
                    f"equal VV, other digest: {leader.name} {digest!r}, {other[0].name} "
                    f"{other[1]!r}, VV {vv}")
            return len(by_vv) == 1
        until(lambda: "leaders converge; last seen:\n" + "\n".join(
            f"        {leader.name}: {state}" for leader, state in zip(living, last)),
            converged, deadline_s, 0.02)

    def wait_get(self, key, value, deadline_s=20.0, at=None):
        """Every living leader shows `value` (bytes, str or None) under `key`."""
        if isinstance(value, str):
            value = value.encode()
        leaders = [self.leaders[name] for name in at] if at else self.living()
        until(lambda: f"{key} is {value!r} everywhere; seen: " + ", ".join(
            f"{leader.name} {leader.ask('GET', key)!r}" for leader in leaders),
            lambda: all(leader.ask("GET", key) == value for leader in leaders), deadline_s)
