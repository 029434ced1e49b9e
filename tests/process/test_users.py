"""Users and their rights, over several leaders and over restarts."""

import os
import resource
import socket
import subprocess
import time

from cluster import BINARY, Cluster, Skip, until
from resp import Connection, ReplyError, encode


def _refused(reply, word):
    assert isinstance(reply, ReplyError) and reply.text.startswith(word), reply


def _closed(connection, deadline_s=10):
    """The server closes it, within that time."""
    connection.socket.settimeout(deadline_s)
    try:
        return connection.socket.recv(1) == b""
    except ConnectionError:
        return True


def _comes_back(leader, user, password):
    try:
        return _authenticates(leader, user, password)
    except OSError:  # it is not there yet, or loading
        return False


def _authenticates(leader, user, password):
    with Connection(leader.port) as connection:
        return connection.ask("AUTH", user, password) == b"OK"


def test_users_everywhere(long):
    """A user set at one leader authenticates at another, survives kill -9, and is shut out here when deleted there."""
    with Cluster(["eu", "us", "asia"]) as cluster:
        eu, us, asia = cluster.eu, cluster.us, cluster.asia
        assert eu.call("ACL", "SETUSER", "bob", "on", ">secret", "~app:*", "+@all", "-@dangerous") == b"OK"
        for leader in (eu, us, asia):
            until(f"bob is known at {leader.name}", lambda: _authenticates(leader, "bob", "secret"), 20)
            assert not _authenticates(leader, "bob", "wrong")
        assert eu.call("ACL", "LIST") == us.call("ACL", "LIST") == asia.call("ACL", "LIST")
        with Connection(us.port) as bob:
            assert bob.call("AUTH", "bob", "secret") == b"OK"
            assert bob.call("SET", "app:1", "x") == b"OK"
            _refused(bob.ask("SET", "other", "x"), "NOPERM this user has no permissions to access one of the keys")
            _refused(bob.ask("FLUSHALL"), "NOPERM this user has no permissions to run the 'flushall' command")
            # Rights count at once, for connections that are there too.
            assert eu.call("ACL", "SETUSER", "bob", "resetkeys", "~other*") == b"OK"
            until("it is there", lambda: bob.ask("SET", "other", "x") == b"OK", 20)
            _refused(bob.ask("GET", "app:1"), "NOPERM")

            # kill -9: from the log, and, after a checkpoint, from the store.
            us.kill()
            cluster.restart("us")
            assert _authenticates(us, "bob", "secret")
            assert us.call("POLYARCH", "CHECKPOINT") == b"OK"
            us.kill()
            cluster.restart("us")
            assert us.call("ACL", "LIST") == eu.call("ACL", "LIST")
        cluster.wait_linked()
        with Connection(us.port) as bob, Connection(us.port) as waits, Connection(us.port) as other:
            for connection in (bob, waits):
                assert connection.call("AUTH", "bob", "secret") == b"OK"
            waits.send_raw(encode("BLPOP", "other:queue", "0"))
            assert eu.call("ACL", "DELUSER", "bob") == 1
            assert _closed(bob) and _closed(waits)
            assert other.call("PING") == b"PONG"
            _refused(other.ask("AUTH", "bob", "secret"), "WRONGPASS")
        # Who deletes itself has its reply.
        assert us.call("ACL", "SETUSER", "gone", "on", "nopass", "+@all") == b"OK"
        with Connection(us.port) as gone:
            assert gone.call("AUTH", "gone", "any") == b"OK"
            assert gone.call("ACL", "DELUSER", "gone") == 1
            assert _closed(gone)


def test_users_concurrent(long):
    """Two leaders that cannot hear each other change one user: both end with the same, and what was taken away stays so."""
    with Cluster(["eu", "us"]) as cluster:
        eu, us = cluster.eu, cluster.us
        for user in ("both", "off", "gone", "mixed"):
            assert eu.call("ACL", "SETUSER", user, "on", ">first", "~a:*", "+get") == b"OK"
        until("all are known", lambda: us.call("ACL", "LIST") == eu.call("ACL", "LIST"), 20)
        cluster.cut("eu", "us")
        # The newest of two rights, as a whole.
        assert eu.call("ACL", "SETUSER", "both", "+set", "~b:*") == b"OK"
        assert us.call("ACL", "SETUSER", "both", "+@all") == b"OK"
        # Off wins, deleted wins, whoever was later.
        assert eu.call("ACL", "SETUSER", "off", "off") == b"OK"
        assert us.call("ACL", "SETUSER", "off", "on", "+set", "skip-sanitize-payload") == b"OK"
        assert eu.call("ACL", "DELUSER", "gone") == 1
        assert us.call("ACL", "SETUSER", "gone", "on", ">second", "+@all", "skip-sanitize-payload") == b"OK"
        # Passwords and rights are each for themselves.
        assert eu.call("ACL", "SETUSER", "mixed", "resetpass", ">second") == b"OK"
        assert us.call("ACL", "SETUSER", "mixed", "+set") == b"OK"
        # Made at both: one of them, whole.
        assert eu.call("ACL", "SETUSER", "new", "on", ">of-eu", "~eu", "+get") == b"OK"
        assert us.call("ACL", "SETUSER", "new", "on", ">of-us", "~us", "+set") == b"OK"
        with Connection(us.port) as gone:
            assert gone.call("AUTH", "gone", "second") == b"OK"
            cluster.heal("eu", "us")
            assert _closed(gone)
        cluster.wait_linked()
        until("equal", lambda: us.call("ACL", "LIST") == eu.call("ACL", "LIST"), 20)
        rules = {line.split()[1]: line for line in map(bytes.decode, eu.call("ACL", "LIST"))}
        assert "gone" not in rules, rules
        assert rules["both"].endswith("~a:* resetchannels +@all"), rules
        assert rules["off"].startswith("user off off "), rules
        assert rules["mixed"].endswith("-@all +get +set"), rules
        assert _authenticates(eu, "mixed", "second") and not _authenticates(us, "mixed", "first")
        who = "us" if _authenticates(eu, "new", "of-us") else "eu"
        assert _authenticates(us, "new", "of-" + who)
        assert f"~{who} resetchannels -@all +{'set' if who == 'us' else 'get'}" in rules["new"], rules
        # Who has seen it may bring it back.
        assert us.call("ACL", "SETUSER", "gone", "on", "nopass") == b"OK"
        assert us.call("ACL", "SETUSER", "off", "on") == b"OK"
        until("they are back", lambda: _authenticates(eu, "gone", "any") and _authenticates(eu, "off", "first"), 20)


def test_users_default(long):
    """The user `default`: of each leader's configuration until somebody sets it, then of all leaders."""
    with Cluster(["eu", "us"], flags=["--requirepass", "configured"]) as cluster:
        eu, us = cluster.eu, cluster.us
        with Connection(us.port) as stranger:
            _refused(stranger.ask("GET", "k"), "NOAUTH")
        assert us.call("CONFIG", "SET", "requirepass", "changed") == b"OK"
        assert _authenticates(us, "default", "changed") and not _authenticates(us, "default", "configured")
        assert _authenticates(eu, "default", "configured"), "of one leader alone"
        # An operator of one's own, and no default user any more.
        assert eu.call("ACL", "SETUSER", "admin", "on", ">admin", "+@all", "~*", "&*") == b"OK"
        until("known", lambda: _authenticates(us, "admin", "admin"), 20)
        assert eu.call("ACL", "SETUSER", "default", "off", "resetpass", "-@all") == b"OK"
        until("off", lambda: not _authenticates(us, "default", "changed"), 20)
        with Connection(us.port) as admin:
            assert admin.call("AUTH", "admin", "admin") == b"OK"
            _refused(admin.ask("CONFIG", "SET", "requirepass", "x"), "ERR CONFIG SET failed")
            _refused(us.ask("GET", "k"), "NOPERM this user has no permissions to run the 'get' command")
        eu.kill()
        cluster.restart("eu", ready=False)
        until("eu is back", lambda: _comes_back(eu, "admin", "admin"), 30)
        assert not _authenticates(eu, "default", "configured"), "what was set counts, after a restart, too"
        with open(eu.log_path, encoding="utf-8") as log:
            assert "requirepass is not used" in log.read()
        # The tools of the operator.
        status = [BINARY, "status", "-p", str(eu.port)]
        refused = subprocess.run(status, capture_output=True, text=True, timeout=60)
        assert refused.returncode != 0 and "POLYARCH_PASSWORD" in refused.stderr, refused
        for extra, environment in ((["--user", "admin", "-a", "admin"], {}),
                                   ([], {"POLYARCH_USER": "admin", "POLYARCH_PASSWORD": "admin"}),
                                   (["-u", f"redis://admin:admin@127.0.0.1:{eu.port}"], {})):
            shown = subprocess.run(status + extra, capture_output=True, text=True, timeout=60,
                                   env={**os.environ, **environment})
            assert shown.returncode == 0 and "us" in shown.stdout, shown
        with Connection(eu.port) as admin:
            assert admin.call("AUTH", "admin", "admin") == b"OK"
            assert admin.call("ACL", "SETUSER", "looks", "on", ">looks", "+info", "+leader|list", "+polyarch|vv", "+topology|get") == b"OK"
        for command in ("status", "topology"):
            shown = subprocess.run([BINARY, command, "-p", str(eu.port), "--user", "looks", "-a", "looks"],
                                   capture_output=True, text=True, timeout=60)
            assert shown.returncode == 0 and "us" in shown.stdout, shown
        wrong = subprocess.run(status + ["--user", "nobody", "-a", "x"], capture_output=True, text=True, timeout=60)
        assert wrong.returncode != 0 and "--user" in wrong.stderr, wrong


def test_users_subscribers(long):
    """A subscriber is closed when it may not hear any more what it listens to, set at another leader."""
    with Cluster(["eu", "us"]) as cluster:
        eu, us = cluster.eu, cluster.us
        assert eu.call("ACL", "SETUSER", "ear", "on", "nopass", "+@all", "&news:*", "&other") == b"OK"
        until("known", lambda: _authenticates(us, "ear", "any"), 20)
        with Connection(us.port) as news, Connection(us.port) as other:
            for connection, channel in ((news, "news:a"), (other, "other")):
                assert connection.call("AUTH", "ear", "any") == b"OK"
                assert connection.call("SUBSCRIBE", channel) == [b"subscribe", channel.encode(), 1]
            assert eu.call("ACL", "SETUSER", "ear", "resetchannels", "&news:*") == b"OK"
            assert _closed(other)
            until("it is heard", lambda: us.call("PUBLISH", "news:a", "x") == 1, 10)
            assert news.read() == [b"message", b"news:a", b"x"]


def test_users_survive_joining(long):
    """A leader that joins by state knows the users as soon as it has it, and shuts out who is none."""
    with Cluster(["eu"]) as cluster:
        eu = cluster.eu
        for i in range(200):
            assert eu.call("ACL", "SETUSER", f"user{i}", "on", f">secret{i}", f"~{i}:*", "+@all") == b"OK"
        assert eu.call("ACL", "DELUSER", "user7") == 1
        assert eu.call("POLYARCH", "CHECKPOINT") == b"OK"
        us = cluster.add("us")
        cluster.wait_linked()
        until("equal", lambda: us.call("ACL", "LIST") == eu.call("ACL", "LIST"), 20)
        assert len(us.call("ACL", "USERS")) == 200
        begun = time.monotonic()
        assert all(_authenticates(us, f"user{i}", f"secret{i}") == (i != 7) for i in range(200))
        assert time.monotonic() - begun < 30


def test_strangers_are_cheap(long):
    """Connections that have not authenticated, with half a request each (long: 10,000 of them), take little memory."""
    count, bytes_max = (10_000 if long else 1_000), (64 << 20) / 10_000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < count + 200:
        raise Skip(f"only {hard} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(count + 200, 1024), hard))
    with Cluster(["eu"], flags=["--requirepass", "secret", "--maxclients", str(count + 10)]) as cluster:
        eu = cluster.eu
        before = eu.process.rss()
        strangers = []
        try:
            for _ in range(count):
                stranger = socket.create_connection(("127.0.0.1", eu.port))
                stranger.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\n")
                strangers.append(stranger)
            until("all are there", lambda: eu.info("clients")["connected_clients"] == str(count + 1), 10)
            taken = (eu.process.rss() - before) / count
            print(f"      {taken:.0f} bytes for each of {count} connections that have not authenticated")
            assert taken < bytes_max, taken
        finally:
            for stranger in strangers:
                stranger.close()
