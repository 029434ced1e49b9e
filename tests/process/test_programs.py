"""Programs that applications are built of, unmodified: queues (BullMQ, Sidekiq, RQ, Celery) and Socket.IO.

Each runs at one leader, with what it can; and at three at once, with workers or servers at all of them. There, the
queues' lists are under `pop-owner`. What drives them is in programs/.
"""

import contextlib
import os
import shutil
import subprocess
import sys

from cluster import Cluster, Process, Skip, until
from npm import node_modules

PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")
LEADERS = ("eu", "us", "asia")
FLAGS = ["--durability", "everysec"]


def _run(arguments, timeout=150, **environment):
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
                          check=False, cwd=PROGRAMS, env={**os.environ, **environment})
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def _ports(cluster):
    return ",".join(str(leader.port) for leader in cluster.living())


def _node(name, packages, *arguments):
    """A program of node's; require finds the packages."""
    return _run(["node", os.path.join(PROGRAMS, name), *arguments], NODE_PATH=node_modules(name[:-3], packages))


def _owned(cluster, pattern):
    cluster.eu.call("POLICY", "SET", pattern, "pop-owner")
    cluster.wait_converged()
    # A leader that has started pops nothing of its own for a second.
    until("the leaders pop", lambda: all(leader.info().get("pop_owner_ready") == "1" for leader in cluster.living()))


@contextlib.contextmanager
def _workers(cluster, command):
    """One worker process for each leader: command(leader) are its arguments."""
    workers = []
    try:
        for leader in cluster.living():
            log = os.path.join(cluster.directory, f"worker-{leader.name}.log")
            environment = [f"PORT={leader.port}", f"PYTHONPATH={PROGRAMS}", "PYTHONDONTWRITEBYTECODE=1"]
            workers.append(Process(["env", *environment, *command(leader)], log))
        try:
            yield
        except BaseException:
            for worker in workers:
                print(worker.log_tail(20))
            raise
    finally:
        for worker in workers:
            worker.kill()


def _python_has(module):
    code = subprocess.run([sys.executable, "-c", f"import redis, {module}"], stderr=subprocess.DEVNULL, check=False).returncode
    if code:
        raise Skip(f"{module} is not installed for {sys.executable} (python3-{module})")


BULLMQ = ["bullmq@5", "ioredis@5"]
SOCKET_IO = ["socket.io@4", "socket.io-client@4", "@socket.io/redis-adapter@8", "@socket.io/redis-streams-adapter@0.3",
             "@socket.io/redis-emitter@5", "ioredis@5", "redis@4"]


def test_bullmq(long):
    with Cluster(["eu"], flags=FLAGS) as cluster:
        for _ in range(5 if long else 1):
            _node("bullmq.js", BULLMQ, "features", str(cluster.eu.port))
            cluster.eu.call("FLUSHALL")


def test_bullmq_everywhere(long):
    """Each job is done once, and all leaders show it done."""
    with Cluster(LEADERS, flags=FLAGS) as cluster:
        _owned(cluster, "bull:*:wait")
        _node("bullmq.js", BULLMQ, "everywhere", _ports(cluster), "6000" if long else "150")
        cluster.wait_converged()


def test_socket_io(long):
    with Cluster(["eu"], flags=FLAGS) as cluster:
        for adapter in ("pubsub", "sharded", "streams"):
            _node("socket_io.js", SOCKET_IO, adapter, ",".join([str(cluster.eu.port)] * 3), "all")
            cluster.eu.call("FLUSHALL")


def test_socket_io_everywhere(long):
    with Cluster(LEADERS, flags=FLAGS) as cluster:
        for adapter in ("pubsub", "sharded"):
            for _ in range(10 if long else 1):
                _node("socket_io.js", SOCKET_IO, adapter, _ports(cluster))


def _sidekiq(cluster, count, retry):
    sidekiq = shutil.which("sidekiq")
    if not sidekiq:
        raise Skip("sidekiq is not installed (ruby-sidekiq)")
    with _workers(cluster, lambda leader: [sidekiq, "-r", os.path.join(PROGRAMS, "sidekiq_jobs.rb"), "-c", "3"]):
        told = _run(["ruby", "-W0", "sidekiq_push.rb", str(count), *(["retry"] if retry else [])],
                    PORT=str(cluster.eu.port)).splitlines()[-1]
    runs, tries, waiting, processes = (int(word) for word in told.split())
    assert (runs, tries, waiting) == (count + 1, 2 if retry else 0, 0), told
    assert processes <= len(cluster.living()), told


def test_sidekiq(long):
    with Cluster(["eu"], flags=FLAGS) as cluster:
        _sidekiq(cluster, 3000 if long else 100, long)


def _everywhere(pattern, work):
    """work(cluster) at three leaders, the lists of that pattern under `pop-owner`."""
    with Cluster(LEADERS, flags=FLAGS) as cluster:
        _owned(cluster, pattern)
        work(cluster)
        cluster.wait_converged()


def test_sidekiq_everywhere(long):
    _everywhere("queue:*", lambda cluster: _sidekiq(cluster, 3000 if long else 100, False))


def _rq(cluster, count):
    _python_has("rq")
    with _workers(cluster, lambda leader: [
            sys.executable, "-m", "rq.cli", "worker", "-u", f"redis://127.0.0.1:{leader.port}", "--with-scheduler",
            "--worker-class", "rq.worker.SimpleWorker", "-n", f"worker-{leader.name}", "q"]):
        _run([sys.executable, "-B", "rq_ask.py", _ports(cluster), str(count)])


def test_rq(long):
    with Cluster(["eu"], flags=FLAGS) as cluster:
        _rq(cluster, 500 if long else 30)


def test_rq_everywhere(long):
    _everywhere("rq:queue:*", lambda cluster: _rq(cluster, 500 if long else 30))


def _celery(cluster, count):
    _python_has("celery")
    with _workers(cluster, lambda leader: [
            sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-P", "threads", "-c", "2", "-l", "WARNING",
            "-n", f"{leader.name}@test"]):
        told = _run([sys.executable, "-B", "celery_ask.py", str(count)], PORT=str(cluster.eu.port)).splitlines()
    assert str(len(cluster.living())) in told, told  # how many workers answer a ping


def test_celery(long):
    with Cluster(["eu"], flags=FLAGS) as cluster:
        _celery(cluster, 1000 if long else 20)


def test_celery_everywhere(long):
    _everywhere("celery", lambda cluster: _celery(cluster, 1000 if long else 20))
