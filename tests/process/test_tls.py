"""TLS for clients and between leaders: who is let in and who is refused, and what is said of it; bytes, reloads, partitions.

Certificates are made by the openssl command, as docs/operations.md shows it."""

import contextlib
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from cluster import BINARY, Cluster, Leader, die_with_parent, free_port, until
from resp import Connection, ReplyError, encode

MIB = 1 << 20


class Authority:
    """A CA of its own, in a directory of its own, and what it signs."""

    def __init__(self, directory, name="ca"):
        self.directory = directory
        self.name = name
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
                      "-subj", f"/CN={name}", "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.crt"))

    def path(self, file):
        return os.path.join(self.directory, file)

    @property
    def certificate(self):
        return self.path(f"{self.name}.crt")

    @staticmethod
    def _openssl(*arguments):
        done = subprocess.run(["openssl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, timeout=60)
        assert done.returncode == 0, (arguments, done.stdout)

    def issue(self, file, names="", usage="", dates=None, alone=False):
        """FILE.crt and FILE.key; `names`: subjectAltName; `dates`: from and to, as openssl ca takes them; `alone`: signed by
        itself."""
        key, request, certificate = (self.path(f"{file}.{end}") for end in ("key", "csr", "crt"))
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                      f"/CN={file}", "-keyout", key, "-out", request)
        extensions = self.path(f"{file}.ext")
        with open(extensions, "w", encoding="ascii") as text:
            text.write("basicConstraints = CA:FALSE\n" + (f"subjectAltName = {names}\n" if names else "")
                       + (f"extendedKeyUsage = {usage}\n" if usage else ""))
        if dates:
            # Only the command `ca` takes dates, and it wants files of its own.
            base = tempfile.mkdtemp(dir=self.directory)
            for name, content in (("index.txt", ""), ("serial", "1000\n")):
                with open(os.path.join(base, name), "w", encoding="ascii") as text:
                    text.write(content)
            with open(os.path.join(base, "ca.cnf"), "w", encoding="ascii") as text:
                text.write(f"[ca]\ndefault_ca = own\n[own]\ndatabase = {base}/index.txt\nserial = {base}/serial\n"
                           f"new_certs_dir = {base}\ndefault_md = sha256\npolicy = any\n[any]\ncommonName = supplied\n")
            self._openssl("ca", "-batch", "-notext", "-config", os.path.join(base, "ca.cnf"), "-cert", self.certificate,
                          "-keyfile", self.path(f"{self.name}.key"), "-in", request, "-out", certificate, "-extfile",
                          extensions, "-startdate", dates[0], "-enddate", dates[1])
        elif alone:
            self._openssl("x509", "-req", "-in", request, "-signkey", key, "-days", "30", "-extfile", extensions, "-out",
                          certificate)
        else:
            self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.path(f"{self.name}.key"),
                          "-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", certificate)
        return certificate, key

    def flags(self, file):
        return ["--tls-cert-file", self.path(f"{file}.crt"), "--tls-key-file", self.path(f"{file}.key"),
                "--tls-ca-cert-file", self.certificate]


PAST = ("20200101000000Z", "20200201000000Z")
FUTURE = ("20990101000000Z", "20990201000000Z")


@contextlib.contextmanager
def _authority():
    with tempfile.TemporaryDirectory(prefix="polyarch-tls-") as directory:
        yield Authority(directory)


def _context(authority, file=None, certificate=None, key=None):
    context = ssl.create_default_context(cafile=authority.certificate)
    if file:
        certificate, key = authority.path(f"{file}.crt"), authority.path(f"{file}.key")
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


class Secure(Connection):
    """The client of the other tests, by TLS."""

    def __init__(self, port, context, name="localhost", timeout=30.0):
        super().__init__(port, timeout=timeout)
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
        except BaseException:
            self.socket.close()
            raise


def _log(leader):
    with open(leader.log_path, encoding="utf-8", errors="replace") as log:
        return log.read()


def _said(leader, *words, deadline_s=20.0):
    """A line of the leader's log has all these words."""
    until(lambda: f"{leader.name} says {words}; it said:\n" + leader.process.log_tail(15),
          lambda: any(all(word in line for word in words) for line in _log(leader).splitlines()), deadline_s)


def _closed(connection):
    """The server has closed, in whatever way."""
    try:
        connection.settimeout(20)
        while connection.recv(1 << 16):
            pass
    except socket.timeout:
        raise AssertionError("the connection is open still") from None
    except OSError:
        pass
    return True


@contextlib.contextmanager
def _server(authority, *flags, file="eu"):
    """One leader with a port for TLS beside the plain one."""
    port = free_port()
    with Cluster(["eu"], flags=["--tls-port", str(port), *authority.flags(file), *flags]) as cluster:
        cluster.eu.tls_port = port
        yield cluster.eu


def test_tls_clients(long):
    with _authority() as ca:
        ca.issue("eu", "DNS:eu,DNS:localhost,IP:127.0.0.1")
        ca.issue("good")
        ca.issue("expired", dates=PAST)
        ca.issue("early", dates=FUTURE)
        ca.issue("server-only", usage="serverAuth")
        ca.issue("alone", alone=True)
        other = Authority(ca.directory, "other")
        other.issue("stranger")
        refusals = {None: "it shows no certificate", "expired": "certificate has expired",
                    "early": "certificate is not yet valid", "server-only": "certificate purpose",
                    "alone": "self-signed certificate", "stranger": "unable to get local issuer certificate"}
        with _server(ca) as eu:
            with Secure(eu.tls_port, _context(ca, "good")) as client:
                assert client.socket.version() in ("TLSv1.2", "TLSv1.3")
                assert client.call("SET", "k", "by TLS") == b"OK"
                assert eu.call("GET", "k") == b"by TLS"
                # Redis's names.
                assert client.call("CONFIG", "GET", "tls-port") == [b"tls-port", b"%d" % eu.tls_port]
                assert client.call("CONFIG", "GET", "tls-auth-clients") == [b"tls-auth-clients", b"yes"]
                assert client.call("CONFIG", "GET", "tls-cert-file")[1].endswith(b"eu.crt")
                for file, why in refusals.items():
                    try:
                        with Secure(eu.tls_port, _context(ca, file)) as refused:
                            answer = refused.ask("PING")
                        raise AssertionError(f"{file} is let in: {answer}")
                    except (ssl.SSLError, OSError):
                        pass
                    _said(eu, "a client at 127.0.0.1 is refused: ", why)
                # TLS 1.2 is taken, 1.1 is not.
                older = _context(ca, "good")
                older.maximum_version = ssl.TLSVersion.TLSv1_2
                with Secure(eu.tls_port, older) as second:
                    assert second.socket.version() == "TLSv1.2" and second.call("PING") == b"PONG"
                oldest = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                oldest.check_hostname = False
                oldest.verify_mode = ssl.CERT_NONE
                oldest.set_ciphers("ALL:@SECLEVEL=0")
                oldest.minimum_version = ssl.TLSVersion.TLSv1
                oldest.maximum_version = ssl.TLSVersion.TLSv1_1
                try:
                    Secure(eu.tls_port, oldest)
                    raise AssertionError("TLS 1.1 is let in")
                except ssl.SSLError:
                    pass
                _said(eu, "a client at 127.0.0.1 is refused: it speaks no TLS from 1.2 on")
                # The other port's language, on both ports.
                with Connection(eu.tls_port) as plain:
                    answer = plain.ask("PING")
                    assert isinstance(answer, ReplyError) and "speaks TLS only" in answer.text, answer
                    assert _closed(plain.socket)
                _said(eu, "a client at 127.0.0.1 is refused: it does not speak TLS")
                with Connection(eu.port) as plain:
                    plain.send_raw(b"\x16\x03\x01\x02\x00\x01\x00")
                    answer = plain.read()
                    assert isinstance(answer, ReplyError) and "does not speak TLS" in answer.text, answer
                assert client.call("PING") == b"PONG", "others are served all the same"
            # CLIENT LIST, CLIENT KILL.
            with Secure(eu.tls_port, _context(ca, "good")) as client:
                number = client.call("CLIENT", "ID")
                listed = [line for line in eu.call("CLIENT", "LIST").decode().splitlines() if line.startswith(f"id={number} ")]
                assert len(listed) == 1 and f"laddr=127.0.0.1:{eu.tls_port}" in listed[0], listed
                assert eu.call("CLIENT", "KILL", "ID", number) == 1
                assert _closed(client.socket)
            # Asked, and not asked.
            for mode, let_in in (("optional", (None, "good")), ("no", (None, "good", "expired", "stranger"))):
                assert eu.call("CONFIG", "SET", "tls-auth-clients", mode) == b"OK"
                for file in (None, "good", "expired", "stranger"):
                    try:
                        with Secure(eu.tls_port, _context(ca, file)) as client:
                            came = client.ask("PING") == b"PONG"
                    except (ssl.SSLError, OSError):
                        came = False
                    assert came == (file in let_in), (mode, file)
            fields = eu.info("stats")
            assert int(fields["tls_handshakes"]) >= 5 and int(fields["tls_handshakes_failed"]) >= 8, fields


def test_tls_handshakes(long):
    """Half a handshake, nothing and garbage end by themselves, however many; who behaves is served meanwhile."""
    with _authority() as ca:
        ca.issue("eu", "DNS:eu,DNS:localhost")
        with _server(ca, "--tls-auth-clients", "no") as eu:
            silent = [socket.create_connection(("127.0.0.1", eu.tls_port)) for _ in range(40)]
            half = [socket.create_connection(("127.0.0.1", eu.tls_port)) for _ in range(40)]
            for connection in half:
                connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            for garbage in (b"\x16\x03\x01" + os.urandom(4096), b"\x16" * 4096, b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100):
                with socket.create_connection(("127.0.0.1", eu.tls_port)) as connection:
                    connection.sendall(garbage)
                    connection.shutdown(socket.SHUT_WR)
                    assert _closed(connection)
            with Secure(eu.tls_port, _context(ca)) as client:
                assert client.call("PING") == b"PONG"
                begin = time.monotonic()
                for connection in silent + half:
                    assert _closed(connection)
                    connection.close()
                assert time.monotonic() - begin < 20
                _said(eu, "a client at 127.0.0.1 is refused: no handshake of TLS within")
                assert client.call("PING") == b"PONG"
            assert _log(eu).count("no handshake of TLS within") < 10, "one line for many"
            # Bytes that are broken behind the handshake.
            client = Secure(eu.tls_port, _context(ca))
            assert client.call("PING") == b"PONG"
            with socket.socket(fileno=os.dup(client.socket.fileno())) as beneath:
                beneath.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
            assert _closed(client.socket)
            client.close()
            _said(eu, "the connection of client", "TLS failed")


def test_tls_bytes(long):
    """Large replies, long pipelines, a reader that does not read, messages: byte by byte as without TLS."""
    with _authority() as ca:
        ca.issue("eu", "DNS:eu,DNS:localhost")
        with _server(ca, "--tls-auth-clients", "no") as eu:
            value = os.urandom(10 * MIB)
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = _context(ca)
                context.minimum_version = context.maximum_version = version
                with Secure(eu.tls_port, context) as client:
                    assert client.call("SET", "large", value) == b"OK"
                    assert client.call("GET", "large") == value
                    assert eu.call("GET", "large") == value
                    # A pipeline of many small and some large, written by a thread while the replies are read.
                    commands = []
                    for i in range(20_000):
                        commands.append(("ECHO", f"{i}:" + "x" * (i % 300)))
                        if i % 4000 == 0:
                            commands.append(("GET", "large"))
                    request = b"".join(encode(*command) for command in commands)
                    # One SSL object is for one thread: both directions in one loop.
                    expected = b"".join(b"$%d\r\n%s\r\n" % (len(reply), reply) for reply in (
                        value if c[0] == "GET" else c[1].encode() for c in commands))
                    got = _both_ways(client.socket, request, len(expected))
                    assert got == expected, (len(got), len(expected))
            # Requests in pieces of one byte: each is a record of its own.
            with Secure(eu.tls_port, _context(ca)) as client:
                for byte in encode("SET", "slow", "piece by piece"):
                    client.socket.send(bytes([byte]))
                assert client.read() == b"OK" and eu.get("slow") == b"piece by piece"
                # It waits, and is served by another.
                client.send_raw(encode("BLPOP", "list", "20") + encode("PING"))
                until("it waits", lambda: eu.info("clients")["blocked_clients"] == "1")
                eu.call("RPUSH", "list", "element")
                assert client.read() == [b"list", b"element"] and client.read() == b"PONG"
                client.call("SUBSCRIBE", "news")
                assert eu.call("PUBLISH", "news", value[:MIB]) == 1
                assert client.read() == [b"message", b"news", value[:MIB]]
            # One that does not read is closed by the limit of messages, as without TLS.
            with Secure(eu.tls_port, _context(ca)) as client:
                client.call("SUBSCRIBE", "flood")
                begin = eu.info("stats")["pubsub_limit_disconnections"]
                for _ in range(60):
                    eu.call("PUBLISH", "flood", value[:MIB])
                until("the slow subscriber is closed",
                      lambda: eu.info("stats")["pubsub_limit_disconnections"] != begin)


def _both_ways(connection, request, size):
    """Sends and receives at once, on one TLS connection, without waiting for either."""
    connection.setblocking(False)
    got, sent, end = bytearray(), 0, time.monotonic() + 120
    while len(got) < size:
        assert time.monotonic() < end, (sent, len(request), len(got), size)
        moved = False
        try:
            data = connection.recv(1 << 16)
            assert data, "closed"
            got += data
            moved = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        if sent < len(request):
            try:
                sent += connection.send(request[sent:sent + (1 << 16)])
                moved = True
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
        if not moved:
            select.select([connection], [connection] if sent < len(request) else [], [], 1)
    connection.setblocking(True)
    return bytes(got)


def _shown(port, ca):
    """The DNS names of the certificate that a new connection is shown."""
    with Secure(port, _context(ca)) as client:
        return [name for kind, name in client.socket.getpeercert()["subjectAltName"] if kind == "DNS"]


def test_tls_reload(long):
    with _authority() as ca:
        ca.issue("eu", "DNS:eu,DNS:localhost")
        ca.issue("new", "DNS:new,DNS:localhost")
        ca.issue("old", "DNS:eu,DNS:localhost", dates=PAST)
        with _server(ca, "--tls-auth-clients", "no") as eu:
            kept = Secure(eu.tls_port, _context(ca))
            assert _shown(eu.tls_port, ca) == ["eu", "localhost"]
            # All or nothing: a file that is missing, a key of another certificate, no certificate.
            with open(ca.path("text"), "w", encoding="ascii") as text:
                text.write("no certificate\n")
            for words, what in [
                    (("tls-cert-file", ca.path("none.crt")), "No such file"),
                    (("tls-cert-file", ca.path("new.crt")), "does not fit"),
                    (("tls-key-file", ca.path("text")), "holds no key"),
                    (("tls-cert-file", ca.path("new.crt"), "tls-key-file", ca.path("text")), "holds no key"),
                    (("maxmemory-samples", "7", "tls-cert-file", ca.path("text")), "holds no certificate"),
                    (("tls-auth-clients", "maybe"), "must be one of")]:
                before = eu.call("CONFIG", "GET", "*")
                answer = eu.ask("CONFIG", "SET", *words)
                assert isinstance(answer, ReplyError) and what in answer.text, (words, answer)
                assert eu.call("CONFIG", "GET", "*") == before, words
                assert _shown(eu.tls_port, ca) == ["eu", "localhost"]
            answer = eu.ask("CONFIG", "SET", "tls-port", "1")
            assert isinstance(answer, ReplyError) and "immutable" in answer.text, answer
            # Both together.
            assert eu.call("CONFIG", "SET", "tls-cert-file", ca.path("new.crt"), "tls-key-file", ca.path("new.key")) == b"OK"
            assert _shown(eu.tls_port, ca) == ["new", "localhost"]
            assert kept.call("PING") == b"PONG", "who is there stays"
            assert eu.call("CONFIG", "SET", "tls-auth-clients", "OPTIONAL") == b"OK"
            assert eu.call("CONFIG", "GET", "tls-auth-clients")[1] == b"optional"
            assert eu.call("CONFIG", "SET", "tls-auth-clients", "No") == b"OK"
            # New files under the same names: by CONFIG SET of what is set, and by SIGHUP.
            ca.issue("new", "DNS:newer,DNS:localhost")
            assert _shown(eu.tls_port, ca) == ["new", "localhost"]
            assert eu.call("CONFIG", "SET", "tls-cert-file", ca.path("new.crt")) == b"OK"
            assert _shown(eu.tls_port, ca) == ["newer", "localhost"]
            ca.issue("new", "DNS:newest,DNS:localhost")
            eu.process.signal(signal.SIGHUP)
            until("the newest certificate is shown", lambda: _shown(eu.tls_port, ca) == ["newest", "localhost"])
            os.unlink(ca.path("new.key"))
            eu.process.signal(signal.SIGHUP)
            _said(eu, "the certificates stay as they were", "new.key")
            assert _shown(eu.tls_port, ca) == ["newest", "localhost"]
            assert kept.call("PING") == b"PONG"
            kept.close()
            # One that has expired is taken, and the log says what comes of it.
            assert eu.call("CONFIG", "SET", "tls-cert-file", ca.path("old.crt"), "tls-key-file", ca.path("old.key")) == b"OK"
            _said(eu, "old.crt has expired")


def test_tls_startup(long):
    """Errors of one line that name cause and remedy; which addresses need what."""
    with _authority() as ca:
        ca.issue("eu", "DNS:eu,DNS:localhost")
        ca.issue("us", "DNS:us")

        def fails(code, *flags, words=(), port=None):
            port = free_port((0, 1000)) if port is None else port
            done = subprocess.run(
                [BINARY, "server", "--id", "eu", "--port", str(port), "--http-port", "0", "--dir", ca.path("data"), *flags],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
            assert done.returncode == code, (flags, done.returncode, done.stdout)
            assert len(done.stdout.strip().splitlines()) == 1, done.stdout
            for word in words:
                assert word in done.stdout, (flags, word, done.stdout)

        tls = ["--tls-port", str(free_port())]
        own = ["--tls-cert-file", ca.path("eu.crt"), "--tls-key-file", ca.path("eu.key")]
        trusted = ["--tls-ca-cert-file", ca.certificate]
        fails(2, *tls, words=["--tls-cert-file", "--tls-key-file"])
        fails(2, *tls, *own, words=["--tls-ca-cert-file", "--tls-auth-clients no"])
        fails(2, *own, "--tls-peers", "yes", words=["--tls-ca-cert-file"])
        fails(2, *tls, *own, "--tls-auth-clients", "maybe", words=["yes, no or optional"])
        fails(1, *tls, *trusted, "--tls-cert-file", ca.path("eu.crt"), "--tls-key-file", ca.path("us.key"),
              words=["does not fit", "us.key", "eu.crt", "--tls-key-file"])
        fails(1, *tls, *trusted, "--tls-cert-file", ca.path("none"), "--tls-key-file", ca.path("eu.key"),
              words=["No such file", "--tls-cert-file"])
        fails(1, *trusted, "--tls-cert-file", ca.path("us.crt"), "--tls-key-file", ca.path("us.key"), "--tls-peers", "yes",
              words=["is not for leader 'eu'", "'us'", "DNS:eu"])
        # Beyond this machine: a password, or mutual TLS without a plain port beside it.
        fails(2, *tls, *own, *trusted, "--bind", "0.0.0.0", words=["--requirepass"])
        fails(2, *tls, *own, *trusted, "--bind", "0.0.0.0", "--tls-auth-clients", "optional", words=["--requirepass"], port=0)
        fails(2, "--peer-bind", "0.0.0.0", "--advertise", "127.0.0.1:1", words=["--tls-peers yes"])
        assert not os.path.exists(ca.path("data")), "what cannot run leaves no directory behind"
        ca.issue("good")
        port = free_port((0, 1000))
        eu = Leader("eu", ca.path("data"),
                    ["--tls-port", str(port), *own, *trusted, "--bind", "0.0.0.0", "--peer-bind", "0.0.0.0",
                     "--advertise", f"127.0.0.1:{port + 1000}", "--tls-peers", "yes", "--http-port", "0"])
        eu.port, eu.peer_port = 0, port + 1000  # no plain port
        try:
            eu.start(ready=False)
            _said(eu, f"serves clients on port {port} (TLS)")

            def answers():
                try:
                    with Secure(port, _context(ca, "good")) as client:
                        return client.call("PING") == b"PONG"
                except OSError:
                    return False
            until("it answers by TLS", answers)
            with Secure(port, _context(ca, "good")) as client:
                answer = client.ask("CONFIG", "SET", "tls-auth-clients", "no")
                assert isinstance(answer, ReplyError) and "--requirepass" in answer.text, answer
                assert client.call("CONFIG", "GET", "tls-auth-clients")[1] == b"yes"
                assert client.call("CONFIG", "GET", "port")[1] == b"0"
                assert f"tcp_port:{port}\r\n".encode() in client.call("INFO", "server")
                # Both together, in whichever order; all or nothing.
                for words in (("tls-auth-clients", "no", "requirepass", "secret"),
                              ("requirepass", "", "tls-auth-clients", "yes"),
                              ("requirepass", "secret", "tls-auth-clients", "no"),
                              ("tls-auth-clients", "yes", "requirepass", "")):
                    assert client.call("CONFIG", "SET", *words) == b"OK", words
                for words in (("requirepass", "secret", "tls-auth-clients", "no", "maxmemory-samples", "bad"),
                              ("tls-auth-clients", "no", "requirepass", "secret", "maxmemory-samples", "bad")):
                    answer = client.ask("CONFIG", "SET", *words)
                    assert isinstance(answer, ReplyError) and "stays changed" not in answer.text, answer
                    assert client.call("CONFIG", "GET", "tls-auth-clients")[1] == b"yes"
                    assert client.call("CONFIG", "GET", "requirepass")[1] == b""
            assert answers(), "no password is asked for"
        finally:
            if eu.process:
                eu.process.kill()


def test_tls_hang_up_at_start(long):
    """SIGHUP while a leader starts: it lives, and reads its certificates again as soon as it serves."""
    with _authority() as ca:
        ca.issue("eu", "DNS:eu,DNS:localhost")
        certificate, whole = ca.path("eu.crt"), ca.path("whole.crt")
        os.rename(certificate, whole)
        os.mkfifo(certificate)
        eu = Leader("eu", ca.path("data"), ["--tls-port", str(free_port()), *ca.flags("eu")])
        try:
            eu.start(ready=False)

            def opened():
                try:
                    return os.open(certificate, os.O_WRONLY | os.O_NONBLOCK)
                except OSError:  # nobody reads it yet
                    return None
            pipe = until("it reads its certificate, in the middle of its start", opened)
            eu.process.signal(signal.SIGHUP)

            def delivered():
                if not eu.process.alive():
                    return True
                with open(f"/proc/{eu.process.pid}/status", encoding="ascii") as status:
                    return all(int(line.split()[1], 16) == 0 for line in status if line.startswith(("SigPnd:", "ShdPnd:")))
            until("the signal has come", delivered)
            assert eu.process.alive(), eu.process.log_tail()
            # The file, by whichever of the two ways it is read.
            with open(whole, "rb") as text:
                content = text.read()
            os.rename(whole, certificate)
            with contextlib.suppress(BrokenPipeError):
                os.write(pipe, content)
            os.close(pipe)
            eu.wait_ready()
            _said(eu, "certificates and keys were read again")
            eu.terminate()
        finally:
            if eu.process and eu.process.alive():
                eu.process.kill()


def _peer_flags(ca, file):
    return [*ca.flags(file), "--tls-peers", "yes"]


def test_tls_peers(long):
    """Three leaders by mutual TLS: they replicate, one is killed and comes back, one is cut off and heals."""
    with _authority() as ca:
        names = ("eu", "us", "asia")
        for name in names:
            ca.issue(name, f"DNS:{name}")
        with Cluster(names, flags_of={name: _peer_flags(ca, name) for name in names}) as cluster:
            value = os.urandom(5 * MIB)
            cluster.eu.call("SET", "large", value)
            for name in names:
                cluster.leaders[name].call("SET", f"from:{name}", name)
            cluster.wait_converged()
            assert cluster.asia.get("large") == value
            # What goes over the line is no message of peers: no leader's name, no key is to be seen. (The port asks for TLS.)
            with socket.create_connection(("127.0.0.1", cluster.eu.peer_port)) as connection:
                connection.sendall(b"\x10\x00\x00\x00\x00\x00\x00\x00" + b"x" * 16)
                data = connection.recv(100)
                assert data == b"\x15\x03\x03\x00\x02\x02\x46", data
                assert _closed(connection)
            cluster.us.kill()
            for i in range(2000):
                cluster.eu.call("SET", f"k{i}", i)
            cluster.restart("us")
            cluster.wait_linked()
            cluster.isolate("asia")
            cluster.asia.call("SET", "alone", "asia")
            cluster.eu.call("SET", "alone", "eu")
            cluster.heal_all()
            cluster.wait_linked()
            cluster.wait_converged()
            # New certificates, by SIGHUP, at one after another; links that begin from then on use them.
            for name in names:
                ca.issue(name, f"DNS:{name}")
                cluster.leaders[name].process.signal(signal.SIGHUP)
                _said(cluster.leaders[name], "certificates and keys were read again")
            cluster.us.kill()
            cluster.restart("us")
            cluster.wait_linked()
            cluster.us.call("SET", "last", "us")
            cluster.wait_get("last", "us")
            cluster.wait_converged()


class Between(threading.Thread):
    """Somebody between two leaders, with a certificate of his own: ends TLS on both sides, and passes all on."""

    def __init__(self, target_port, ca, file):
        super().__init__(daemon=True)
        self.target_port = target_port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(ca.path(f"{file}.crt"), ca.path(f"{file}.key"))
        self.client = _context(ca, file)
        self.client.check_hostname = False
        self.start()

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), contextlib.ExitStack() as open_ones:
                open_ones.callback(near.close)
                near = open_ones.enter_context(self.server.wrap_socket(near, server_side=True))
                far = open_ones.enter_context(socket.create_connection(("127.0.0.1", self.target_port)))
                far = open_ones.enter_context(self.client.wrap_socket(far, server_hostname="any"))
                self.relay(near, far)

    @staticmethod
    def relay(near, far):
        others = {near: far, far: near}
        end = time.monotonic() + 20
        while time.monotonic() < end:
            ready = [s for s in others if s.pending()] or select.select(list(others), [], [], 1)[0]
            for one in ready:
                data = one.recv(1 << 16)
                if not data:
                    return
                others[one].sendall(data)

    def close(self):
        # A blocked accept is not ended by close.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_tls_peers_refused(long):
    """Who has no certificate, a bad one, or another leader's: refused in both directions, and both ends say why."""
    with _authority() as ca:
        for name in ("eu", "us", "asia"):
            ca.issue(name, f"DNS:{name}")
        ca.issue("expired", "DNS:us", dates=PAST)
        ca.issue("early", "DNS:us", dates=FUTURE)
        ca.issue("alone", "DNS:us", alone=True)
        ca.issue("client-only", "DNS:us", usage="clientAuth")
        ca.issue("server-only", "DNS:us", usage="serverAuth")
        other = Authority(ca.directory, "other")
        other.issue("stranger", "DNS:us")
        with Cluster(["eu"], flags=_peer_flags(ca, "eu")) as cluster:
            eu = cluster.eu
            eu.call("SET", "k", "v")
            # It trusts eu's CA whatever its own certificate is, so what it says is what eu thinks of it.
            for number, (file, why) in enumerate([
                    ("expired", "certificate has expired"), ("early", "certificate is not yet valid"),
                    ("stranger", "unable to get local issuer certificate"), ("alone", "self-signed certificate"),
                    ("server-only", "certificate purpose")]):
                us = Leader("us", os.path.join(cluster.directory, f"us{number}"),
                            [*ca.flags(file), "--tls-peers", "yes"])
                try:
                    us.start(join=[eu.peer_address])
                    _said(eu, "a peer at 127.0.0.1 is refused: its certificate is refused", why)
                    _said(us, "the link with the peer at " + eu.peer_address, "the other end refuses")
                    assert us.info()["admitted"] == "0"
                finally:
                    us.process.kill()
                    us.drop_connection()
            # The other direction: a listener that shows such a certificate to who dials.
            for file, why in [("expired", "certificate has expired"), ("stranger", "unable to get local issuer certificate"),
                              ("client-only", "certificate purpose")]:
                with Listener(ca, file) as listener:
                    us = Leader("us", os.path.join(cluster.directory, "dials-" + file), _peer_flags(ca, "us"))
                    try:
                        us.start(join=[f"127.0.0.1:{listener.port}"])
                        _said(us, f"the peer at 127.0.0.1:{listener.port} is refused: its certificate is refused", why)
                        _said(us, "cannot join: 127.0.0.1:%d" % listener.port, why)
                    finally:
                        us.process.kill()
                        us.drop_connection()
            # No certificate at all.
            bare = ssl.create_default_context(cafile=ca.certificate)
            bare.check_hostname = False
            try:
                with socket.create_connection(("127.0.0.1", eu.peer_port)) as plain, \
                        bare.wrap_socket(plain, server_hostname="eu") as secured:
                    secured.settimeout(20)
                    # The greeting would come at once.
                    assert not secured.recv(100), "it got in without a certificate"
            except OSError:
                pass
            _said(eu, "a peer at 127.0.0.1 is refused: it shows no certificate")
            # The name: somebody between the two, whose certificate is good, but asia's.
            between = Between(eu.peer_port, ca, "asia")
            us = Leader("us", os.path.join(cluster.directory, "us-between"), _peer_flags(ca, "us"))
            try:
                us.start(join=[f"127.0.0.1:{between.port}"])
                _said(eu, "says that it is leader us, but its certificate is for 'asia'", "DNS:us")
                _said(us, "says that it is leader eu, but its certificate is for 'asia'", "DNS:eu")
                assert us.info()["admitted"] == "0"
            finally:
                us.process.kill()
                us.drop_connection()
                between.close()
            # Without TLS, in both directions; each end says so.
            plain = Leader("plain", os.path.join(cluster.directory, "plain"))
            try:
                plain.start(join=[eu.peer_address])
                _said(eu, "a peer at 127.0.0.1 is refused: it does not speak TLS", "--tls-peers yes")
                _said(plain, f"the peer at {eu.peer_address} is refused: it speaks TLS", "--tls-peers yes")
            finally:
                plain.process.kill()
                plain.drop_connection()
        with Cluster(["plain"]) as cluster:
            us = Leader("us", os.path.join(cluster.directory, "us"), _peer_flags(ca, "us"))
            try:
                us.start(join=[cluster.plain.peer_address])
                _said(us, f"the peer at {cluster.plain.peer_address} is refused")
                _said(cluster.plain, "the peer at 127.0.0.1 is refused: it speaks TLS", "--tls-peers yes")
            finally:
                us.process.kill()
                us.drop_connection()


class Listener(threading.Thread):
    """Takes connections by TLS, and does nothing with them."""

    def __init__(self, ca, file):
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(ca.path(f"{file}.crt"), ca.path(f"{file}.key"))
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *unused):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                with self.context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)


def test_tls_tools(long):
    """polyarch status and export, redis-cli, and an import from a rediss:// source to a rediss:// leader."""
    with _authority() as ca:
        ca.issue("eu", "DNS:eu,DNS:localhost,IP:127.0.0.1")
        ca.issue("us", "DNS:us,IP:127.0.0.1")
        ca.issue("tool")
        shown = ["--cert", ca.path("tool.crt"), "--key", ca.path("tool.key")]
        trusted = ["--cacert", ca.certificate]

        def run(*arguments, code=0):
            done = subprocess.run([BINARY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                                  check=False)
            assert done.returncode == code, (arguments, done.returncode, done.stdout)
            return done.stdout

        with _server(ca) as eu:
            eu.call("SET", "k", "v")
            port = ["-p", str(eu.tls_port)]
            assert "eu" in run("status", *port, "--tls", *trusted, *shown)
            assert "eu" in run("status", "-u", f"rediss://127.0.0.1:{eu.tls_port}", *trusted, *shown)
            assert "eu" in run("status", *port, "--tls", *trusted, *shown, "--sni", "eu")
            assert "hostname mismatch" in run("status", *port, "--tls", *trusted, *shown, "--sni", "asia", code=1)
            assert "its certificate is refused" in run("status", *port, "--tls", *shown, code=1)
            assert "eu" in run("status", *port, "--tls", *shown, "--insecure")
            assert "the other end refuses" in run("status", *port, "--tls", *trusted, code=1)
            assert "speaks TLS only" in run("status", *port, code=1)
            assert "does not speak TLS" in run("status", "-p", str(eu.port), "--tls", *trusted, *shown, code=1)
            done = subprocess.run(["redis-cli", "--tls", *trusted, *shown, *port, "GET", "k"], stdout=subprocess.PIPE, text=True,
                                  timeout=30, check=False)
            assert done.stdout == "v\n", done
            out = ca.path("out.rdb")
            run("export", *port, "--tls", *trusted, *shown, "--out", out)
            assert os.path.getsize(out) > 0
            # A source by TLS: a Redis.
            source_port = free_port()
            source = subprocess.Popen(
                ["redis-server", "--port", "0", "--tls-port", str(source_port), "--tls-cert-file", ca.path("us.crt"),
                 "--tls-key-file", ca.path("us.key"), "--tls-ca-cert-file", ca.certificate, "--save", "", "--dir",
                 ca.directory], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
            try:
                def filled():
                    try:
                        with Secure(source_port, _context(ca, "tool"), name="127.0.0.1") as client:
                            value = os.urandom(2 * MIB)
                            client.call("SET", "moved", value)
                            client.call("RPUSH", "list", *range(1000))
                            return value
                    except OSError:
                        return None
                value = until("redis-server answers", filled)
                said = run("import", "--from", f"rediss://127.0.0.1:{source_port}", "--to",
                           f"rediss://127.0.0.1:{eu.tls_port}", *trusted, *shown, "--merge", "--until-synced", "--verify")
                assert re.search(r"no difference|differ", said), said
                assert eu.get("moved") == value and eu.call("LLEN", "list") == 1000
            finally:
                source.kill()
                source.wait()
