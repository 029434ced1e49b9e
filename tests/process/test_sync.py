"""Keys under policy `sync`: a lock is given once, a minority refuses, an answer in doubt is settled truly."""

import random
import threading
import time

from cluster import Cluster, until
from resp import Connection, ReplyError


def _all(cluster):
    return list(cluster.leaders.values())


def _agreed(leader, *command, seconds=30):
    """The reply, once a majority is in reach: NOQUORUM says that nothing was written, so asking again is safe."""
    def ask():
        reply = leader.ask(*command)
        return None if isinstance(reply, ReplyError) and str(reply).startswith(("NOQUORUM", "HISTORY")) else [reply]
    return until(f"{leader.name} is answered to {command}", ask, seconds)[0]


def _in_force(cluster, pattern="s:*"):
    cluster.eu.call("POLICY", "SET", pattern, "sync")

    def ready():
        for leader in _all(cluster):
            info = leader.info()
            if info.get("sync_in_force") != "1" or info.get("electors_changing") != "0" or \
                    len(info.get("electors", "").split(",")) != len(_all(cluster)):
                return False
        return True
    until(lambda: "policy sync is in force: " + str([leader.info() for leader in _all(cluster)]), ready, 60)


def test_sync_lock(long):
    """Clients of all leaders race for locks: SET NX gives each to one of them."""
    locks = 200 if long else 40
    with Cluster() as cluster:
        _in_force(cluster)
        winners = [[] for _ in range(locks)]
        refused = [0]
        errors = []

        def race(leader, seed):
            draw = random.Random(seed)
            try:
                with Connection(leader.port) as connection:
                    for lock in draw.sample(range(locks), locks):
                        name = f"{leader.name}.{seed}"
                        reply = connection.ask("SET", f"s:lock:{lock}", name, "NX")
                        if isinstance(reply, ReplyError):
                            refused[0] += 1
                        elif reply == b"OK":
                            winners[lock].append(name)
            except Exception as error:
                errors.append(error)
        threads = [threading.Thread(target=race, args=(leader, seed), daemon=True)
                   for leader in _all(cluster) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors
        cluster.wait_converged()
        for lock, names in enumerate(winners):
            value = cluster.us.get(f"s:lock:{lock}")
            assert len(names) <= 1, f"lock {lock} was given to {names}"
            assert value is not None and (not names or value == names[0].encode()), (lock, names, value)
        given = sum(1 for names in winners if names)
        # An answer in doubt may have been the winner's.
        assert given >= locks - refused[0], (given, refused)
        print(f"{locks} locks, {given} given and acknowledged, {refused[0]} answers NOQUORUM or in doubt")


def test_sync_minority(long):
    """A leader cut off from the others answers NOQUORUM for these keys and serves all else; so does one after kill -9 of the others."""
    with Cluster() as cluster:
        _in_force(cluster)
        cluster.eu.call("SET", "s:k", "1")
        cluster.wait_converged()
        cluster.cut("eu", "asia")
        cluster.cut("us", "asia")
        reply = cluster.asia.ask("SET", "s:k", "asia")
        assert isinstance(reply, ReplyError) and str(reply).split()[0] in ("NOQUORUM", "TIMEOUT"), reply
        until("asia knows that it is alone", lambda: str(cluster.asia.ask("SET", "s:k", "asia")).startswith("NOQUORUM"))
        begin = time.monotonic()
        for _ in range(20):
            assert str(cluster.asia.ask("SET", "s:k", "asia")).startswith("NOQUORUM")
            assert cluster.asia.call("SET", "other", "x") == b"OK"
            assert cluster.asia.get("s:k") == b"1"
        assert time.monotonic() - begin < 5
        assert cluster.eu.call("GETSET", "s:k", "2") == b"1"
        assert cluster.us.call("GETSET", "s:k", "3") == b"2"
        cluster.heal("eu", "asia")
        cluster.heal("us", "asia")
        cluster.wait_converged()
        reply = _agreed(cluster.asia, "GETSET", "s:k", "4")
        assert reply == b"3", reply
        cluster.wait_converged()
        cluster.us.kill()
        cluster.asia.kill()
        until("eu knows that it is alone", lambda: str(cluster.eu.ask("SET", "s:k", "5")).startswith("NOQUORUM"))
        assert cluster.eu.call("SET", "other", "y") == b"OK"
        for leader in (cluster.us, cluster.asia):
            leader.start()
        reply = _agreed(cluster.eu, "GETSET", "s:k", "6")
        assert reply == b"4", reply


def test_sync_kill(long):
    """One counter, INCR at all leaders, kill -9 all the time: no acknowledged increment is lost or counted twice, and each
    answer in doubt is settled."""
    seconds = 60 if long else 12
    with Cluster() as cluster:
        _in_force(cluster)
        stop = time.monotonic() + seconds
        results = []  # (name of a write in doubt or None, value acknowledged or None)
        errors = []

        def work(leader):
            connection = None
            while time.monotonic() < stop:
                try:
                    if connection is None:
                        connection = Connection(leader.port, timeout=10)
                    reply = connection.ask("INCR", "s:n")
                except OSError:
                    # No answer: it may count or not.
                    if connection is not None:
                        results.append((None, None))
                        connection.close()
                    connection = None
                    time.sleep(0.05)
                    continue
                except Exception as error:
                    errors.append(error)
                    return
                if isinstance(reply, int):
                    results.append((None, reply))
                elif str(reply).startswith("TIMEOUT in doubt "):
                    results.append((str(reply).split()[3], None))
                elif not str(reply).startswith(("NOQUORUM", "TRYAGAIN", "HISTORY")):
                    errors.append(reply)
                    return
        threads = [threading.Thread(target=work, args=(leader,), daemon=True) for leader in _all(cluster)]
        for thread in threads:
            thread.start()
        draw = random.Random(5)
        kills = 0
        while time.monotonic() < stop - 3:
            time.sleep(draw.uniform(0.3, 1.2))
            victim = draw.choice(_all(cluster))
            victim.kill()
            kills += 1
            time.sleep(draw.uniform(0.0, 0.4))
            victim.start()
        for thread in threads:
            thread.join()
        assert not errors, errors

        def final():
            reply = cluster.eu.ask("SYNC", "READ", "s:n")
            return None if isinstance(reply, ReplyError) else reply
        value = int(until("SYNC READ answers", final, 30)[0])
        acknowledged = [v for _, v in results if v is not None]
        assert len(acknowledged) == len(set(acknowledged)), "one value was acknowledged twice"
        assert not acknowledged or max(acknowledged) <= value
        applied = never = 0
        unknown = sum(1 for name, v in results if name is None and v is None)
        for name in (n for n, _ in results if n):
            outcome = cluster.us.call("SYNC", "OUTCOME", "s:n", name)
            applied += outcome == 1
            never += outcome == 0
            unknown += outcome is None
        # A batch of one leader may hold several increments under one name; here each leader has one client.
        low = len(acknowledged) + applied
        assert low <= value <= low + unknown, (value, len(acknowledged), applied, never, unknown)
        cluster.wait_converged()
        assert all(leader.get("s:n") == str(value).encode() for leader in _all(cluster))
        print(f"{kills} kills, {len(acknowledged)} acknowledged, in doubt: {applied} applied, {never} never, "
              f"{unknown} without an answer or too old; the counter is {value}")


def test_sync_copied_directory(long):
    """A leader whose directory was put back from a copy votes under a new seat, and is admitted by the others."""
    import os
    import shutil
    with Cluster() as cluster:
        _in_force(cluster)
        cluster.eu.call("SET", "s:k", "1")
        cluster.wait_converged()
        cluster.asia.terminate()
        copy = cluster.asia.directory + ".copy"
        shutil.copytree(cluster.asia.directory, copy)
        cluster.asia.start()
        assert _agreed(cluster.asia, "SET", "s:k", "2") == b"OK"
        cluster.wait_converged()
        cluster.asia.kill()
        shutil.rmtree(cluster.asia.directory)
        os.rename(copy, cluster.asia.directory)
        before = int(cluster.eu.info()["electorate_epoch"])
        cluster.asia.start()
        until("the seat has been replaced", lambda: int(cluster.eu.info()["electorate_epoch"]) >= before + 2 and
              cluster.eu.info()["electors_changing"] == "0", 60)
        cluster.us.kill()
        reply = _agreed(cluster.eu, "GETSET", "s:k", "3")
        assert reply == b"2", f"eu and the new seat are a majority: {reply}"


def test_sync_put_back(long):
    """Log and store put back in place, the seat file left where it is, and all others restarted. A decision needed the
    vote that is missing now: its number, kept with the decision, tells. Nothing that was decided is lost."""
    import os
    import shutil
    with Cluster() as cluster:
        _in_force(cluster)
        cluster.eu.call("SET", "s:k", "1")
        cluster.wait_converged()
        cluster.asia.terminate()
        copy = cluster.asia.directory + ".copy"
        shutil.copytree(cluster.asia.directory, copy)
        cluster.asia.start()
        cluster.us.kill()
        assert _agreed(cluster.eu, "SET", "s:k", "2") == b"OK"  # by eu and asia
        before = int(cluster.eu.info()["electorate_epoch"])
        cluster.eu.kill()
        cluster.asia.kill()
        for part in ("log", "store"):
            shutil.rmtree(os.path.join(cluster.asia.directory, part))
            shutil.copytree(os.path.join(copy, part), os.path.join(cluster.asia.directory, part))
        for leader in (cluster.us, cluster.asia, cluster.eu):
            leader.start()
        until(lambda: "the seat has been replaced: " + str([leader.info() for leader in _all(cluster)]), lambda:
              int(cluster.eu.info()["electorate_epoch"]) >= before + 2 and cluster.eu.info()["electors_changing"] == "0", 60)
        with open(cluster.asia.log_path, encoding="utf-8") as log:
            assert "this directory is an old one" in log.read()
        cluster.eu.kill()
        reply = _agreed(cluster.us, "GETSET", "s:k", "3")
        assert reply == b"2", reply


FAILING_SYNC = r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The syncs of the log fail while a file is there. */
int fdatasync(int fd) {
  char link[64], path[4096];
  const char* trigger = getenv("FAILING_SYNC");
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size > 0 && trigger != NULL && access(trigger, F_OK) == 0) {
    path[size] = 0;
    if (strstr(path, "/log/") != NULL) {
      errno = EIO;
      return -1;
    }
  }
  return (int)syscall(SYS_fdatasync, fd);
}
"""


def test_sync_failed_fsync(long):
    """A sync of the log that failed: what the disk holds of this leader's votes cannot be known any more, so it votes under
    a new seat when it comes back."""
    import os
    import subprocess
    with Cluster() as cluster:
        _in_force(cluster)
        asia = cluster.asia
        library = os.path.join(cluster.directory, "failing.so")
        trigger = os.path.join(cluster.directory, "fail")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, "-x", "c", "-"], input=FAILING_SYNC.encode(), check=True)
        asia.terminate()
        asia.enter = lambda: os.environ.update(LD_PRELOAD=library, FAILING_SYNC=trigger)
        asia.start()
        assert _agreed(asia, "SET", "s:k", "1") == b"OK"
        cluster.wait_converged()
        seat = os.path.join(asia.directory, "seat")
        assert os.path.exists(seat)
        with open(trigger, "w", encoding="utf-8"):
            pass
        try:
            asia.ask("SET", "other", "x")
        except OSError:
            pass
        until("the seat is given up", lambda: not os.path.exists(seat))
        # The others go on without it.
        assert _agreed(cluster.eu, "GETSET", "s:k", "2") == b"1"
        asia.kill()
        os.remove(trigger)
        before = int(cluster.eu.info()["electorate_epoch"])
        asia.start()
        until("the seat has been replaced", lambda: int(cluster.eu.info()["electorate_epoch"]) >= before + 2 and
              cluster.eu.info()["electors_changing"] == "0", 60)
        assert os.path.exists(seat)
        cluster.us.kill()
        reply = _agreed(cluster.eu, "GETSET", "s:k", "3")
        assert reply == b"2", f"eu and the new seat are a majority: {reply}"


def test_sync_script_locks(long):
    """Locks as client libraries make them: SET NX PX takes one, a script that compares and deletes gives it back, at
    whatever leader. Never two have one."""
    seconds = 20 if long else 6
    unlock = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"
    with Cluster() as cluster:
        _in_force(cluster)
        sha = cluster.eu.call("SCRIPT", "LOAD", unlock)
        cluster.wait_converged()
        stop = time.monotonic() + seconds
        holds = []  # (from, until) by this machine's clock: surely held in between
        errors = []
        refused = [0]

        def work(leader, other, name):
            try:
                with Connection(leader.port) as connection, Connection(other.port) as elsewhere:
                    turn = 0
                    while time.monotonic() < stop:
                        turn += 1
                        token = f"{name}.{turn}"
                        reply = connection.ask("SET", "s:lock", token, "NX", "PX", "60000")
                        if reply != b"OK":
                            refused[0] += 1
                            if isinstance(reply, ReplyError) and str(reply).startswith("TIMEOUT"):
                                elsewhere.ask("EVALSHA", sha, "1", "s:lock", token)
                            continue
                        begin = time.monotonic()
                        time.sleep(0.003)
                        end = time.monotonic()
                        # Given back at another leader, which may not have heard that it was taken.
                        reply = elsewhere.ask("EVALSHA", sha, "1", "s:lock", token)
                        if isinstance(reply, ReplyError):
                            assert str(reply).startswith(("NOQUORUM", "TIMEOUT")), reply
                            elsewhere.ask("EVALSHA", sha, "1", "s:lock", token)
                        else:
                            assert reply == 1, reply
                        holds.append((begin, end))
            except Exception as error:
                errors.append(error)
        leaders = _all(cluster)
        threads = [threading.Thread(target=work, args=(leader, leaders[(i + 1) % 3], f"{leader.name}{n}"), daemon=True)
                   for i, leader in enumerate(leaders) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors
        holds.sort()
        for (_, end), (begin, _) in zip(holds, holds[1:]):
            assert end <= begin, "two had the lock at once"
        assert len(holds) > 5, len(holds)
        print(f"taken and given back {len(holds)} times, {refused[0]} times not")


def test_sync_restart(long):
    """All killed at once and started again: served within 5 s, under the same seats."""
    with Cluster() as cluster:
        _in_force(cluster)
        cluster.eu.call("SET", "s:k", "0")
        for i in range(5 if long else 2):
            epoch = cluster.eu.info()["electorate_epoch"]
            for leader in _all(cluster):
                leader.kill()
            for leader in _all(cluster):
                leader.start()
            begin = time.monotonic()
            reply = _agreed(cluster.us, "GETSET", "s:k", str(i + 1), seconds=10)
            assert reply == str(i).encode(), reply
            assert time.monotonic() - begin < 5, time.monotonic() - begin
            assert cluster.eu.info()["electorate_epoch"] == epoch


def test_sync_compare_and_set(long):
    """WATCH, GET, MULTI, SET, EXEC at all leaders on one counter: each EXEC that ran counts once."""
    seconds = 20 if long else 6
    with Cluster() as cluster:
        _in_force(cluster)
        cluster.eu.call("SET", "s:n", "0")
        cluster.wait_converged()
        stop = time.monotonic() + seconds
        done = []
        vain = [0]
        doubts = []
        errors = []

        def work(leader):
            try:
                with Connection(leader.port) as connection:
                    while time.monotonic() < stop:
                        connection.ask("WATCH", "s:n")
                        seen = int(connection.ask("GET", "s:n"))
                        connection.ask("MULTI")
                        connection.ask("SET", "s:n", str(seen + 1))
                        reply = connection.ask("EXEC")
                        if reply is None:
                            vain[0] += 1
                        elif isinstance(reply, ReplyError) and str(reply).startswith("TIMEOUT"):
                            doubts.append(str(reply).split()[3])
                        elif isinstance(reply, ReplyError):
                            assert str(reply).startswith("NOQUORUM"), reply
                        else:
                            assert reply == [b"OK"], reply
                            done.append(seen + 1)
            except Exception as error:
                errors.append(error)
        threads = [threading.Thread(target=work, args=(leader,), daemon=True)
                   for leader in _all(cluster) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors
        value = int(cluster.us.call("SYNC", "READ", "s:n")[0])
        assert len(done) == len(set(done)), "two set the same value"
        assert len(done) <= value <= len(done) + len(doubts), (len(done), value, len(doubts))
        assert len(done) > 5
        print(f"{len(done)} set, {vain[0]} in vain, {len(doubts)} in doubt")


def test_sync_refusals(long):
    """What cannot be agreed on is refused before anything is written."""
    with Cluster() as cluster:
        eu = cluster.eu
        _in_force(cluster)
        eu.call("SET", "s:1", "x")
        eu.call("SET", "o", "x")
        for command in (["MSET", "s:1", "y", "o", "y"], ["RENAME", "s:1", "o"], ["RENAME", "o", "s:1"], ["COPY", "o", "s:2"],
                        ["DEL", "s:1", "o"], ["LPUSH", "s:l", "1"], ["SADD", "s:s", "1"], ["FLUSHALL"], ["FLUSHDB"],
                        ["SUNIONSTORE", "s:1", "a"], ["BITOP", "NOT", "s:1", "o"], ["MOVE", "s:1", "3"]):
            reply = eu.ask(*command)
            assert isinstance(reply, ReplyError) and str(reply).startswith("CROSSSYNC"), (command, reply)
        for other in (["SET", "o", "y"], ["GET", "o"], ["PUBLISH", "c", "m"]):
            eu.call("MULTI")
            eu.call("SET", "s:1", "y")
            eu.call(*other)
            reply = eu.ask("EXEC")
            assert isinstance(reply, ReplyError) and str(reply).startswith("CROSSSYNC"), (other, reply)
        both = "redis.call('set', 'o', 'y') return redis.call('set', 's:1', 'y')"
        for script in (["EVAL", both, "1", "s:1"], ["EVAL", both, "2", "s:1", "o"], ["EVAL", both, "0"],
                       ["EVAL", "return redis.call('flushall')", "0"]):
            reply = eu.ask(*script)
            assert isinstance(reply, ReplyError) and str(reply).startswith("CROSSSYNC"), (script, reply)
        assert eu.get("s:1") == b"x" and eu.get("o") == b"x"
        assert sorted(eu.call("KEYS", "*")) == [b"o", b"s:1"]
        assert isinstance(eu.ask("SYNC", "READ", "o"), ReplyError)
        assert isinstance(eu.ask("SYNC", "OUTCOME", "s:1", "nonsense"), ReplyError)
