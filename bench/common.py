"""What both benchmarks share: servers of both kinds with one face, pinned, measured, always ended."""

import atexit
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "process"))
from cluster import BINARY, ROOT, Process, free_port, until  # noqa: E402
from resp import Connection, ReplyError  # noqa: E402

LOAD = os.path.join(ROOT, "build", "release", "polyarch-bench-load")


def require_tools():
    for path in (BINARY, LOAD):
        if not os.path.exists(path):
            sys.exit(f"{os.path.relpath(path, ROOT)} is missing; build it: tools/build release")
    for name in ("redis-server", "redis-benchmark", "taskset"):
        if not shutil.which(name):
            sys.exit(f"{name} is missing; call tools/setup")


class Server:
    """A redis-server or a leader in a directory of its own."""

    def __init__(self, kind, durability, name="eu", core=None, join=(), replica_of=None, directory=None,
                 port=None):
        self.kind, self.name, self.core, self.durability = kind, name, core, durability
        self.port = port or free_port((0, 1000))
        self.peer_port = self.port + 1000
        self.directory = directory or tempfile.mkdtemp(prefix="polyarch-bench-")
        self.join, self.replica_of = list(join), replica_of
        self.connection = None
        atexit.register(self.end)
        self.start()

    def start(self):
        if self.kind == "redis":
            arguments = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir",
                         self.directory, "--appendonly", "yes", "--appendfsync", self.durability,
                         # No rewrite of the file in the middle of a measurement; the other has none either.
                         "--auto-aof-rewrite-percentage", "0", "--repl-backlog-size", "512mb",
                         "--client-output-buffer-limit", "replica 0 0 0", "--repl-diskless-sync-delay", "0"]
            if self.replica_of:
                arguments += ["--replicaof", "127.0.0.1", str(self.replica_of)]
        else:
            arguments = [BINARY, "server", "--id", self.name, "--port", str(self.port), "--peer-port",
                         str(self.peer_port), "--http-port", "0", "--dir", self.directory, "--durability",
                         self.durability]
            for address in self.join:
                arguments += ["--join", address]
        self.process = Process(arguments, os.path.join(self.directory, "server.log"), core=self.core)
        self.drop_connection()

        def answers():
            if not self.process.alive():
                sys.exit(f"{self.kind} ended at start:\n" + self.process.log_tail())
            try:
                return self.call("PING") == b"PONG"
            except (OSError, ReplyError):
                self.drop_connection()
                return False
        until(f"{self.kind} answers", answers, 60)

    def drop_connection(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def call(self, *arguments):
        if self.connection is None:
            self.connection = Connection(self.port, timeout=60)
        return self.connection.call(*arguments)

    def info(self, section):
        return dict(line.split(":", 1) for line in self.call("INFO", section).decode().splitlines()
                    if ":" in line and not line.startswith("#"))

    def cpu_s(self):
        return self.process.stat()[0]

    def end(self, keep=False):
        self.drop_connection()
        self.process.kill()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)


def load_tool(*arguments, core=None):
    command = [LOAD, *map(str, arguments)]
    if core is not None:
        command = ["taskset", "-c", str(core)] + command
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit("the load failed: " + done.stderr.strip())
    return json.loads(done.stdout)


def median(values):
    return statistics.median(values)


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


class Floors:
    """What must hold however fast the machine is: ratios of one run, and a few bounds. With --check a run that breaks one fails."""

    def __init__(self):
        self.broken = []

    def at_most(self, what, value, bound):
        if value > bound:
            self.broken.append(f"{what}: {value:.2f}, at most {bound:.2f} is allowed")

    def end(self, check):
        if not check:
            return
        for line in self.broken:
            print(f"FLOOR BROKEN: {line}", file=sys.stderr)
        if self.broken:
            sys.exit(1)
        print("all floors hold", file=sys.stderr)
