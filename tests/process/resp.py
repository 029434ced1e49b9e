"""A small RESP2 client: one blocking connection, pipelining, raw replies.

It exists because the tests care about what a client library hides: the exact bytes of a reply, which
command of a pipeline was acknowledged before a connection broke, and that nothing is ever retried.
Replies: status and bulk strings are `bytes`, integers `int`, nil None, arrays lists, errors a
`ReplyError` (returned by `send`/`read`, raised by `call`).
"""

import socket


class ReplyError(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.text = text

    def __eq__(self, other):
        return isinstance(other, ReplyError) and other.text == self.text

    def __hash__(self):
        return hash(self.text)


class Status(bytes):
    """A simple string (`+OK`), to tell it from a bulk string."""


def encode(*arguments):
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if isinstance(argument, str):
            argument = argument.encode()
        elif isinstance(argument, (int, float)):
            argument = str(argument).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(argument), argument))
    return b"".join(parts)


class Connection:
    def __init__(self, port, timeout=30.0, host="127.0.0.1", password=None, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.at = 0
        if password:
            self.call("AUTH", password)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def send_raw(self, data):
        self.socket.sendall(data)

    def call(self, *arguments):
        """Sends one command, returns its reply; an error reply is raised."""
        self.socket.sendall(encode(*arguments))
        reply = self.read()
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def ask(self, *arguments):
        """As call, but an error reply is returned."""
        self.socket.sendall(encode(*arguments))
        return self.read()

    def pipeline(self, commands):
        self.socket.sendall(b"".join(encode(*command) for command in commands))
        return [self.read() for _ in commands]

    def _fill(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed by the server")
        self.buffer = self.buffer[self.at:] + data
        self.at = 0

    def _line(self):
        while True:
            end = self.buffer.find(b"\r\n", self.at)
            if end >= 0:
                line = self.buffer[self.at:end]
                self.at = end + 2
                return line
            self._fill()

    def _exactly(self, size):
        if len(self.buffer) - self.at < size:
            parts = [self.buffer[self.at:]]
            have = len(parts[0])
            while have < size:
                data = self.socket.recv(max(1 << 16, size - have))
                if not data:
                    raise ConnectionError("closed by the server")
                parts.append(data)
                have += len(data)
            self.buffer = b"".join(parts)
            self.at = 0
        data = self.buffer[self.at:self.at + size]
        self.at += size
        return data

    def read(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return Status(rest)
        if kind == b"-":
            if rest.startswith(b"LOADING "):
                raise ConnectionRefusedError(rest.decode())  # and it closes the connection
            return ReplyError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            return self._exactly(size + 2)[:-2]
        if kind == b"*":
            count = int(rest)
            if count < 0:
                return None
            return [self.read() for _ in range(count)]
        raise ValueError(f"not RESP2: {line[:80]!r}")

    def read_raw(self):
        """The bytes of one whole reply, as they came."""
        line = self._line()
        kind = line[:1]
        raw = line + b"\r\n"
        if kind == b"$" and int(line[1:]) >= 0:
            raw += self._exactly(int(line[1:]) + 2)
        elif kind == b"*":
            for _ in range(int(line[1:])):
                raw += self.read_raw()
        elif kind not in (b"+", b"-", b":", b"$"):
            raise ValueError(f"not RESP2: {line[:80]!r}")
        return raw


def pairs(flat):
    """A RESP2 map (a flat list) as a dict with str keys."""
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}
