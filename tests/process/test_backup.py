"""Backups of running leaders, and leaders started from them: `polyarch backup`, `polyarch restore`."""

import json
import os
import shutil
import subprocess
import threading

from cluster import BINARY, Cluster, Process, Skip, canonical_vv, until
from load import Writer, check_writers
from resp import ReplyError
from test_identity import _settle, _write


def polyarch(*arguments, code=0, env=None):
    """Runs a subcommand; its standard output. A failure is one line on standard error."""
    done = subprocess.run([BINARY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=120, env={**os.environ, **(env or {})}, check=False)
    assert done.returncode == code, f"{arguments}: ended with {done.returncode}: {done.stdout}{done.stderr}"
    if code != 0:
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr
    return done.stdout


def backup(leader, path, **options):
    return json.loads(polyarch("backup", "-p", leader.port, path, "--json", **options))


def manifest(path):
    with open(os.path.join(path, "MANIFEST")) as file:
        return dict(line.rstrip("\n").split(" ", 1) for line in file if not line.startswith("file "))


def test_backup_digest(long):
    """What a backup restores to is exactly what its source held at the VV that the manifest names."""
    with Cluster(["eu"], flags=["--log-segment", "1mb"]) as cluster:
        eu = cluster.eu
        values = {}
        _write(eu, "kept", 3000, values)
        eu.pipeline([("INCR", f"count:{i % 50}") for i in range(500)])
        eu.pipeline([("SET", f"ttl:{i}", "x", "EX", "10000") for i in range(200)])
        eu.pipeline([("DEL", f"kept:{i}") for i in range(0, 3000, 3)])
        for attempt in range(5):
            # Quiet, so that the source still is where the backup was made.
            path = os.path.join(cluster.directory, f"backup{attempt}")
            until("eu is silent", lambda: eu.info()["claim_eu"] == "behind=0")
            made = backup(eu, path)
            digest = eu.digest()
            if digest[0] == canonical_vv(made["vv"].encode()):
                break
        assert digest[0] == canonical_vv(made["vv"].encode()), (digest, made)
        assert manifest(path)["vv"] == made["vv"]
        eu.kill()
        for attempt in range(5):
            # Asked before the new process has written anything of its own.
            eu.directory = os.path.join(cluster.directory, f"restored{attempt}")
            polyarch("restore", path, "--dir", eu.directory)
            eu.start()
            found = eu.digest()
            if found[0] == digest[0]:
                break
            eu.kill()
        assert found == digest, (found, digest)
        assert eu.call("DBSIZE") == 2000 + 50 + 200, eu.call("DBSIZE")


def test_backup_under_load(long):
    """Backups while clients write to all leaders; each restores, and beside the living cluster nothing is lost."""
    with Cluster(flags=["--log-segment", "1mb"]) as cluster:
        writers = [Writer(leader, leader.name, seed, ["shared"]) for seed, leader in enumerate(cluster.living())]
        for writer in writers:
            writer.start()
        paths = []
        for round_ in range(10 if long else 3):
            path = os.path.join(cluster.directory, f"backup{round_}")
            made = backup(cluster.eu, path)
            assert made["files"] > 3 and made["bytes"] > 1000, made
            assert not os.path.exists(path + ".partial")
            paths.append(path)
            polyarch("restore", path, "--verify")
        for writer in writers:
            writer.stop()
        cluster.wait_converged()
        check_writers(writers, cluster.living())
        assert cluster.eu.info("persistence")["backups_done"] == str(len(paths))
        # eu loses its disk and comes back from each of the backups; the others hold what it has forgotten.
        for path in paths:
            cluster.eu.kill()
            shutil.rmtree(cluster.eu.directory)
            polyarch("restore", path, "--dir", cluster.eu.directory)
            cluster.restart("eu")
            values = {}
            _write(cluster.eu, "restored " + os.path.basename(path), 200, values)
            _write(cluster.us, "beside " + os.path.basename(path), 200, values)
            cluster.eu.call("INCRBY", "shared", 5)
            writers[0].shared["shared"].acknowledged += 5
            _settle(cluster, values)
            check_writers(writers, cluster.living())
        # Each start from a backup is a process of its own.
        assert int(cluster.us.info()["forks_detected"]) == 0


def test_backup_after_trimmed_log(long):
    """A backup holds the log only from its checkpoint on, and a leader started from it still serves its peers."""
    with Cluster(flags=["--log-segment", "128kb"]) as cluster:
        values = {}
        _write(cluster.eu, "old", 20000, values)
        cluster.eu.call("POLYARCH", "CHECKPOINT")
        _write(cluster.eu, "new", 500, values)
        _settle(cluster, values)
        path = os.path.join(cluster.directory, "backup")
        backup(cluster.eu, path)
        assert int(manifest(path)["log-begin"]) > 0, manifest(path)
        cluster.eu.kill()
        shutil.rmtree(cluster.eu.directory)
        cluster.us.kill()
        _write(cluster.asia, "without them", 300, values)
        polyarch("restore", path, "--dir", cluster.eu.directory)
        cluster.restart("eu")
        cluster.restart("us")
        _write(cluster.eu, "again", 300, values)
        _settle(cluster, values)


def test_backup_all_disks_lost(long):
    """One backup brings a cluster back: the others join the restored leader with empty directories."""
    with Cluster(flags=["--log-segment", "128kb"]) as cluster:
        if "state_transfer_in_progress" not in cluster.eu.info():
            raise Skip("this version has no state transfer, so a joiner needs the whole log")
        values = {}
        _write(cluster.eu, "old", 20000, values)
        _settle(cluster, values)
        path = os.path.join(cluster.directory, "backup")
        backup(cluster.eu, path)
        assert int(manifest(path)["log-begin"]) > 0, manifest(path)
        for leader in cluster.living():
            leader.kill()
            shutil.rmtree(leader.directory)
        polyarch("restore", path, "--dir", cluster.eu.directory)
        cluster.eu.start()
        for name in ("us", "asia"):
            cluster.leaders[name].start(join=[cluster.eu.peer_address])
            until("it accepts writes", lambda: cluster.leaders[name].ask("SET", "back", name) == b"OK")
            _write(cluster.leaders[name], "again " + name, 100, values)
        _settle(cluster, values)


def test_backup_refusals(long):
    with Cluster(["eu"], flags=["--requirepass", "secret"]) as cluster:
        eu = cluster.eu
        eu.call("SET", "k", "v")
        word = {"POLYARCH_PASSWORD": "secret"}
        path = os.path.join(cluster.directory, "backup")
        assert "needs a password" in polyarch("backup", "-p", eu.port, path, code=1)
        assert "refuses the password" in polyarch("backup", "-p", eu.port, "-a", "wrong", path, code=1)
        backup(eu, path, env=word)
        assert "not empty" in polyarch("backup", "-p", eu.port, path, env=word, code=1)
        assert "absolute path" in polyarch("backup", "-u", f"redis://:secret@127.0.0.1:{eu.port}", "b", code=1)
        assert "own directory" in polyarch("backup", "-p", eu.port, eu.directory + "/b", env=word, code=1)
        assert "make the directory" in polyarch("backup", "-p", eu.port, "/no/such/parent/b", env=word, code=1)
        assert eu.info("persistence")["backup_in_progress"] == "0"
        polyarch("backup", "-p", eu.port, code=2)
        # One at a time; the second is told so, the first one ends well.
        answers = []

        def ask(name):
            with eu.connect() as connection:
                answers.append(connection.ask("POLYARCH", "BACKUP", os.path.join(cluster.directory, name)))
        threads = [threading.Thread(target=ask, args=(f"both{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        errors = [a.text for a in answers if isinstance(a, ReplyError)]
        assert all("is under way" in text for text in errors) and len(errors) < 4, answers

        # What is not whole is refused before anything is touched.
        target = os.path.join(cluster.directory, "target")
        for name in ("MANIFEST", "store/CURRENT", sorted("log/" + n for n in os.listdir(path + "/log"))[0]):
            for how in ("damaged", "truncated", "missing"):
                broken = os.path.join(cluster.directory, "broken")
                shutil.rmtree(broken, ignore_errors=True)
                shutil.copytree(path, broken)
                file = os.path.join(broken, name)
                with open(file, "rb") as opened:
                    data = bytearray(opened.read())
                data[len(data) // 2] ^= 1
                os.remove(file)
                if how != "missing":
                    with open(file, "wb") as opened:
                        opened.write(data if how == "damaged" else data[:-1])
                polyarch("restore", broken, "--dir", target, code=1)
                polyarch("restore", broken, "--verify", code=1)
                assert not os.path.exists(target)
        polyarch("restore", path, code=2)
        polyarch("restore", path, "--verify", "--dir", target, code=2)
        # A backup is no directory to start with, and is not spoilt by the attempt.
        done = subprocess.run([BINARY, "server", "--id", "eu", "--port", "0", "--http-port", "0", "--dir", path],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        assert done.returncode != 0 and f"polyarch restore {path} --dir NEW_DIR" in done.stderr, done.stderr
        polyarch("restore", path, "--verify")
        # A restore that did not end is no directory to start with.
        polyarch("restore", path, "--dir", target)
        with open(os.path.join(target, "RESTORING"), "w"):
            pass
        done = subprocess.run([BINARY, "server", "--id", "eu", "--port", "0", "--http-port", "0", "--dir", target],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        assert done.returncode == 1 and "did not end" in done.stderr, done.stderr
        assert "did not end" in polyarch("restore", path, "--dir", target, code=1)


def test_backup_interrupted(long):
    """A leader that dies or stops in the middle of a backup leaves nothing that looks like one."""
    with Cluster(["eu"], flags=["--log-segment", "1mb"]) as cluster:
        eu = cluster.eu
        values = {}
        _write(eu, "key", 20000, values)
        whole = partial = 0
        for round_ in range(40 if long else 12):
            path = os.path.join(cluster.directory, f"backup{round_}")
            asker = Process([BINARY, "backup", "-p", str(eu.port), path], os.path.join(cluster.directory, "asker.log"))
            cluster.others.append(asker)
            # Other moments each time: it takes some ten milliseconds.
            until("the backup has begun", lambda: os.path.exists(path + ".partial") or os.path.exists(path), 20, 0.001)
            for _ in range(round_ * 2):
                eu.call("PING")
            if round_ % 3 == 2:
                eu.terminate()
            else:
                eu.kill()
            asker.child.wait(30)
            if os.path.exists(path):
                whole += 1
                polyarch("restore", path, "--verify")
            elif os.path.exists(path + ".partial"):
                partial += 1
                message = polyarch("restore", path + ".partial", "--dir", path + ".target", code=1) \
                    if not os.path.exists(path + ".partial/MANIFEST") else ""
                assert not os.path.exists(path + ".target"), message
            cluster.restart("eu")
            if os.path.exists(path + ".partial"):
                assert "remove it" in polyarch("backup", "-p", eu.port, path, code=1)
        print(f"note: {whole} whole, {partial} partial")
        assert partial > 0
        _settle(cluster, values)


def test_backup_does_not_stall(long):
    """The loop answers while a backup is made, and a client that goes away takes nothing with it."""
    with Cluster(["eu"], flags=["--log-segment", "4mb"]) as cluster:
        eu = cluster.eu
        value = "x" * 1000
        for i in range(0, 60000, 1000):
            eu.pipeline([("SET", f"key:{n}", value) for n in range(i, i + 1000)])
        path = os.path.join(cluster.directory, "backup")
        asker = Process([BINARY, "backup", "-p", str(eu.port), path], os.path.join(cluster.directory, "asker.log"))
        cluster.others.append(asker)
        until("it has begun", lambda: eu.info("persistence")["backup_in_progress"] == "1", poll_s=0.001)
        asker.kill()
        answered = 0
        while eu.info("persistence")["backup_in_progress"] == "1":
            assert eu.call("SET", f"meanwhile:{answered}", "x") == b"OK"
            answered += 1
        assert answered > 0
        print(f"note: {answered} writes meanwhile")
        polyarch("restore", path, "--verify")
        assert eu.info("persistence")["backups_done"] == "1"
