"""Scripts and functions with a client library, at three leaders; the same scripts here and at redis-server."""

import random
import socket
import threading
import time

from cluster import Cluster, Skip, until
from redis_server import start_redis_server
from resp import ReplyError, encode


def _redis():
    try:
        import redis
    except ImportError:
        raise Skip("python3-redis is not installed") from None
    return redis


def _client(leader):
    return _redis().Redis(port=leader.port, decode_responses=True, socket_timeout=30)


# Takes a token from a bucket if there is one: a rate limiter, as it is found in many applications.
RATE_LIMITER = """
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
if used >= tonumber(ARGV[1]) then return 0 end
redis.call('INCR', KEYS[1])
if used == 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
"""

# Two keys that are equal at all times, for whoever looks at both at once.
PAIR = """
redis.call('SET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], 'field', ARGV[1])
return redis.call('GET', KEYS[1])
"""
LOOK = "return {redis.call('GET', KEYS[1]) or '', redis.call('HGET', KEYS[2], 'field') or ''}"


def test_scripts_redis_py(long):
    with Cluster(["eu", "us", "asia"]) as cluster:
        eu, us, asia = _client(cluster.eu), _client(cluster.us), _client(cluster.asia)
        limiter = eu.register_script(RATE_LIMITER)
        assert [limiter(keys=["rate"], args=[3, 60000]) for _ in range(5)] == [1, 1, 1, 0, 0]
        cluster.wait_converged()
        # A script that one leader knows by SCRIPT LOAD is known at all.
        sha = eu.script_load("return {KEYS[1], ARGV[1], redis.call('GET', 'rate')}")
        cluster.wait_converged()
        for client in (eu, us, asia):
            assert client.script_exists(sha) == [True]
            assert client.evalsha(sha, 1, "k", "a") == ["k", "a", "3"]
        # In a pipeline: redis-py loads what is missing first.
        pipe = us.pipeline(transaction=False)
        for _ in range(3):
            limiter(keys=["rate:us"], args=[2, 60000], client=pipe)
        assert pipe.execute() == [1, 1, 0]
        with asia.pipeline(transaction=True) as transaction:
            limiter(keys=["rate:asia"], args=[1, 60000], client=transaction)
            limiter(keys=["rate:asia"], args=[1, 60000], client=transaction)
            transaction.get("rate:asia")
            assert transaction.execute() == [1, 0, "1"]
        us.script_flush()
        cluster.wait_converged()
        for client in (eu, us, asia):
            assert client.script_exists(sha) == [False]
            try:
                client.evalsha(sha, 0)
                raise AssertionError("a script is known after SCRIPT FLUSH")
            except _redis().exceptions.NoScriptError:
                pass
        assert limiter(keys=["rate"], args=[4, 60000]) == 1  # loads itself again

        # Libraries of functions.
        code = "#!lua name=lib\nredis.register_function('add', function(k, a) return redis.call('INCRBY', k[1], a[1]) end)"
        assert us.function_load(code) == "lib"
        cluster.wait_converged()
        for client in (eu, us, asia):
            assert client.function_list()[0][1] == "lib", client.function_list()
        assert asia.fcall("add", 1, "sum", 5) == 5
        cluster.wait_converged()
        assert eu.fcall("add", 1, "sum", 2) == 7
        eu.function_load(code.replace("INCRBY", "DECRBY"), replace=True)
        cluster.wait_converged()
        assert us.fcall("add", 1, "sum", 10) == -3
        # What is known survives kill -9 of everybody.
        sha = eu.script_load("return 'kept'")
        cluster.wait_converged()
        for leader in (cluster.eu, cluster.us, cluster.asia):
            leader.kill()
        cluster.eu.start()
        cluster.us.start(join=[cluster.eu.peer_address])
        cluster.asia.start(join=[cluster.eu.peer_address])
        for leader in (cluster.eu, cluster.us, cluster.asia):
            client = _client(leader)
            assert client.evalsha(sha, 0) == "kept"
            until("the function is there", lambda: client.fcall("add", 1, f"sum:{leader.name}", 1) == -1)
        cluster.wait_converged()
        _client(cluster.asia).function_delete("lib")
        cluster.wait_converged()
        assert _client(cluster.eu).function_list() == []


def test_scripts_whole(long):
    """Of a script all or nothing is seen at every leader, while one after the other is killed."""
    with Cluster(["eu", "us", "asia"]) as cluster:
        leaders = [cluster.eu, cluster.us, cluster.asia]
        stop = threading.Event()
        wrong, looks, writes = [], [0], [0]

        def work(leader, name):
            count = 0
            while not stop.is_set():
                try:
                    client = _client(leader)
                    while not stop.is_set():
                        count += 1
                        if client.eval(PAIR, 2, "pair", "hash", f"{name}:{count}") is None:
                            wrong.append("no reply")
                        writes[0] += 1
                        shown = client.eval(LOOK, 2, "pair", "hash")
                        looks[0] += 1
                        if shown[0] != shown[1]:
                            wrong.append(shown)
                        # One that a limit ends behind its first write.
                        try:
                            client.eval("redis.call('SET', KEYS[1], 'half') while true do end", 1, "pair")
                            wrong.append("an endless script has ended")
                        except _redis().exceptions.ResponseError as error:
                            if not str(error).startswith(("LIMIT", "HISTORY", "DISKFULL")):
                                wrong.append(str(error))
                        time.sleep(0.05)
                except (_redis().exceptions.ConnectionError, _redis().exceptions.TimeoutError,
                        _redis().exceptions.ResponseError):
                    time.sleep(0.05)

        threads = [threading.Thread(target=work, args=(leader, leader.name), daemon=True) for leader in leaders]
        for thread in threads:
            thread.start()
        for _ in range(4 if long else 2):
            for leader in leaders:
                time.sleep(1)
                leader.kill()
                other = next(o for o in leaders if o is not leader)
                leader.start(join=[other.peer_address])
        time.sleep(1)
        stop.set()
        for thread in threads:
            thread.join(60)
        assert not wrong, wrong[:5]
        assert looks[0] > 20 and writes[0] > 20, (looks, writes)
        cluster.wait_converged()
        shown = [_client(leader).eval(LOOK, 2, "pair", "hash") for leader in leaders]
        assert all(pair == shown[0] and pair[0] == pair[1] for pair in shown), shown
        return f"{writes[0]} scripts, {looks[0]} looks"


ABUSES = [
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "local t = {} for i = 1, 1e12 do t[i] = i end",
    "local s = 'x' while true do s = s .. s end",
    "local function f() return 1 + f() end return f()",
    "return ('x'):rep(1e12)",
    "return ('x'):rep(1e8):rep(1e8)",
    "return ('a'):rep(40):find(('a-'):rep(40) .. 'b')",
    "local s = ('a'):rep(1e6) return s:gsub('', s)",
    "while true do redis.call('SET', 'half', 'done') end",
    "redis.call('SET', 'half', 'done') while true do end",
    "redis.call('SET', 'half', 'done') pcall(string.rep, 'x', 1e12)",
    "local x = ('x'):rep(2e7) for i = 1, 9 do redis.call('SET', 'half' .. i, x) end",
    "local t = {} for i = 1, 60 do t = {t, t} end return t",
    "local t = {} for i = 1, 60 do t = {t, t} end return cjson.encode(t)",
    "while true do coroutine.wrap(function() end)() end",
    "local function f() return coroutine.wrap(f)() end return f()",
    "return loadstring('\\27Lua')()",
    "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
    "string.rep = nil", "setmetatable(_G, {})", "return os.exit()", "return io.open('/etc/passwd')",
    "return debug.getregistry()", "return require('os')", "getfenv(0).x = 1", "setfenv(0, {})",
]


def test_scripts_limits(long):
    """Nothing that a script does harms the server, or is left half done."""
    with Cluster(["eu", "us"]) as cluster:
        eu = cluster.eu.connect()
        eu.ask("SET", "before", "1")
        for source in ABUSES:
            began = time.monotonic()
            reply = eu.ask("EVAL", source, "0")
            took = time.monotonic() - began
            assert isinstance(reply, ReplyError), (source, str(reply)[:100])
            assert took < 5, (source, took)
            assert cluster.eu.call("DBSIZE") == 1, source
        assert cluster.eu.call("EVAL", "return ('ok'):upper()", 0) == b"OK"
        # A longer time, given by the operator.
        assert cluster.eu.call("CONFIG", "GET", "busy-reply-threshold") == [b"busy-reply-threshold", b"1000"]
        cluster.eu.call("CONFIG", "SET", "busy-reply-threshold", "50")
        began = time.monotonic()
        reply = eu.ask("EVAL", "while true do redis.call('KEYS', '*') end", "0")
        assert isinstance(reply, ReplyError) and time.monotonic() - began < 1, reply
        # One time for all scripts of a transaction.
        cluster.eu.call("CONFIG", "SET", "busy-reply-threshold", "300")
        spin = ("local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end "
                "local begun = now() redis.call('SET', 'k' .. ARGV[1], 'v') while now() < begun + 200 do end")
        eu.call("MULTI")
        for i in range(20):
            eu.call("EVAL", spin, "0", i)
        began = time.monotonic()
        reply = eu.ask("EXEC")
        assert isinstance(reply, ReplyError) and reply.text.startswith("LIMIT "), reply
        assert time.monotonic() - began < 3
        assert eu.call("EVAL", spin, "0", 1) is None and eu.call("DEL", "k1") == 1, "each command has a time of its own"
        cluster.wait_converged()
        assert cluster.us.call("DBSIZE") == 1
        rss = cluster.eu.process.rss()
        assert rss < 600 << 20, rss


def _random_script(draw):
    """A script of some calls, as text, on few keys."""
    calls = [
        "redis.call('SET', KEYS[{k}], {v})", "redis.call('GET', KEYS[{k}])", "redis.call('DEL', KEYS[{k}])",
        "redis.call('INCRBY', 'n{k}', {n})", "redis.call('RPUSH', 'l{k}', {v}, {v})", "redis.call('LRANGE', 'l{k}', 0, -1)",
        "redis.call('LPOP', 'l{k}')", "redis.call('HSET', 'h{k}', 'f{n}', {v})", "redis.call('HGET', 'h{k}', 'f{n}')",
        "redis.call('HLEN', 'h{k}')", "redis.call('SADD', 's{k}', {v})", "redis.call('SISMEMBER', 's{k}', {v})",
        "redis.call('ZADD', 'z{k}', {n}, {v})", "redis.call('ZRANGE', 'z{k}', 0, -1, 'WITHSCORES')",
        "redis.call('ZSCORE', 'z{k}', {v})", "redis.pcall('LPUSH', KEYS[{k}], {v})", "redis.pcall('INCR', KEYS[{k}])",
        "redis.pcall('NOSUCH')", "redis.call('EXISTS', KEYS[{k}], 'l{k}')", "redis.call('TYPE', 'l{k}')",
        "redis.call('STRLEN', KEYS[{k}])", "redis.call('APPEND', KEYS[{k}], {v})", "redis.sha1hex({v})",
        "cjson.encode({{{v}, {n}, {{{v}}}}})", "cjson.decode('[1, {{\"a\": [true, null, {n}]}}]')[2].a[3]",
        "#cmsgpack.pack({{{v}, {n}}})", "cmsgpack.unpack(cmsgpack.pack({{{n}, {v}}}))", "struct.pack('>I4', {n})",
        "bit.bxor({n}, 255)", "tostring({n} / 7)", "{n} * 1.5", "({v}):rep(3):upper()", "({v}):gsub('%a', '.')",
        "string.format('%5.2f|%s|%d', {n}, {v}, {n})", "{{{n}, {v}, false, {{ok = {v}}}}}", "nil", "true", "false",
        "table.concat({{{v}, {n}, {v}}}, ',')", "KEYS[{k}] .. #ARGV", "ARGV[{k}]", "tonumber({v}) or -1",
        "redis.error_reply({v})", "redis.status_reply({v})", "error({v})", "undefined_{k}", "({n} > 50 and {v} or {n})",
    ]
    lines = []
    for i in range(draw.randint(1, 6)):
        call = draw.choice(calls).format(k=draw.randint(1, 3), n=draw.randint(0, 99),
                                         v="'" + draw.choice(["a", "b c", "10", "x/y", "7.5", "", "Ü"]) + "'")
        if draw.random() < 0.15:
            call = f"(function() local ok, e = pcall(function() return {call} end) return {{tostring(ok), e}} end)()"
        lines.append(f"local r{i} = {call}")
    shown = ", ".join(f"r{i}" for i in range(len(lines)))
    if draw.random() < 0.2:
        lines.insert(0, "redis.setresp(3)")
    if draw.random() < 0.1:
        lines.insert(draw.randint(0, len(lines)), "if #KEYS then local t = nil; t = t.x end")
    return "\n".join(lines + [f"return {{{shown}}}" if draw.random() < 0.8 else f"return r{draw.randrange(i + 1)}"])


class Raw:
    """A connection that gives replies as their bytes, in RESP2 or RESP3."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")

    def ask(self, *arguments):
        self.socket.sendall(encode(*arguments))
        return self.read()

    def read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind in (b"$", b"=") and rest != b"-1":
            return line + self.file.read(int(rest) + 2)
        if kind in (b"*", b"~", b">", b"%") and rest != b"-1":
            count = int(rest) * (2 if kind == b"%" else 1)
            return line + b"".join(self.read() for _ in range(count))
        return line


def test_scripts_differential(long):
    """The same random scripts here and at redis-server: equal replies, byte for byte."""
    seed = random.SystemRandom().randrange(1 << 32)
    draw = random.Random(seed)
    count = 200_000 if long else 20_000
    with Cluster(["eu"], flags=["--durability", "none"]) as cluster:
        port = start_redis_server(cluster)
        for protocol in ("2", "3"):
            mine, other = Raw(cluster.eu.port), Raw(port)
            for connection in (mine, other):
                connection.ask("HELLO", protocol)
                connection.ask("FLUSHALL")
            for i in range(count // 2):
                script = _random_script(draw)
                request = ("EVAL", script, "3", "k1", "k2", "k3", "a1", "a2", "a3")
                here, there = mine.ask(*request), other.ask(*request)
                if here != there:
                    raise AssertionError(f"seed {seed}, script {i}, RESP{protocol}:\n{script}\nhere:  {here!r}\nredis: {there!r}")
    return f"{count} scripts"
