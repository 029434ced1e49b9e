#!/usr/bin/python3
"""Resolves double bookings as they become known: a consumer of a conflict feed (redis-py).

    redis-cli -p 7001 POLICY SET 'room:*' siblings
    redis-cli -p 7001 CONFLICT FEED CREATE bookings 'room:*' LEADERS eu us
    booking_handler.py --leaders 127.0.0.1:7001,127.0.0.1:7002 --feed bookings --consumer one

A booking is a text such as "Ada". Of several for one room the one that was written first stands (equal times: the
one of the leader whose name comes first); a booking stands against a delete. Who lost is told.

The first leader of the feed that is in reach delivers; this follows it. An item that is not acknowledged, because
this process died or the line was down, is given again: to another consumer, or to this one. So the rule must
give the same whenever it is asked. Run as many of these as you like.
"""

import argparse
import sys
import time

import redis


def winner(versions):
    """Of [value, leader, unix-ms, tag], value None for a delete: the booking that stands, or None."""
    bookings = [version for version in versions if version[0] is not None]
    return min(bookings, key=lambda version: (version[2], version[1], version[3])) if bookings else None


def say(*words):
    print(*words, flush=True)


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


def resolve(client, item):
    """Writes the booking that stands over exactly the versions of the item. False: not now."""
    stands = winner(item["versions"])
    place = ["FIELD", item["field"]] if item["field"] else []
    try:
        client.execute_command("CONFLICT RESOLVE", item["key"], item["token"], stands[0], *place)
    except redis.ResponseError as error:
        if str(error).startswith("NOTYET "):
            return False  # this leader has not seen all of it yet: it will be given again
        if not str(error).startswith(("no such key", "no such field")):
            raise
        return True  # deleted meanwhile
    for value, leader, _, _ in item["versions"]:
        if value is not None and value != stands[0]:
            say("refused", item["key"], item["field"] or "-", value, "at", leader, "for", stands[0])
    say("resolved", item["id"], item["key"], stands[0])
    return True


def consume(client, options):
    """Until this leader does not deliver any more, or cannot be reached."""
    while True:
        items = client.execute_command("CONFLICT FEED READ", options.feed, options.consumer, "COUNT", options.count,
                                       "AGAIN", options.again, "BLOCK", 1000)
        for item in map(pairs, items or []):
            say("given", item["id"], item["key"], item["times"])
            if resolve(client, item):
                client.execute_command("CONFLICT FEED ACK", options.feed, item["id"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leaders", required=True, help="host:port,host:port,...: those that the feed names")
    parser.add_argument("--feed", default="bookings")
    parser.add_argument("--consumer", required=True, help="a name of its own for each that runs")
    parser.add_argument("--count", type=int, default=10, help="items at a time (10)")
    parser.add_argument("--again", type=int, default=30_000,
                        help="ms after which what others were given and did not acknowledge is taken over (30000)")
    options = parser.parse_args()
    while True:
        for address in options.leaders.split(","):
            host, port = address.rsplit(":", 1)
            try:
                with redis.Redis(host, int(port), decode_responses=True, socket_connect_timeout=2,
                                 socket_timeout=10) as client:
                    consume(client, options)
            except redis.ResponseError as error:
                if not str(error).startswith(("ELSEWHERE ", "NOGROUP ", "HISTORY ", "LOADING ", "DISKFULL ")):
                    raise
            except (redis.ConnectionError, redis.TimeoutError):
                pass
        time.sleep(0.2)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
