#!/usr/bin/env python3
"""Takes what commands do with their keys from a real redis-server 7.0.15 (COMMAND GETKEYSANDFLAGS).

record.py [--check]   rewrites key_uses.txt beside this script, or says where it differs
"""

import os
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class Redis:
    """A redis-server of its own, and one connection to it."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.process = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--dir", self.directory.name],
                                        stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self.file = socket.create_connection(("127.0.0.1", port), timeout=5).makefile("rwb")
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("redis-server does not start")

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()

    def ask(self, words):
        self.file.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in map(str.encode, words)))
        self.file.flush()
        return self.read()

    def read(self):
        line = self.file.readline()[:-2].decode()
        if line[0] == "*":
            return [self.read() for _ in range(int(line[1:]))]
        if line[0] == "$":
            return self.file.read(int(line[1:]) + 2)[:-2].decode()
        return line[1:] if line[0] == "+" else line


def uses(reply):
    """"k:RW d:W" of [[k, [RW, access, update]], [d, [OW, update]]]; "none" of an error or of no keys."""
    if isinstance(reply, str):
        return "none"
    out = []
    for key, flags in reply:
        read = "R" if "access" in flags else ""
        write = "W" if {"insert", "delete", "update"} & set(flags) else ""
        out.append(f"{key}:{read + write or '-'}")
    return " ".join(out) or "none"


def main():
    path = os.path.join(HERE, "key_uses.txt")
    with open(path) as file:
        lines = file.read().splitlines()
    redis, out, differ = Redis(), [], 0
    for line in lines:
        if line and not line.startswith("#") and "!=>" not in line:
            command = line.split(" => ")[0]
            fresh = f"{command} => {uses(redis.ask(['COMMAND', 'GETKEYSANDFLAGS', *command.split()]))}"
            differ += fresh != line
            if fresh != line and "--check" in sys.argv:
                print(f"{line}   redis: {fresh}")
            line = fresh
        out.append(line)
    redis.close()
    if "--check" not in sys.argv:
        with open(path, "w") as file:
            file.write("\n".join(out) + "\n")
    print(f"{differ} lines differ")
    return 1 if differ and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
