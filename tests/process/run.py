"""Runs the process tests: run.py [NAME...] [--long] [--list].

A test is a function `test_*(long)` in one of MODULES; NAME is a test's name with or without `test_`,
or the name of a module (all of its tests). Each runs in a process of its own with a time limit, so that
neither a crash nor a hang takes the others along. A test that cannot run here raises cluster.Skip with
the reason. Prints one line a test and `N passed, N failed`.
"""

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

MODULES = ["test_startup", "test_users", "test_golden", "test_identity", "test_expiry", "test_conflicts", "test_feed", "test_kill", "test_away",
           "test_state", "test_topology", "test_netns", "test_bad_input", "test_clients", "test_programs", "test_blocking", "test_streams", "test_queues", "test_transactions", "test_scripts", "test_pubsub", "test_operations", "test_sync", "test_sessions", "test_history", "test_differential",
           "test_backup", "test_operators", "test_dump", "test_moving"]
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
    passed = failed = skipped = 0
    for module, name in selection:
        begin = time.monotonic()
        with tempfile.TemporaryFile() as output:
            child = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__), "--one", module, name]
                + (["--long"] if long else []),
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
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
        seconds = time.monotonic() - begin
        if code == 0:
            passed += 1
            notes = "; ".join(line[6:] for line in text.splitlines() if line.startswith("note: "))
            print(f"ok    {name[5:]:<28} {seconds:6.1f} s  {notes}".rstrip(), flush=True)
        elif code == SKIPPED:
            skipped += 1
            print(f"skip  {name[5:]:<28} {seconds:6.1f} s  {text.strip()}", flush=True)
        else:
            failed += 1
            print(f"FAIL  {name[5:]:<28} {seconds:6.1f} s  ({code})", flush=True)
            print("\n".join("      " + line for line in text.splitlines()[-120:]), flush=True)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
