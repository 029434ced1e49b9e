"""Unmodified clients: redis-cli, redis-benchmark, python3-redis, ioredis."""

import fcntl
import json
import os
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios

from cluster import ROOT, Cluster, Skip, until
from npm import node_modules


def _run(arguments, stdin=None, timeout=120, cwd=None):
    done = subprocess.run(arguments, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout, check=False, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def test_redis_cli(long):
    with Cluster(["eu"]) as cluster:
        port = str(cluster.eu.port)

        def cli(*arguments, stdin=None):
            code, out, err = _run(["redis-cli", "-p", port, *arguments], stdin)
            assert code == 0 and err == "", (arguments, code, out, err)
            return out.rstrip("\n")

        assert cli("PING") == "PONG"
        assert cli("SET", "k", "v") == "OK"
        assert cli("GET", "k") == "v"
        assert "proto 3" in cli("-3", "HELLO", "3"), cli("-3", "HELLO", "3")
        assert cli("-3", "GET", "none") == ""
        assert cli("-n", "5", "SET", "other", "db") == "OK"
        assert cli("EXISTS", "other") == "0"
        assert cli(stdin="SET a 1\nINCR a\nGET a\n").splitlines() == ["OK", "2", "2"]
        assert sorted(cli("--scan").splitlines()) == ["a", "k"]
        assert "redis_version:7.0.15" in cli("INFO", "server")
        assert "polyarch_version:" in cli("INFO", "server")
        assert cli("POLYARCH", "VV") and cli("LEADER", "LIST") and cli("LINK", "HELP")
        for container in ("LEADER", "LINK", "POLICY", "CONFLICT", "POLYARCH"):
            assert container in cli(container, "HELP"), container

        # What interactive redis-cli reads for its hints.
        docs = json.loads(cli("--json", "-3", "COMMAND", "DOCS"))
        count = int(cli("COMMAND", "COUNT"))
        assert len(docs) == count > 70, (len(docs), count)
        assert len(json.loads(cli("--json", "COMMAND"))) == count
        for name, entry in docs.items():
            assert entry.get("summary") and entry.get("group") and entry.get("since"), (name, entry)
        for name in ("set", "get", "incr", "expire", "scan", "leader", "conflict", "policy"):
            assert name in docs, name
        assert any(a["name"] == "key" for a in docs["set"]["arguments"]), docs["set"]
        code, out, err = _run(["redis-cli", "-p", port, "--pipe"],
                              "".join(f"SET pipe:{i} {i}\r\n" for i in range(1000)))
        assert code == 0 and "errors: 0, replies: 1000" in out, (out, err)
        code, out, err = _run(["redis-cli", "-p", port, "--bigkeys"])
        assert code == 0 and "Biggest string" in out and not err, (out, err)
        _type_interactively(port)


def _type_interactively(port):
    """redis-cli on a terminal: while a command is typed, it shows the arguments that COMMAND DOCS told."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    child = subprocess.Popen(["redis-cli", "-p", port], stdin=slave, stdout=slave, stderr=slave, close_fds=True,
                             env={**os.environ, "TERM": "xterm"}, start_new_session=True)
    os.close(slave)
    shown = b""

    def expect(text):
        nonlocal shown

        def seen():
            nonlocal shown
            if select.select([master], [], [], 0.05)[0]:
                shown += os.read(master, 65536)
            return text in shown
        until(lambda: f"redis-cli shows {text!r}; shown: {shown!r}", seen, 10, 0)
        shown = shown[shown.index(text) + len(text):]

    try:
        expect(b"> ")
        for command, hint in ((b"SET ", b"key value"), (b"GET ", b"key"), (b"POLICY SET ", b"pattern"),
                              (b"CONFLICT GET ", b"key"), (b"LINK CUT ", b"")):
            os.write(master, command)
            expect(hint)
            os.write(master, b"\x15")  # Ctrl-U: the line is empty again
        os.write(master, b"SET hint 1\r")
        expect(b"OK")
        expect(b"> ")
        os.write(master, b"exit\r")
        assert child.wait(10) == 0
    finally:
        child.kill()
        child.wait()
        os.close(master)


def test_redis_benchmark(long):
    with Cluster(["eu"], flags=["--durability", "everysec"]) as cluster:
        for pipeline in ("1", "16"):
            code, out, err = _run([
                "redis-benchmark", "-p", str(cluster.eu.port), "-q", "-P", pipeline, "-n",
                "200000" if long else "20000", "-r", "10000", "-t", "ping,set,get,incr,mset"], timeout=600)
            text = out + err
            assert code == 0, text
            assert not re.search(r"WARN|rror|fail", text), text
            for name in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET"):
                assert re.search(rf"{name}\b.*requests per second", text), (name, text)
        code, out, err = _run(["redis-benchmark", "-p", str(cluster.eu.port), "-q", "-n", "10000", "--csv",
                               "SET", "key:__rand_int__", "value"])
        assert code == 0 and "rps" in out and not re.search("WARN|rror", out + err), (out, err)


def test_redis_py(long):
    try:
        import redis
    except ImportError:
        raise Skip("python3-redis is not installed for " + sys.executable) from None
    with Cluster(["eu", "us"]) as cluster:
        client = redis.Redis(port=cluster.eu.port, decode_responses=True, client_name="test", db=3)
        assert client.ping() and client.set("k", "v", ex=100) and client.get("k") == "v"
        assert 0 < client.ttl("k") <= 100 and client.persist("k") and client.ttl("k") == -1
        assert client.incr("n") == 1 and client.incrby("n", 5) == 6 and client.decr("n") == 5
        assert client.incrbyfloat("f", 1.5) == 1.5
        assert client.mset({"a": 1, "b": 2}) and client.mget("a", "b", "c") == ["1", "2", None]
        assert client.set("a", 3, nx=True) is None and client.set("a", 3, xx=True, get=True) == "1"
        assert client.append("k", "w") == 2 and client.strlen("k") == 2 and client.getrange("k", 0, 0) == "v"
        assert client.setrange("k", 1, "x") == 2 and client.getdel("k") == "vx"
        assert client.rename("a", "z") and client.copy("z", "y") and client.exists("z", "y") == 2
        assert sorted(client.scan_iter(match="*")) == sorted(client.keys()) == ["b", "f", "n", "y", "z"]
        assert client.type("n") == "string" and client.dbsize() == 5
        assert client.expire("n", 10) and client.expireat("b", 99999999999)
        assert client.execute_command("EXPIRETIME", "b") == 99999999999
        assert client.client_getname() == "test" and client.client_id() > 0
        assert any(c["name"] == "test" for c in client.client_list())
        assert client.info()["redis_version"] == "7.0.15" and client.info("replication")["role"] == "master"
        assert client.config_get("maxmemory") == {"maxmemory": "0"} and client.config_set("maxmemory", 0)
        assert client.command_count() > 70 and client.time()[0] > 1_600_000_000
        assert client.execute_command("LCS", "y", "z") == "3"
        pipe = client.pipeline(transaction=False)
        for i in range(100):
            pipe.set(f"p:{i}", i)
        assert pipe.execute() == [True] * 100
        try:
            client.incr("f2" if client.set("f2", "x") else "")
            raise AssertionError("INCR of a text")
        except redis.ResponseError as error:
            assert str(error) == "value is not an integer or out of range", error
        other = redis.Redis(port=cluster.us.port, decode_responses=True, db=3)
        until("us has what was written at eu", lambda: other.get("p:99") == "99")
        assert client.execute_command("LEADER", "LIST") and client.execute_command("POLYARCH", "DIGEST")
        assert client.flushdb() and client.dbsize() == 0


IOREDIS = r"""
const Redis = require('ioredis');
(async () => {
  const client = new Redis(+process.argv[2], {maxRetriesPerRequest: 1, connectionName: 'io'});
  const failures = [];
  client.on('error', (e) => failures.push(String(e)));
  const check = (what, got, want) => {
    if (JSON.stringify(got) !== JSON.stringify(want)) failures.push(`${what}: ${JSON.stringify(got)}`);
  };
  check('set', await client.set('k', 'v', 'EX', 100), 'OK');
  check('get', await client.get('k'), 'v');
  check('incrby', await client.incrby('n', 5), 5);
  check('mset', await client.mset({a: 1, b: 2}), 'OK');
  check('mget', await client.mget('a', 'b', 'c'), ['1', '2', null]);
  check('nx', await client.set('a', '3', 'NX'), null);
  check('del', await client.del('a', 'b', 'c'), 2);
  check('getBuffer', (await client.getBuffer('k')).toString(), 'v');
  const replies = await client.pipeline().set('p', '1').incr('p').get('p').exec();
  check('pipeline', replies, [[null, 'OK'], [null, 2], [null, '2']]);
  const keys = [];
  for await (const batch of client.scanStream({match: '*'})) keys.push(...batch);
  check('scan', keys.sort(), ['k', 'n', 'p']);
  await client.incr('k').then(() => failures.push('INCR of a text'), (e) =>
    check('error', e.message, 'ERR value is not an integer or out of range'));
  check('name', await client.client('GETNAME'), 'io');
  check('call', Array.isArray(await client.call('LEADER', 'LIST')), true);
  await client.quit();
  if (failures.length) { console.error(failures.join('\n')); process.exit(1); }
})();
"""


def _ioredis():
    return node_modules("ioredis", ["ioredis@5"])


def test_ioredis(long):
    home = os.path.dirname(_ioredis())
    with Cluster(["eu"]) as cluster, tempfile.NamedTemporaryFile("w", suffix=".js", dir=home) as script:
        script.write(IOREDIS)
        script.flush()
        code, out, err = _run(["node", script.name, str(cluster.eu.port)], timeout=60)
        assert code == 0 and not err, out + err


def test_ioredis_resolves(long):
    """examples/compare_and_resolve.js, as it is."""
    modules = _ioredis()
    with Cluster(["eu", "us"]) as cluster:
        cluster.eu.call("POLICY", "SET", "*", "siblings")
        cluster.wait_converged()
        cluster.cut("eu", "us")
        for leader in cluster.living():
            leader.call("SET", "wiki:home", leader.name)
            leader.call("HSET", "page:1", "title", leader.name)
        cluster.heal_all()
        cluster.wait_converged()
        for place in (["wiki:home"], ["page:1", "title"]):
            done = subprocess.run(
                ["node", os.path.join(ROOT, "examples", "compare_and_resolve.js"), str(cluster.us.port), *place], text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False,
                env={**os.environ, "NODE_PATH": modules})
            assert done.returncode == 0 and done.stdout == "eu | us\n", done.stdout
        cluster.wait_converged()
        assert cluster.eu.call("CONFLICT", "COUNT") == 0
