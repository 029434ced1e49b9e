"""A redis-server 7.0 to compare with."""

import os
import shutil
import subprocess

from cluster import Process, Skip, free_port, until
from resp import Connection


def start_redis_server(cluster, *flags, password=None, port=None):
    """Its port. It ends with the cluster. `flags`: more of redis-server's own; `port`: else a free one."""
    if not shutil.which("redis-server"):
        raise Skip("redis-server is not installed")
    version = subprocess.run(["redis-server", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    if "v=7.0." not in version:
        raise Skip("redis-server is not 7.0: " + version.strip())
    port = port or free_port()
    cluster.others.append(Process(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
         cluster.directory, *flags] + (["--requirepass", password] if password else []),
        os.path.join(cluster.directory, "redis.log")))

    def answers():
        try:
            with Connection(port, password=password) as connection:
                return connection.ask("PING") == b"PONG"
        except OSError:
            return False
    until("redis-server answers", answers)
    return port
