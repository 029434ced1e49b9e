"""The same random commands to redis-server 7.0.15 and to one leader: replies are equal, byte for byte, in RESP2 and RESP3.

The commands are drawn and compared by the program polyarch-differential (tests/differential/), which says what is not
compared and why. Reproducible: POLYARCH_SEED chooses the first seed.
"""

import os
import subprocess

from cluster import BINARY, Cluster
from redis_server import start_redis_server


def test_differential(long):
    commands = 10_000_000 if long else 300_000
    with Cluster(["eu"], flags=["--durability", "everysec"]) as cluster:
        ran = subprocess.run(
            [os.path.join(os.path.dirname(BINARY), "polyarch-differential"), "--ours", str(cluster.eu.port), "--theirs",
             str(start_redis_server(cluster)), "--seed", os.environ.get("POLYARCH_SEED", "1"), "--commands", str(commands)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert ran.returncode == 0, ran.stdout
        assert int(ran.stdout.split()[0]) >= commands, ran.stdout
        print("note: " + ran.stdout.strip())
