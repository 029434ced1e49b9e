"""The golden cases on real leaders, told once: `./run tour` narrates them, tests/process runs them.

A story is a function (teller, cluster) on three leaders eu, us and asia. It says what happens with
`teller.say` and claims what must be with `teller.expect`; what has to come about by itself is polled
for with a deadline. A story uses its own keys and leaves the cluster whole: healed, all alive.
"""

import os
import time

from cluster import ROOT, until
from resp import ReplyError

DEADLINE_S = 20.0


class Teller:
    """Silent, and strict: the first broken promise ends the story."""

    def title(self, text):
        pass

    def say(self, text):
        pass

    def expect(self, text, condition, detail=""):
        assert condition, f"{text}{': ' if detail else ''}{detail}"

    def expect_soon(self, text, condition, deadline_s=DEADLINE_S):
        until(text, condition, deadline_s)


def _names(cluster):
    return cluster.eu, cluster.us, cluster.asia


def _everywhere(teller, cluster, key, value, text=None):
    wanted = value.encode() if isinstance(value, str) else value
    teller.expect_soon(
        text or f"GET {key} is {value!r} at every leader",
        lambda: all(leader.ask("GET", key) == wanted for leader in cluster.living()))


def _tick():
    """Lets the wall clock move on, so that the next write has the later timestamp by any measure."""
    time.sleep(0.01)


def _lost(cluster, key):
    """Every value that some leader's log of decided conflicts lists as lost for `key`."""
    return [version[0] for leader in cluster.living() for entry in leader.conflict_log(key)
            for version in entry["lost"]]


def write_here_read_there(teller, cluster):
    teller.title("A write at one leader is there at all")
    eu, us, asia = _names(cluster)
    eu.call("SET", "hello", "world")
    teller.say("eu: SET hello world")
    _everywhere(teller, cluster, "hello", "world")
    us.call("SET", "hello", "from us")
    asia.call("APPEND", "greeting", "from asia")
    teller.say("us: SET hello 'from us'; asia: APPEND greeting 'from asia'")
    _everywhere(teller, cluster, "hello", "from us")
    _everywhere(teller, cluster, "greeting", "from asia")


def wiki_title(teller, cluster):
    eu, us, asia = _names(cluster)
    for policy in (["lww"], ["priority", "eu", "us", "asia"], ["siblings"]):
        name = policy[0]
        key = f"wiki:{name}:title"
        teller.title(f"Wiki title, policy {' '.join(policy)}")
        eu.call("POLICY", "SET", f"wiki:{name}:*", *policy)
        teller.expect_soon("the policy is known to every leader", lambda: all(
            name.encode() in repr(leader.call("POLICY", "GET", key)).encode()
            for leader in cluster.living()))
        eu.call("SET", key, "A")
        _everywhere(teller, cluster, key, "A")
        detected = {leader.name: int(leader.info()["conflicts_detected"]) for leader in cluster.living()}
        cluster.isolate("eu", "us")
        eu.call("SET", key, "B")
        _tick()
        us.call("SET", key, "C")
        teller.say("cut off from each other, eu sets the title to B, and a moment later us sets it to C")
        teller.expect("each shows its own", (eu.get(key), us.get(key)) == (b"B", b"C"))
        cluster.heal_all()
        teller.say("the link is healed")
        if name == "siblings":
            wanted = f"CONFLICT 2 concurrent versions of '{key}'; see CONFLICT GET"
            teller.expect_soon(f"a plain GET answers -{wanted}", lambda: all(
                leader.ask("GET", key) == ReplyError(wanted) for leader in cluster.living()))
            tokens = [leader.versions(key) for leader in cluster.living()]
            teller.expect("CONFLICT GET shows B by eu and C by us, the same at every leader", all(
                sorted(versions) == [(b"B", "eu"), (b"C", "us")] and versions == tokens[0][1]
                for _, versions in tokens), tokens)
            teller.expect("the open conflict is counted at every leader", all(
                leader.call("CONFLICT", "COUNT") == 1 for leader in cluster.living()))
            asia.call("CONFLICT", "RESOLVE", key, asia.versions(key)[0], "B/C")
            teller.say(f"asia: CONFLICT RESOLVE {key} <token> B/C")
            _everywhere(teller, cluster, key, "B/C")
            teller.expect_soon("no conflict is open any more", lambda: all(
                leader.call("CONFLICT", "COUNT") == 0 for leader in cluster.living()))
        else:
            shown, lost = (b"C", b"B") if name == "lww" else (b"B", b"C")
            why = "the later one" if name == "lww" else "eu stands first"
            _everywhere(teller, cluster, key, shown, f"every leader shows {shown.decode()} ({why})")
            teller.expect_soon(f"{lost.decode()} is not lost: CONFLICT LOG holds it",
                               lambda: lost in _lost(cluster, key))
            teller.expect("the conflict was detected", any(
                int(leader.info()["conflicts_detected"]) > detected[leader.name]
                for leader in cluster.living()))
            entry_at = next(leader for leader in cluster.living() if any(
                lost == version[0] for entry in leader.conflict_log(key) for version in entry["lost"]))
            entry = next(entry for entry in entry_at.conflict_log(key)
                         if any(version[0] == lost for version in entry["lost"]))
            tag = next(version[3] for version in entry["lost"] if version[0] == lost)
            entry_at.call("CONFLICT", "RESTORE", entry["id"], tag)
            teller.say(f"{entry_at.name}: CONFLICT RESTORE <id> <tag>")
            _everywhere(teller, cluster, key, lost, f"every leader shows {lost.decode()} again")


def overtaking(teller, cluster):
    teller.title("Overtaking: an update never arrives before what it updates")
    eu, us, asia = _names(cluster)
    eu.call("LINK", "DELAY", "us", 700)
    us.call("LINK", "DELAY", "eu", 700)
    teller.say("the link between eu and us is slowed down by 700 ms")
    eu.call("SET", "article", "inserted")
    teller.say("eu inserts an article")
    teller.expect_soon("asia sees it", lambda: asia.get("article") == b"inserted")
    asia.call("SET", "article:comment", "about the article")
    asia.call("APPEND", "article", ", updated")
    teller.say("asia comments on it and updates it")
    seen = []

    def both():
        article, comment = us.call("MGET", "article", "article:comment")
        seen.append((article, comment))
        return comment is not None and article == b"inserted, updated"
    teller.expect_soon("us gets insert, comment and update", both)
    order = {(None, None): 0, (b"inserted", None): 1, (b"inserted", b"about the article"): 2,
             (b"inserted, updated", b"about the article"): 3}
    teller.expect("us never saw a comment without its article, nor an update without the insert",
                  all(pair in order for pair in seen), sorted(set(map(repr, seen))))
    steps = [order.get(pair, -1) for pair in seen]
    teller.expect("and saw them in order", steps == sorted(steps))
    eu.call("LINK", "DELAY", "us", 0)
    us.call("LINK", "DELAY", "eu", 0)


def meeting_room(teller, cluster):
    teller.title("Meeting room: two bookings for one slot, policy siblings")
    eu, us, asia = _names(cluster)
    key = "room:101:monday-10"
    eu.call("POLICY", "SET", "room:*", "siblings")
    teller.expect_soon("the policy is known to every leader", lambda: all(
        b"siblings" in repr(leader.call("POLICY", "GET", key)).encode() for leader in cluster.living()))
    cluster.isolate("eu", "us")
    teller.expect("eu books for Ada", eu.call("SET", key, "Ada", "NX") == b"OK")
    teller.expect("us, cut off, books for Grace", us.call("SET", key, "Grace", "NX") == b"OK")
    cluster.heal_all()
    teller.expect_soon("after healing every leader shows both bookings, to be decided by a person",
                       lambda: all(isinstance(leader.ask("GET", key), ReplyError) and
                                   sorted(leader.versions(key)[1]) == [(b"Ada", "eu"), (b"Grace", "us")]
                                   for leader in cluster.living()))
    reply = eu.ask("APPEND", key, "!")
    teller.expect("what would need the value is refused: APPEND answers -CONFLICT",
                  isinstance(reply, ReplyError) and reply.text.startswith("CONFLICT "), reply)
    us.call("CONFLICT", "RESOLVE", key, us.versions(key)[0], "Grace")
    teller.say("us: CONFLICT RESOLVE ... Grace")
    _everywhere(teller, cluster, key, "Grace")


def shopping_cart(teller, cluster):
    teller.title("Shopping cart: counters lose no increment")
    eu, us, asia = _names(cluster)
    eu.call("SET", "cart:apples", 10)
    _everywhere(teller, cluster, "cart:apples", "10")
    cluster.isolate("eu", "us", "asia")
    for _ in range(3):
        eu.call("INCR", "cart:apples")
    us.call("INCRBY", "cart:apples", 20)
    asia.call("DECRBY", "cart:apples", 5)
    teller.say("all cut off: eu adds 3 by ones, us adds 20, asia takes 5 away, starting from 10")
    teller.expect("each shows its own", [leader.get("cart:apples") for leader in (eu, us, asia)]
                  == [b"13", b"30", b"5"])
    cluster.heal_all()
    _everywhere(teller, cluster, "cart:apples", "28", "every leader shows 28")


def cleared_counter(teller, cluster):
    teller.title("Cleared counter: DEL clears what it had seen, no more")
    eu, us, asia = _names(cluster)
    eu.call("INCRBY", "visits", 100)
    _everywhere(teller, cluster, "visits", "100")
    cluster.isolate("eu", "us", "asia")
    us.call("DEL", "visits")
    eu.call("INCR", "visits")
    teller.say("cut off: us deletes a counter that stands at 100, eu increments it")
    teller.expect("eu shows 101, us nothing", (eu.get("visits"), us.get("visits")) == (b"101", None))
    cluster.heal("eu", "us")
    teller.expect_soon("healed, both show 1: the increment that the DEL had not seen",
                       lambda: (eu.get("visits"), us.get("visits")) == (b"1", b"1"))
    eu.call("INCR", "visits")
    teller.say("eu increments again, now knowing of the DEL; then asia comes back")
    cluster.heal_all()
    _everywhere(teller, cluster, "visits", "2", "every leader shows 2")
    asia.call("DEL", "visits")
    teller.say("asia deletes it, having seen everything")
    _everywhere(teller, cluster, "visits", None, "it is gone everywhere")
    teller.expect("EXISTS is 0 everywhere",
                  all(leader.call("EXISTS", "visits") == 0 for leader in cluster.living()))
    eu.call("INCRBY", "visits", 7)
    _everywhere(teller, cluster, "visits", "7", "eu starts anew with 7: 7 everywhere")


def resurrection(teller, cluster):
    teller.title("Resurrection: what was deleted while a leader was down stays deleted")
    eu, us, asia = _names(cluster)
    eu.pipeline([("SET", f"ghost:{i}", "alive") for i in range(100)])
    eu.call("SET", "phoenix", "old")
    _everywhere(teller, cluster, "phoenix", "old")
    asia.kill()
    teller.say("asia is killed (kill -9)")
    us.call("DEL", *[f"ghost:{i}" for i in range(100)])
    teller.say("us deletes 100 keys meanwhile")
    cluster.cut("eu", "us")
    eu.call("DEL", "phoenix")
    us.call("SET", "phoenix", "new")
    teller.say("and eu deletes a key that us, cut off, rewrites at the same time")
    cluster.heal("eu", "us")
    cluster.restart("asia")
    teller.say("asia is started again")
    _everywhere(teller, cluster, "phoenix", "new", "the rewritten key stays, everywhere")
    teller.expect_soon("the 100 deleted keys are gone at asia too, and everywhere", lambda: all(
        leader.call("EXISTS", *[f"ghost:{i}" for i in range(100)]) == 0 for leader in cluster.living()))
    cluster.wait_converged()
    teller.expect("they stay gone", all(
        leader.call("EXISTS", *[f"ghost:{i}" for i in range(100)]) == 0 for leader in cluster.living()))


def bad_clock(teller, cluster):
    teller.title("Bad clock: a leader whose clock is an hour ahead")
    eu, us, asia = _names(cluster)
    eu.call("SET", "clock", "before")
    _everywhere(teller, cluster, "clock", "before")
    asia.terminate()
    cluster.restart("asia", extra=["--clock-offset-ms", "3600000"])
    teller.say("asia restarts with its clock an hour ahead")
    asia.call("SET", "clock", "from the future")
    _everywhere(teller, cluster, "clock", "from the future", "all see its write at once")
    eu.call("SET", "clock", "now")
    teller.say("eu, having seen it, writes 'now' by its own, right clock")
    _everywhere(teller, cluster, "clock", "now", "the write that saw the other replaces it, everywhere")
    us.call("SET", "clock", "later")
    _everywhere(teller, cluster, "clock", "later", "and so does the next one")
    asia.terminate()
    cluster.restart("asia")
    teller.say("asia's clock is put right")
    asia.call("SET", "clock", "right again")
    _everywhere(teller, cluster, "clock", "right again")


def dead_node(teller, cluster):
    teller.title("Dead node: kill -9 under writes, restart, catch up")
    eu, us, asia = _names(cluster)
    for leader in (eu, us, asia):
        leader.pipeline([("SET", f"dead:{leader.name}:{i}", i) for i in range(500)])
    asia.kill()
    teller.say("each leader has acknowledged 500 writes; asia is killed")
    for leader in (eu, us):
        leader.pipeline([("SET", f"dead:{leader.name}:{i}", i) for i in range(500, 2000)])
    teller.say("eu and us go on with 1500 more each")
    teller.expect_soon("eu and us have each other's", lambda: all(
        leader.call("EXISTS", "dead:eu:1999", "dead:us:1999") == 2 for leader in (eu, us)))
    cluster.restart("asia")
    teller.say("asia is started again")
    keys = [f"dead:{name}:{i}" for name in ("eu", "us") for i in range(2000)]
    keys += [f"dead:asia:{i}" for i in range(500)]
    teller.expect_soon("every acknowledged write is at every leader", lambda: all(
        leader.call("EXISTS", *keys) == len(keys) for leader in cluster.living()))
    try:
        cluster.wait_converged()
        equal = True
    except AssertionError as error:
        equal = False
        teller.say(str(error))
    teller.expect("POLYARCH DIGEST is equal at all three", equal)


def expiry(teller, cluster):
    teller.title("Expiry: the latest word counts")
    eu, us, asia = _names(cluster)
    eu.call("SET", "otp", "1234", "PX", 1500)
    teller.say("eu: SET otp 1234 PX 1500")
    teller.expect_soon("the others see value and time to live", lambda: all(
        leader.get("otp") == b"1234" and 0 < leader.call("PTTL", "otp") <= 1500 for leader in (us, asia)),
        1.4)
    eu.call("SET", "lease", "held")
    _everywhere(teller, cluster, "lease", "held")
    cluster.isolate("eu", "us")
    eu.call("PEXPIRE", "lease", 60_000)
    _tick()
    us.call("PEXPIRE", "lease", 9_000_000)
    teller.say("cut off: eu gives a key a minute, us, a moment later, 2.5 hours")
    cluster.heal_all()
    teller.expect_soon("us's counts everywhere, it is the later one", lambda: all(
        leader.call("PTTL", "lease") > 60_000 for leader in cluster.living()))
    eu.call("PERSIST", "lease")
    teller.expect_soon("eu: PERSIST lease; it has no time to live at any leader", lambda: all(
        leader.call("PTTL", "lease") == -1 for leader in cluster.living()))
    _everywhere(teller, cluster, "otp", None, "meanwhile otp has expired at every leader")


def merges(teller, cluster):
    teller.title("Merges: a policy makes one value of several")
    eu, us, asia = _names(cluster)
    rules = {"merge:title": "merge CONCAT", "merge:high": "merge MAX", "merge:tags": "merge UNION",
             "merge:user": "merge JSON"}
    for key, policy in rules.items():
        eu.call("POLICY", "SET", key, *policy.split())
        teller.say(f"eu: POLICY SET {key} {policy}")
    asia.call("POLICY", "SET", "merge:player:*", "FIELD", "best", "merge", "MAX")
    teller.say("asia: POLICY SET merge:player:* FIELD best merge MAX")
    teller.expect_soon("the policies are known to every leader", lambda: all(
        leader.call("POLICY", "GET", key).decode() == policy
        for leader in cluster.living() for key, policy in rules.items()) and all(
        leader.call("POLICY", "GET", "merge:player:1", "FIELD", "best") == b"merge MAX"
        for leader in cluster.living()))
    cluster.isolate("eu", "us")
    eu.call("SET", "merge:title", "B")
    eu.call("SET", "merge:high", "120")
    eu.call("SET", "merge:tags", "red,blue")
    eu.call("SET", "merge:user", '{"name":"Ada","address":{"zip":"01234"}}')
    eu.call("HSET", "merge:player:1", "best", "12", "name", "Ada")
    _tick()
    us.call("SET", "merge:title", "C")
    us.call("SET", "merge:high", "99")
    us.call("SET", "merge:tags", "blue,green")
    us.call("SET", "merge:user", '{"name":"Ada L.","address":{"city":"London"}}')
    us.call("HSET", "merge:player:1", "best", "9", "name", "Grace")
    teller.say("cut off from each other, eu and a moment later us write a title, a high score, tags, a user, a player")
    cluster.heal_all()
    teller.say("the link is healed")
    _everywhere(teller, cluster, "merge:title", "B/C")
    _everywhere(teller, cluster, "merge:high", "120")
    _everywhere(teller, cluster, "merge:tags", "blue,green,red")
    _everywhere(teller, cluster, "merge:user", '{"address":{"city":"London","zip":"01234"},"name":"Ada L."}')
    teller.expect_soon("the player's best is 12, and the name the later one (only the field is merged)", lambda: all(
        leader.call("HMGET", "merge:player:1", "best", "name") == [b"12", b"Grace"]
        for leader in cluster.living()))
    teller.expect_soon("99 is not lost: CONFLICT LOG holds it", lambda: b"99" in _lost(cluster, "merge:high"))
    asia.call("INCRBY", "merge:high", 5)
    teller.say("asia: INCRBY merge:high 5")
    _everywhere(teller, cluster, "merge:high", "125")
    teller.say("now every leader writes, cut off from the others, while each sets the policy to something else")
    cluster.isolate("eu", "us", "asia")
    for i in range(100):
        for leader, policy in ((eu, "merge CONCAT"), (us, "merge MIN"), (asia, "siblings")):
            leader.call("SET", f"merge:load:{i % 10}", f"{leader.name}{i}")
            leader.call("HSET", "merge:hash", f"f{i % 10}", i)
            if i % 10 == 0:
                leader.call("POLICY", "SET", "merge:load:*", *policy.split())
                leader.call("POLICY", "SET", "merge:hash", "FIELD", "f3", *policy.split())
    cluster.heal_all()
    cluster.wait_converged()
    shown = [[leader.ask("GET", f"merge:load:{i}") for i in range(10)] for leader in cluster.living()]
    teller.expect("POLYARCH DIGEST is equal at all three, and all show the same", shown[0] == shown[1] == shown[2], shown)


def handlers(teller, cluster):
    teller.title("Handlers: a function of your own makes one value of several")
    eu, us, asia = _names(cluster)
    for key, name in (("hand:cart", "shopping_cart"), ("hand:entry", "calendar_entry")):
        with open(os.path.join(ROOT, "examples", "handlers", name + ".lua"), encoding="utf-8") as file:
            us.call("HANDLER", "LOAD", name, file.read())
        us.call("POLICY", "SET", key, "handler", name)
        teller.say(f'us: HANDLER LOAD {name} "$(cat examples/handlers/{name}.lua)"; POLICY SET {key} handler {name}')
    teller.expect_soon("the policies are known to every leader", lambda: all(
        leader.call("POLICY", "GET", "hand:entry") == b"handler calendar_entry" for leader in cluster.living()))
    eu.call("SET", "hand:entry", '{"title":"A","people":["Ada"]}')
    _everywhere(teller, cluster, "hand:entry", '{"title":"A","people":["Ada"]}')
    cluster.isolate("eu", "us", "asia")
    eu.call("SET", "hand:cart", '{"apples":2}')
    us.call("SET", "hand:cart", '{"apples":1,"pears":3}')
    eu.call("DEL", "hand:entry")
    _tick()
    us.call("SET", "hand:entry", '{"title":"B","people":["Grace"]}')
    _tick()
    asia.call("SET", "hand:entry", '{"title":"A","people":["Ada","Mary"],"place":"R1"}')
    teller.say("cut off from each other: eu and us fill the cart; eu deletes the entry, us and asia edit it")
    cluster.heal_all()
    teller.say("the links are healed")
    _everywhere(teller, cluster, "hand:cart", '{"apples":2,"pears":3}')
    _everywhere(teller, cluster, "hand:entry",
                '{"deleted_at":"eu","people":["Ada","Grace","Mary"],"place":"R1","title":"A"}')
    us.call("HANDLER", "LOAD", "shopping_cart", "function merge() while true do end end")
    teller.say("us loads another version of the cart's handler: one that never ends")
    _everywhere(teller, cluster, "hand:cart", '{"apples":1,"pears":3}',
                "every leader shows the later version, as lww, and goes on")
    teller.expect_soon("HANDLER LIST says why", lambda: all(
        b"it takes more than 1000000 steps" in b" ".join(word for handler in leader.call("HANDLER", "LIST")
                                                          for word in handler if isinstance(word, bytes))
        for leader in cluster.living()))
    us.call("POLICY", "DEL", "hand:cart")
    us.call("HANDLER", "DEL", "shopping_cart")
    us.call("DEL", "hand:cart", "hand:entry")
    cluster.wait_converged()


def siblings_by_application(teller, cluster):
    teller.title("Siblings: an application is told of each conflict and resolves it")
    eu, us, asia = _names(cluster)
    eu.call("POLICY", "SET", "room:*", "siblings")
    eu.call("CONFLICT", "FEED", "CREATE", "tour", "room:*", "LEADERS", "eu", "us")
    teller.say("eu: POLICY SET room:* siblings; CONFLICT FEED CREATE tour room:* LEADERS eu us")
    teller.expect_soon("the feed is known to every leader", lambda: all(
        leader.call("CONFLICT", "FEED", "LIST") for leader in cluster.living()))
    cluster.isolate("eu", "us")
    eu.call("SET", "room:1", "Ada")
    _tick()
    us.call("SET", "room:1", "Grace")
    us.call("HSET", "room:2", "monday", "Grace")
    _tick()
    eu.call("HSET", "room:2", "monday", "Ada")
    teller.say("cut off from each other, Ada and Grace book room 1, and room 2 for Monday")
    cluster.heal_all()

    def given():
        items = eu.call("CONFLICT", "FEED", "READ", "tour", "clerk", "AGAIN", "0")
        return {item["key"]: item for item in (dict(zip(map(bytes.decode, item[::2]), item[1::2])) for item in items)}
    teller.expect_soon("eu, the feed's first leader, gives both to the application", lambda: len(given()) == 2)

    def refused_at_us():
        refused = us.ask("CONFLICT", "FEED", "READ", "tour", "clerk")
        return isinstance(refused, ReplyError) and "leader eu delivers" in refused.text
    teller.expect_soon("us says who delivers", refused_at_us)
    for item in given().values():
        earliest = min(item["versions"], key=lambda version: version[2])
        place = ["FIELD", item["field"]] if item["field"] else []
        eu.call("CONFLICT", "RESOLVE", item["key"], item["token"], earliest[0], *place)
        eu.call("CONFLICT", "FEED", "ACK", "tour", item["id"])
    teller.say("the application resolves each by the earlier booking, and acknowledges it")
    _everywhere(teller, cluster, "room:1", "Ada")
    teller.expect_soon("Monday is Grace's", lambda: all(
        leader.ask("HGET", "room:2", "monday") == b"Grace" for leader in cluster.living()))
    teller.expect_soon("no conflict is open in the rooms", lambda: all(
        not leader.call("CONFLICT", "LIST", "MATCH", "room:*") for leader in cluster.living()))
    teller.expect("the feed has nothing more to give", not given())
    eu.call("CONFLICT", "FEED", "DEL", "tour")
    eu.call("DEL", "room:1", "room:2")
    cluster.wait_converged()


STORIES = [write_here_read_there, wiki_title, merges, handlers, siblings_by_application, overtaking, meeting_room, shopping_cart, cleared_counter,
           resurrection, bad_clock, dead_node, expiry]
