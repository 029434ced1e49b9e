#!/usr/bin/env python3
"""How long polyarch-check takes for histories of a million operations, and how much memory.

    tools/build release polyarch-check polyarch-check-sample
    python3 bench/history.py [--operations N]

The histories come from polyarch-check-sample: valid ones, so that each is checked to its end.
"""

import argparse
import os
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build", "release")

SHAPES = [  # leaders, sessions, keys
    (3, 12, 100),
    (5, 64, 1000),
    (9, 256, 10_000),
]


def measure(flags, path):
    """Wall seconds, MiB at most, and what it said."""
    began = time.monotonic()
    child = subprocess.Popen([os.path.join(BUILD, "polyarch-check"), *flags, path], stdout=subprocess.PIPE, text=True)
    said = child.stdout.read().strip()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"polyarch-check {' '.join(flags)}: {child.returncode}: {said[:1000]}")
    return time.monotonic() - began, usage.ru_maxrss / 1024, said


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1_000_000)
    arguments = parser.parse_args()
    print("| check | leaders | sessions | keys | s | MiB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "history.txt")
        for leaders, sessions, keys in SHAPES:
            for kind in ("causal", "linearizable"):
                with open(path, "w") as out:
                    subprocess.run([os.path.join(BUILD, "polyarch-check-sample"), str(arguments.operations), "--leaders", str(leaders),
                                    "--sessions", str(sessions), "--keys", str(keys)]
                                   + (["--linearizable"] if kind == "linearizable" else []), stdout=out, check=True)
                for flag in (["--causal", "--convergent"] if kind == "causal" else ["--linearizable"]):
                    seconds, mib, _ = measure([flag], path)
                    print(f"| `{flag}` | {leaders} | {sessions} | {keys} registers, {keys} counters | {seconds:.1f} | {mib:.0f} |", flush=True)


if __name__ == "__main__":
    main()
