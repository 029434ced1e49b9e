"""Records what clients of real leaders ask and are answered, for `polyarch-check` (docs/checking.md).

    recorder = Recorder(path)
    with recorder.session("alice", cluster.eu) as client:
        client.set("x")                 # a value that is unique
        client.hop(cluster.us)          # by SESSION TOKEN and SESSION WAIT: it is still one session
        client.get("x")
    recorder.close()
    check(path, "--convergent")

A session is one client that never forgets. Where one goes to another leader without a token, or must leave a dead one
behind, another session begins. All sessions take the time from one clock, that of the machine.
"""

import os
import subprocess
import threading
import time

from cluster import ROOT
from resp import ReplyError

CHECKER = os.environ.get("POLYARCH_CHECK", os.path.join(ROOT, "build", "release", "polyarch-check"))
HEADER = "polyarch-history 1"


def word(value):
    """As it stands in a history."""
    if value is None:
        return "nil"
    if isinstance(value, (int, str)):
        value = str(value).encode()
    plain = value and value not in (b"nil", b"->", b"?", b"ok", b"no", b"failed", b"-") and value[:1] != b"#" and all(
        32 < byte < 127 and byte not in b'"\\' for byte in value)
    if plain:
        return value.decode()
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in value) + '"'


class Gone(Exception):
    """The connection broke: whether the last command took effect is not known."""


class Recorder:
    """Several threads may use it, each with sessions of its own."""

    def __init__(self, path):
        self.path = path
        self._file = open(path, "w")
        self._file.write(HEADER + "\n")
        self._lock = threading.Lock()
        self._values = 0
        self._sessions = 0
        self.operations = 0
        self.unknown = 0

    def session(self, name, leader):
        """A client of this leader. The name is made unique."""
        with self._lock:
            self._sessions += 1
            return Session(self, f"{name}.{self._sessions}", leader)

    def value(self):
        with self._lock:
            self._values += 1
            return f"v{self._values}"

    def write(self, session, leader, invoked, operation, result):
        completed = "-" if result == "?" else str(time.monotonic_ns())
        with self._lock:
            self.operations += 1
            self.unknown += result == "?"
            self._file.write(f"{session} {leader} {invoked} {completed} {operation} -> {result}\n")

    def close(self):
        with self._lock:
            self._file.close()


class Session:
    """One client. Raises Gone when its connection breaks; `again` connects to the same leader, as the same session."""

    def __init__(self, recorder, name, leader):
        self.recorder = recorder
        self.name = name
        self.leader = leader
        self.connection = leader.connect(timeout=20)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.connection.close()

    def again(self):
        self.connection.close()
        self.connection = self.leader.connect(timeout=20)

    def _ask(self, operation, command, result):
        """`result` makes of a reply what stands in the history, or None if nothing shall."""
        invoked = time.monotonic_ns()
        try:
            reply = self.connection.ask(*command)
        except OSError as error:
            self.recorder.write(self.name, self.leader.name, invoked, operation, "?")
            raise Gone(str(error)) from error
        text = result(reply)
        if text is not None:
            self.recorder.write(self.name, self.leader.name, invoked, operation, text)
        return reply

    @staticmethod
    def _done(reply):
        if isinstance(reply, ReplyError):
            raise reply
        return "ok"

    def set(self, key):
        value = self.recorder.value()
        self._ask(f"set {word(key)} {value}", ["SET", key, value], self._done)
        return value

    def delete(self, key):
        return self._ask(f"del {word(key)}", ["DEL", key], lambda reply: str(int(reply)))

    def incr(self, key, amount=1):
        return self._ask(f"incr {word(key)} {amount}", ["INCRBY", key, amount], lambda reply: str(int(reply)))

    def get(self, key, operation="get"):
        """All versions, if there are several that the policy does not decide between."""
        def shown(reply):
            if isinstance(reply, ReplyError):
                if reply.text.startswith("CONFLICT"):
                    return None
                raise reply
            return word(reply)
        reply = self._ask(f"{operation} {word(key)}", ["GET", key], shown)
        if not isinstance(reply, ReplyError):
            return [reply]
        reply = self._ask(f"{operation} {word(key)}", ["CONFLICT", "GET", key],
                          lambda answer: " ".join(word(version[0]) for version in answer[1]) or "nil")
        return [version[0] for version in reply[1]]

    def final(self, key):
        """When all leaders are level: what is left for good."""
        return self.get(key, "final")

    def hop(self, leader, ms=10_000):
        """Goes to another leader with all that it has seen; False, and it stays, if that is not there in time."""
        try:
            token = self.connection.call("SESSION", "TOKEN")
            connection = leader.connect(timeout=20)
            reply = connection.ask("SESSION", "WAIT", token, ms)
        except OSError as error:
            raise Gone(str(error)) from error
        if isinstance(reply, ReplyError):
            connection.close()
            if reply.text.startswith("TIMEOUT"):
                return False
            raise reply
        self.connection.close()
        self.connection, self.leader = connection, leader
        return True

    def hop_without_token(self, leader):
        """What no client should do that wants to be one session."""
        self.connection.close()
        self.connection, self.leader = leader.connect(timeout=20), leader


def check(path, *flags):
    """(exit code, what it said)."""
    done = subprocess.run([CHECKER, *flags, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout.strip()
