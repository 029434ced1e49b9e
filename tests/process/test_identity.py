"""Directories copied, restored, lost: an incarnation never outlives a process, so nothing is lost."""

import os
import shutil
import subprocess

from cluster import Cluster, until
from resp import ReplyError


def _copy(source, target):
    subprocess.run(["cp", "-a", source, target], check=True)


def _settle(cluster, values):
    """Everybody shows all of `values`, and digests are equal."""
    keys = list(values)
    wanted = [str(values[key]).encode() for key in keys]
    for leader in cluster.living():
        until(lambda: f"{leader.name} has all: "
              f"{[k for k, w, g in zip(keys, wanted, leader.call('MGET', *keys)) if w != g][:5]}",
              lambda: leader.call("MGET", *keys) == wanted)
    cluster.wait_converged()


def _write(leader, prefix, count, values, batch=100):
    for i in range(0, count, batch):
        commands = [("SET", f"{prefix}:{n}", f"{prefix}.{n}") for n in range(i, min(count, i + batch))]
        for (_, key, value), reply in zip(commands, leader.pipeline(commands)):
            assert reply == b"OK", reply
            values[key] = value


def _clone(while_running):
    with Cluster() as cluster:
        values = {}
        for leader in cluster.living():
            _write(leader, leader.name, 300, values)
        _settle(cluster, values)
        eu = cluster.eu
        copy = os.path.join(cluster.directory, "copy")
        if while_running:
            eu.freeze()  # so that the copy is of one moment, as a snapshot of a volume is
            _copy(eu.directory, copy)
            eu.thaw()
        else:
            eu.terminate()
            _copy(eu.directory, copy)
            cluster.restart("eu")
        _write(eu, "original", 200, values)
        clone = cluster.add("eu", directory=copy, label="clone")
        until("the clone takes a name of its own",
              lambda: clone.info()["leader_id"].startswith("eu~"))
        assert eu.info()["leader_id"] == "eu", eu.info()["leader_id"]
        for _ in range(3):
            _write(eu, "original", 200, values)
            _write(clone, "clone", 200, values)
        counter = [leader.call("INCR", "both") for leader in (eu, clone, eu, clone)]
        assert counter, counter
        cluster.wait_get("both", "4")
        values["both"] = 4
        _settle(cluster, values)
        # And it stays so when both are started again.
        eu.kill()
        clone.kill()
        cluster.restart("eu")
        cluster.restart("clone")
        _write(eu, "original again", 100, values)
        _write(clone, "clone again", 100, values)
        _settle(cluster, values)
        names = sorted(leader.info()["leader_id"] for leader in cluster.living())
        assert len(set(names)) == 4, names


def test_clone(long):
    _clone(while_running=False)


def test_clone_of_running(long):
    _clone(while_running=True)


def test_restored_backup(long):
    """Old copies of a leader's directory, again and again; its peers hold what it has forgotten."""
    with Cluster() as cluster:
        values = {}
        _write(cluster.eu, "first", 300, values)
        _settle(cluster, values)
        backup = os.path.join(cluster.directory, "backup")
        cluster.eu.terminate()
        _copy(cluster.eu.directory, backup)
        cluster.restart("eu")
        for round_ in range(20 if long else 3):
            _write(cluster.eu, f"after{round_}", 300, values)
            cluster.eu.pipeline([("INCR", "count")] * 10)
            values["count"] = 10 * (2 * round_ + 1)
            _settle(cluster, values)
            cluster.eu.kill()
            shutil.rmtree(cluster.eu.directory)
            _copy(backup, cluster.eu.directory)
            cluster.restart("eu")
            # At once, before it has heard from its peers what it has forgotten.
            _write(cluster.eu, f"restored{round_}", 300, values)
            cluster.eu.pipeline([("INCR", "count")] * 10)
            values["count"] += 10
            _settle(cluster, values)


def test_restored_backup_of_all(long):
    """Every leader goes back to its own copy, of different moments: what any copy holds is kept."""
    with Cluster() as cluster:
        values = {}
        for name in list(cluster.leaders):
            leader = cluster.leaders[name]
            _write(leader, f"before {name}", 200, values)
            _settle(cluster, values)
            leader.terminate()
            _copy(leader.directory, leader.directory + ".backup")
            cluster.restart(name)
        lost = {}
        _write(cluster.us, "after the last copy", 200, lost)
        for leader in cluster.living():
            leader.kill()
        for leader in cluster.leaders.values():
            shutil.rmtree(leader.directory)
            _copy(leader.directory + ".backup", leader.directory)
        for name in cluster.leaders:
            cluster.restart(name)
        for leader in cluster.living():
            _write(leader, f"again {leader.name}", 200, values)
        _settle(cluster, values)


def test_empty_disk(long):
    """A leader that lost its directory joins again under its name and gets everything back."""
    with Cluster() as cluster:
        values = {}
        for leader in cluster.living():
            _write(leader, leader.name, 500, values)
        _settle(cluster, values)
        for _ in range(5 if long else 2):
            cluster.asia.kill()
            shutil.rmtree(cluster.asia.directory)
            _write(cluster.eu, "meanwhile", 200, values)
            cluster.restart("asia")
            until("asia accepts writes", lambda: cluster.asia.ask("SET", "asia is", "back") == b"OK")
            values["asia is"] = "back"
            _write(cluster.asia, "asia anew", 200, values)
            _settle(cluster, values)


def _state(leader, name):
    """What `leader` says of `name`."""
    for entry in leader.call("LEADER", "LIST"):
        fields = dict(zip(entry[::2], entry[1::2]))
        if fields[b"id"] == name.encode():
            return fields[b"state"].decode()
    return None


def test_retire(long):
    """A leader is retired while it is away: it holds nothing back, is refused, and joins again with what only it
    had."""
    with Cluster() as cluster:
        values = {}
        for turn in range(3 if long else 1):
            _write(cluster.eu, "before", 200, values)
            _settle(cluster, values)
            cluster.isolate("asia")
            _write(cluster.asia, f"only at asia {turn}", 100, values)
            cluster.asia.kill()
            for leader in (cluster.eu, cluster.us):
                leader.call("LINK", "HEAL", "asia")
            cluster.cuts.clear()
            assert cluster.eu.call("SET", "session", "x", "PX", "20") == b"OK"
            until("the expired key is hidden", lambda: cluster.eu.call("EXISTS", "session") == 0)
            refused = cluster.eu.ask("LEADER", "RETIRE", "eu")
            assert isinstance(refused, ReplyError) and "cannot retire itself" in refused.text, refused
            assert cluster.eu.call("LEADER", "RETIRE", "asia") == b"OK"
            for leader in (cluster.eu, cluster.us):
                until(f"{leader.name} knows", lambda at=leader: _state(at, "asia") == "retired")
                until(f"{leader.name} counts it out", lambda at=leader: at.info("replication")["leaders"] == "2")
                until(f"{leader.name} keeps nothing of the expired key",
                      lambda at=leader: at.info("persistence")["residue_keys"] == "0")
            cluster.restart("asia", ready=False)
            cluster.asia.wait_ready()

            def told():
                reply = cluster.asia.ask("SET", "asia", "writes")
                return isinstance(reply, ReplyError) and reply.text.startswith("RETIRED ")
            until("asia is refused", told)
            assert cluster.eu.call("EXISTS", f"only at asia {turn}:0") == 0
            cluster.asia.terminate()
            cluster.restart("asia", extra=["--rejoin"])
            until("asia writes again", lambda: cluster.asia.ask("SET", "asia is", "back") == b"OK")
            values["asia is"] = "back"
            _settle(cluster, values)
            until("eu sees it alive", lambda: _state(cluster.eu, "asia") == "alive")
