#!/usr/bin/python3
"""Reads a key under policy `siblings`, merges concurrent versions and writes the result back (redis-py).

    compare_and_resolve.py PORT KEY [FIELD]     prints the value

Two clients at two leaders may do this at once: `merge` gives the same for the same values in any order, and
versions of equal bytes are no conflict. So all agree, whoever comes first.
"""

import sys

import redis


def read(client, key, merge, field=None, attempts=10):
    """The value of a key, or of a field of a hash; None if there is none."""
    place = [] if field is None else ["FIELD", field]
    for _ in range(attempts):
        try:
            return client.get(key) if field is None else client.hget(key, field)
        except redis.ResponseError as error:
            if not str(error).startswith("CONFLICT "):
                raise
        found = client.execute_command("CONFLICT GET", key, *place)
        if found is None:  # deleted or resolved meanwhile
            continue
        token, versions = found
        value = merge([version[0] for version in versions])  # None: deleted at that leader
        try:
            # Replaces exactly the versions that were read: one that came in meanwhile stays, and the next
            # attempt meets it.
            client.execute_command("CONFLICT RESOLVE", key, token, value, *place)
        except redis.ResponseError as error:
            if not str(error).startswith(("NOTYET ", "no such key", "no such field")):
                raise
    raise RuntimeError(f"{key} is still in conflict after {attempts} attempts")


def all_of_them(values):
    return " | ".join(sorted({value for value in values if value is not None}))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    leader = redis.Redis(port=int(sys.argv[1]), decode_responses=True)
    print(read(leader, sys.argv[2], all_of_them, *sys.argv[3:]))
