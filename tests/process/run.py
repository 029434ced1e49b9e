"""Runs the process tests: run.py [NAME...] [--long] [--list].

A test is a function `test_*(long)` in one of MODULES; NAME is a test's name with or without `test_`,
or the name of a module (all of its tests). Each runs in a process of its own with a time limit, so that
neither a crash nor a hang takes the others along. A test that cannot run here raises cluster.Skip with
the reason. Prints one line a test and `N passed, N failed`.
"""

import concurrent.futures
import importlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

MODULES = ["test_startup", "test_users", "test_golden", "test_identity", "test_expiry", "test_conflicts", "test_feed", "test_kill", "test_away",
           "test_state", "test_topology", "test_netns", "test_bad_input", "test_tls", "test_clients", "test_programs", "test_blocking", "test_streams", "test_queues", "test_transactions", "test_scripts", "test_pubsub", "test_operations", "test_maxmemory", "test_sync", "test_escrow", "test_sessions", "test_history", "test_differential",
           "test_backup", "test_operators", "test_dump", "test_moving", "test_packaging"]
# Their tests measure no time: two of them run at once, unless at full length.
IN_PAIRS = {"test_operations", "test_moving", "test_queues", "test_history", "test_differential", "test_feed",
            "test_pubsub", "test_backup", "test_operators", "test_dump", "test_identity", "test_users", "test_clients",
            "test_tls", "test_transactions", "test_conflicts", "test_expiry", "test_streams", "test_blocking", "test_escrow"}
LIMIT_S = 300
LIMIT_LONG_S = 5400
SKIPPED = 77


def tests():
    """[(module, name)] in order."""
    found = []
    for module in MODULES:
        loaded = importlib.import_module(module)
        found += [(module, name) for name in vars(loaded)
                  if name.startswith("test_") and callable(getattr(loaded, name))
                  and getattr(loaded, name).__module__ == module]
    return found


def chosen(names):
    everything = tests()
    if not names:
        return everything
    picked = []
    for wanted in names:
        full = wanted if wanted.startswith("test_") else "test_" + wanted
        matches = [test for test in everything if test[1] == full] or \
                  [test for test in everything if test[0] == full]
        if not matches:
            raise SystemExit(f"run.py: no process test is called '{wanted}'; see --list")
        picked += [match for match in matches if match not in picked]
    return picked


def run_one(module, name, long):
    """In the child."""
    import cluster
    cluster.die_with_parent()
    function = getattr(importlib.import_module(module), name)
    try:
        function(long)
    except cluster.Skip as reason:
        print(reason)
        return SKIPPED
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def run_apart(module, name, long, slot):
    """In a process of its own; prints how it went: ok, FAIL or skip."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--one", module, name] + (["--long"] if long else []),
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            env=dict(os.environ, POLYARCH_TEST_SLOT=str(slot)))
        try:
            code = child.wait(LIMIT_LONG_S if long else LIMIT_S)
        except subprocess.TimeoutExpired:
            code = "no end within the time limit"
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    outcome, note = "FAIL", f"({code})"
    if code == 0:
        outcome = "ok"
        note = "; ".join(line[6:] for line in text.splitlines() if line.startswith("note: "))
    elif code == SKIPPED:
        outcome, note = "skip", text.strip()
    lines = [f"{outcome:<5} {name[5:]:<28} {time.monotonic() - begin:6.1f} s  {note}".rstrip()]
    if outcome == "FAIL":
        lines += ["      " + line for line in text.splitlines()[-120:]]
    print("\n".join(lines), flush=True)
    return outcome


def main(arguments):
    if arguments[:1] == ["--one"]:
        return run_one(arguments[1], arguments[2], "--long" in arguments)
    long = "--long" in arguments
    unknown = [a for a in arguments if a.startswith("-") and a not in ("--long", "--list")]
    if unknown:
        print(__doc__)
        return 2
    selection = chosen([a for a in arguments if not a.startswith("-")])
    if "--list" in arguments:
        print("\n".join(name[5:] for _, name in selection))
        return 0
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    paired = [] if long else [test for test in selection if test[0] in IN_PAIRS]
    for test in selection:
        if test not in paired:
            counts[run_apart(*test, long, 0)] += 1
    # Each of two has its own ports.
    slots = queue.SimpleQueue()
    for slot in (0, 1):
        slots.put(slot)

    def in_slot(test):
        slot = slots.get()
        try:
            return run_apart(*test, long, slot)
        finally:
            slots.put(slot)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for outcome in pool.map(in_slot, paired):
            counts[outcome] += 1
    passed, failed, skipped = counts.values()
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
