"""./run [--port N] [--data DIR]: three leaders at three ports with their data in one directory, and one screen that follows them.

Stops them (SIGTERM, by pid) on Ctrl-C or SIGTERM; the kernel does it if this program is killed.
"""

import argparse
import contextlib
import errno
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "process"))
from cluster import BINARY, ROOT, Process, port_is_free  # noqa: E402
from resp import Connection, ReplyError  # noqa: E402

NAMES = ("eu", "us", "asia")
READY_S = 60
STOP_S = 10


class Stop(Exception):
    pass


def _stop(*_):
    raise Stop


class Shown:
    """One leader: its process and what it last said of itself."""

    def __init__(self, name, port, data, first_port):
        self.name = name
        self.port = port
        self.log_path = os.path.join(data, name + ".log")
        directory = os.path.join(data, name)
        os.makedirs(directory, exist_ok=True)
        arguments = [BINARY, "server", "--id", name, "--port", str(port), "--peer-port", str(port + 1000),
                     "--dir", directory]
        if port != first_port:
            arguments += ["--join", f"127.0.0.1:{first_port + 1000}"]
        self.process = Process(arguments, self.log_path, signal.SIGTERM)
        self.connection = None
        self.before = None
        self.rate = 0

    def ask(self, *arguments):
        """None while it does not answer."""
        try:
            if self.connection is None:
                self.connection = Connection(self.port, timeout=2)
            reply = self.connection.ask(*arguments)
            return None if isinstance(reply, ReplyError) else reply
        except OSError:
            if self.connection:
                self.connection.close()
            self.connection = None
            return None

    def info(self, section="all"):
        text = self.ask("INFO", section)
        if text is None:
            return None
        return dict(line.split(":", 1) for line in text.decode().splitlines()
                    if ":" in line and not line.startswith("#"))

    def row(self):
        info = self.info()
        if info is None:
            state = "no answer" if self.process.alive() else f"ended ({self.process.child.returncode})"
            return f"{self.name:<6}{self.port:<7}{state}   see {os.path.relpath(self.log_path, ROOT)}"
        commands = int(info.get("total_commands_processed", 0))
        now = time.monotonic()
        if self.before:
            self.rate = max(0, round((commands - self.before[0]) / (now - self.before[1])))
        self.before = (commands, now)
        keys = self.ask("DBSIZE")
        links = []
        for name, value in info.items():
            if name.startswith("link_") and "state=" in value:
                fields = dict(part.split("=", 1) for part in value.split(","))
                behind = fields.get("lag_changes", "0")
                links.append(f"{name[5:]} {fields.get('state')}" + (f" {behind} behind" if behind != "0" else ""))
        return (f"{self.name:<6}{self.port:<6}{self.rate:>10}{keys if keys is not None else '?':>8}"
                f"{info.get('used_memory_human', '?'):>9}{info.get('conflicts_open', '?'):>5}  "
                + ", ".join(links))


# In 80 columns, with the links, which are what it is about.
HEADER = f"{'id':<6}{'port':<6}{'commands/s':>10}{'keys':>8}{'memory':>9}{'open':>5}  links, changes behind"


def follow(leaders):
    screen = sys.stdout.isatty()
    lines = 0
    while True:
        rows = [leader.row() for leader in leaders]
        if screen:
            if lines:
                sys.stdout.write(f"\x1b[{lines}A")
            width = os.get_terminal_size().columns
            text = [HEADER] + rows
            sys.stdout.write("".join(f"\x1b[2K{line[:width - 1]}\n" for line in text))
            lines = len(text)
        else:
            print(time.strftime("%H:%M:%S ") + " | ".join(" ".join(row.split()) for row in rows))
        sys.stdout.flush()
        if not any(leader.process.alive() for leader in leaders):
            raise SystemExit("run: all three leaders have ended")
        time.sleep(1 if screen else 10)


def options():
    parser = argparse.ArgumentParser(prog="run", description="Three leaders at three ports; Ctrl-C stops them.")
    parser.add_argument("--port", type=int, default=7001, help="of the first one (default: 7001)")
    parser.add_argument("--data", default=os.path.join(ROOT, "data"), help="the directory of the data (default: ./data)")
    chosen = parser.parse_args()
    if not 1 <= chosen.port <= 63533:
        parser.error(f"a first port is 1 to 63533, not {chosen.port}: each leader has that + 1,000 and + 2,000, too")
    return chosen


def main():
    chosen = options()
    places = [(name, chosen.port + i) for i, name in enumerate(NAMES)]
    for name, port in places:
        for wanted in (port, port + 1000, port + 2000):
            if not port_is_free(wanted):
                print(f"run: port {wanted} (of leader {name}) is in use; stop what uses it "
                      f"(another ./run?) and call again", file=sys.stderr)
                return 1
    data = chosen.data
    try:
        os.makedirs(data, exist_ok=True)
    except OSError as error:
        print(f"run: cannot write {data}: {error.strerror}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    leaders = []
    code = 0
    try:
        for name, port in places:
            leaders.append(Shown(name, port, data, chosen.port))
        end = time.monotonic() + READY_S
        for leader in leaders:
            while (leader.info("replication") or {}).get("admitted") != "1":
                if not leader.process.alive() or time.monotonic() > end:
                    print(leader.process.log_tail(10), file=sys.stderr)
                    print(f"run: {leader.name} did not start (its log is above)", file=sys.stderr)
                    raise Stop(1)
                time.sleep(0.02)
        print("Three leaders are up; each takes reads and writes from any Redis client.\n"
              f"    redis-cli -p {chosen.port} SET k v          write at eu\n"
              f"    redis-cli -p {chosen.port + 2} GET k            read at asia\n"
              f"    build/release/polyarch top -p {chosen.port + 1}   how us sees the others, live\n"
              f"    redis-cli -p {chosen.port} LINK CUT us      cut a link, write on both sides, LINK HEAL us\n"
              f"Data and logs are in {os.path.relpath(data)}. Ctrl-C stops all three.\n", flush=True)
        follow(leaders)
    except (KeyboardInterrupt, Stop) as stop:
        code = stop.args[0] if stop.args else 0
    except OSError as error:
        if error.errno not in (errno.EIO, errno.EPIPE):  # the terminal is gone: an order to stop
            raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for leader in leaders:
            leader.process.signal(signal.SIGTERM)
        with contextlib.suppress(OSError):  # the terminal may be gone
            print("\nstopping the leaders", flush=True)
        end = time.monotonic() + STOP_S
        for leader in leaders:
            while leader.process.alive() and time.monotonic() < end:
                time.sleep(0.02)
            if leader.process.alive():
                print(f"run: {leader.name} did not stop within {STOP_S} s; killed", file=sys.stderr)
                leader.process.kill()
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
