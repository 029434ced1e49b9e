"""./run tour: the golden conflict cases on three real leaders, narrated and checked.

Starts its own leaders on free ports in a temporary directory. Exit code 0 if all came out as promised.
The stories themselves are in tests/process/golden.py, which the tests share.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "process"))
import golden  # noqa: E402
from cluster import Cluster  # noqa: E402

_colour = sys.stdout.isatty()


def _paint(code, text):
    return f"\x1b[{code}m{text}\x1b[0m" if _colour else text


class Narrator(golden.Teller):
    def __init__(self):
        self.kept = 0
        self.broken = 0

    def title(self, text):
        print("\n" + _paint("1", text), flush=True)

    def say(self, text):
        print("    " + text, flush=True)

    def _result(self, text, fine, detail):
        if fine:
            self.kept += 1
            print("  " + _paint("32", "✓ ") + text, flush=True)
        else:
            self.broken += 1
            print("  " + _paint("31", "✗ ") + text + (f" ({detail})" if detail else ""), flush=True)

    def expect(self, text, condition, detail=""):
        self._result(text, condition, detail)

    def expect_soon(self, text, condition, deadline_s=golden.DEADLINE_S):
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                self._result(text, False, f"not within {deadline_s:g} s")
                return
            time.sleep(0.01)
        self._result(text, True, "")


def main():
    teller = Narrator()
    begin = time.monotonic()
    print("Three leaders eu, us and asia start on this machine; each accepts writes by itself.")
    try:
        with Cluster() as cluster:
            print("They listen on " + ", ".join(
                f"{leader.port} ({leader.name})" for leader in cluster.living()) + " while the tour runs.")
            for story in golden.STORIES:
                try:
                    story(teller, cluster)
                except Exception as error:  # a story that cannot go on is a broken promise
                    teller.expect("the story ends", False, f"{type(error).__name__}: {error}")
                    break
    except KeyboardInterrupt:
        print("\ntour: stopped")
        return 130
    except Exception as error:
        print(f"tour: {error}")
        return 1
    seconds = time.monotonic() - begin
    print()
    if teller.broken:
        print(f"{teller.broken} of {teller.kept + teller.broken} promises were broken.")
        return 1
    print(f"All {teller.kept} promises kept, in {seconds:.0f} s. To try by hand: ./run")
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    sys.exit(main())
