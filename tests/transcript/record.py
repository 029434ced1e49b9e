#!/usr/bin/env python3
"""Takes the replies of transcripts from a real redis-server 7.0.15 (see README.md).

record.py [--check] FILE...   (no FILE: all transcripts beside this script)
"""

import argparse
import glob
import os
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class Redis:
    """A redis-server of its own, empty, and connections to it; the first is there at once."""

    def __init__(self, password=None):
        self.directory = tempfile.TemporaryDirectory()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--enable-debug-command", "yes",
                   "--dir", self.directory.name]
        if password:
            command += ["--requirepass", password]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.port = port
        self.sockets = {}
        for _ in range(100):
            try:
                self.client(1)
                break
            except OSError:
                time.sleep(0.05)

    def client(self, number):
        """The next commands come from that connection."""
        if number not in self.sockets:
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=5)
            self.sockets[number] = (connection, connection.makefile("rb"))
        self.socket, self.file = self.sockets[number]

    def require(self, password):
        current = self.socket, self.file
        self.client(0)  # the others may have said QUIT
        self.ask([b"config", b"set", b"requirepass", password.encode()])
        self.socket, self.file = current

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()

    def ask(self, arguments):
        request = b"*%d\r\n" % len(arguments)
        for argument in arguments:
            request += b"$%d\r\n%s\r\n" % (len(argument), argument)
        self.socket.sendall(request)
        return self.read()

    def read(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:].decode("utf-8", "replace")
        if kind in b"+-":
            return kind.decode() + rest
        if kind in b":,(":
            return rest
        if kind == b"_" or rest == "-1":
            return "null"
        if kind in b"$=":
            data = self.file.read(int(rest) + 2)[:-2]
            return quoted(data[4:] if kind == b"=" else data)
        if kind == b"#":
            return "true" if rest == "t" else "false"
        if kind == b"%":
            pairs = [f"{self.read()}: {self.read()}" for _ in range(int(rest))]
            return "{" + ", ".join(pairs) + "}"
        items = ", ".join(self.read() for _ in range(int(rest)))
        return {b"*": "[", b"~": "~[", b">": ">["}[kind] + items + "]"


def quoted(data):
    out = '"'
    for byte in data:
        if byte in b'"\\':
            out += "\\" + chr(byte)
        elif byte == 10:
            out += "\\n"
        elif byte == 13:
            out += "\\r"
        elif byte < 0x20 or byte >= 0x7F:
            out += "\\x%02x" % byte
        else:
            out += chr(byte)
    return out + '"'


def words(line):
    """As inline commands: escapes count within double quotes only."""
    result, at = [], 0
    while at < len(line):
        if line[at] == " ":
            at += 1
        elif line[at] == '"':
            end = at + 1
            while line[end] != '"':
                end += 2 if line[end] == "\\" else 1
            body = line[at + 1:end].encode().decode("unicode_escape")
            result.append(body.encode("latin-1"))
            at = end + 1
        else:
            end = line.find(" ", at)
            end = len(line) if end < 0 else end
            result.append(line[at:end].encode())
            at = end
    return result


def record(path, check):
    with open(path) as file:
        lines = file.read().splitlines()
    redis = None
    out, differences, skip = [], 0, False
    try:
        redis = Redis()
        at = 0
        while at < len(lines):
            line = lines[at]
            at += 1
            out.append(line)
            if line.startswith("@advance "):
                time.sleep(int(line.split()[1]) / 1000)
            elif line.startswith("@password "):
                redis.require(line.split()[1])
            elif line.startswith("@client "):
                redis.client(int(line.split()[1]))
            elif line.startswith(("@policy", "@remote")):
                skip = True  # from here on there is nothing that Redis could answer
            if not line.startswith("> ") or skip:
                continue
            old = None
            if at < len(lines) and lines[at] and not lines[at].startswith(("#", "@", ">", "!>")):
                old = lines[at]
                at += 1
            if old is not None and old.startswith("~ "):
                redis.ask(words(line[2:]))
                out.append(old)
                continue
            reply = redis.ask(words(line[2:]))
            out.append(reply)
            if old != reply:
                differences += 1
                if check:
                    print(f"{path}:{at}: {line}\n  file:  {old}\n  redis: {reply}")
    finally:
        if redis:
            redis.close()
    if not check:
        with open(path, "w") as file:
            file.write("\n".join(out) + "\n")
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, tell what differs")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    files = options.files or sorted(glob.glob(os.path.join(HERE, "*.txt")))
    differences = sum(record(path, options.check) for path in files)
    print(f"{len(files)} transcripts, {differences} replies differ")
    return 1 if options.check and differences else 0


if __name__ == "__main__":
    sys.exit(main())
