"""A line between two leaders: a relay in this process that lets only so many bytes a second through."""

import socket
import threading
import time

PART = 16 << 10


class SlowLine:
    """Listens on a port of its own and relays each connection to `port`, both ways."""

    def __init__(self, port, bytes_per_s):
        self.target = port
        self.bytes_per_s = bytes_per_s
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()
        for one in self.sockets:
            one.close()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                return
            far.settimeout(None)
            for end in (near, far):  # small buffers: what is on the way is bounded
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PART)
                self.sockets.append(end)
            for source, to in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(source, to), daemon=True).start()

    def _relay(self, source, to):
        try:
            while True:
                part = source.recv(PART)
                if not part:
                    break
                time.sleep(len(part) / self.bytes_per_s)
                to.sendall(part)
        except OSError:
            pass
        for end in (source, to):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
