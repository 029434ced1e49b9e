"""./test behind its build: the check of the rooms, ctest, the simulator, the process tests.

Arguments: [NAME...] [--long] [--list]. The parts run one after another; ends with `N passed, N failed`
alone on a line, and an exit code other than 0 if anything failed or a name is unknown.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build", "release")
SIMULATOR = os.path.join(BUILD, "polyarch-sim")
CHECKED = os.path.join(ROOT, "build", "checked", "polyarch-sim")  # ends at an index out of bounds
PLANTED = os.path.join(ROOT, "build", "planted", "polyarch-sim")
PLANTED_SYNC = os.path.join(ROOT, "build", "planted", "sync_test")
PROCESS = os.path.join(ROOT, "tests", "process", "run.py")
# ctest has a smoke run of the first seeds; here are others.
SEEDS_FROM = 1001
SEEDS = 300
SEEDS_LONG = 20000
SEEDS_LARGE = 2  # clusters of 20 to 50 leaders
SEEDS_LARGE_LONG = 200
SEEDS_HISTORIES = 60  # with clients whose histories are judged
SEEDS_HISTORIES_LONG = 5000


def line(fine, name, seconds, note=""):
    print(f"{'ok   ' if fine else 'FAIL '} {name:<28} {seconds:6.1f} s  {note}".rstrip(), flush=True)


class Commands:
    """Tests that are one command each; their output is shown when they fail."""

    def __init__(self, long):
        python = sys.executable
        self.commands = {"rooms": [python, os.path.join(ROOT, "tools", "check_rooms.py")],
                         "messages": [python, os.path.join(ROOT, "tools", "check_messages.py")]}
        if os.path.exists(SIMULATOR) or not os.path.exists(BUILD):
            self.commands["simulator"] = [
                CHECKED if os.path.exists(CHECKED) else SIMULATOR, "--from", str(SEEDS_FROM), "--seeds", str(SEEDS_LONG if long else SEEDS), "--twice-first",
                "20", "--jobs", str(os.cpu_count() or 1)]
            self.commands["simulator_large"] = [
                SIMULATOR, "--leaders", "20..50", "--from", str(SEEDS_FROM), "--seeds",
                str(SEEDS_LARGE_LONG if long else SEEDS_LARGE), "--jobs", str(os.cpu_count() or 1)]
            self.commands["simulator_histories"] = [
                SIMULATOR, "--histories", "--from", str(SEEDS_FROM), "--seeds",
                str(SEEDS_HISTORIES_LONG if long else SEEDS_HISTORIES), "--twice-first", "5", "--jobs", str(os.cpu_count() or 1)]
        if os.path.exists(PLANTED):
            self.commands["planted"] = [PLANTED, "--planted", "--jobs", str(os.cpu_count() or 1), "--scenarios",
                                        os.path.join(ROOT, "tests", "scenario")]
        if os.path.exists(PLANTED_SYNC):
            self.commands["planted_sync"] = [PLANTED_SYNC, "--gtest_filter=Sync.*"]

    def run(self, name):
        begin = time.monotonic()
        done = subprocess.run(self.commands[name], cwd=ROOT, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        lines = done.stdout.splitlines()
        line(done.returncode == 0, name, time.monotonic() - begin, lines[-1] if lines else "")
        if done.returncode != 0 or name.startswith("planted"):
            print("\n".join("      " + text for text in lines[-100:]), flush=True)
        return done.returncode == 0


def ctest_names():
    if not os.path.exists(os.path.join(BUILD, "CTestTestfile.cmake")):
        # Nothing is built yet, and --list must not: the rooms that name tests.
        names = []
        for path in sorted(glob.glob(os.path.join(ROOT, "src", "*", "CMakeLists.txt"))):
            with open(path, encoding="utf-8") as file:
                names += re.findall(r"polyarch_room\(NAME (\w+)[^)]*\bTESTS\b", file.read())
        return names + ["sim_oracle", "sim_smoke", "sim_scenarios"]
    listed = subprocess.run(["ctest", "--test-dir", BUILD, "-N"], stdout=subprocess.PIPE, text=True,
                            check=True).stdout
    return re.findall(r"^\s*Test\s+#\d+: (\S+)", listed, re.M)


def run_ctest(names):
    """(passed, failed) of the given unit tests."""
    with tempfile.TemporaryDirectory() as scratch:
        report = os.path.join(scratch, "report.xml")
        pattern = "^(" + "|".join(map(re.escape, names)) + ")$"
        done = subprocess.run(
            ["ctest", "--test-dir", BUILD, "-R", pattern, "--output-on-failure", "-j2", "-Q",
             "--timeout", "600", "--output-junit", report],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if not os.path.exists(report):
            print(done.stdout)
            return 0, len(names)
        passed = failed = 0
        for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
            fine = case.get("status") == "run"
            passed, failed = passed + fine, failed + (not fine)
            line(fine, case.get("name"), float(case.get("time") or 0))
            if not fine:
                output = case.findtext("system-out") or case.get("status") or ""
                print("\n".join("      " + text for text in output.splitlines()[-100:]), flush=True)
        return passed, failed


def process_names():
    return subprocess.run([sys.executable, PROCESS, "--list"], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.split()


def expand(wanted, known):
    """The name of a module of process tests stands for its tests, as in tests/process/run.py."""
    names = []
    for name in wanted:
        found = []
        if name not in known:
            found = subprocess.run([sys.executable, PROCESS, name, "--list"], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True, check=False).stdout.split()
        names += found or [name]
    return names


def run_process(names, long):
    run = subprocess.Popen([sys.executable, PROCESS] + names + (["--long"] if long else []),
                           stdout=subprocess.PIPE, text=True, errors="replace")
    result = (0, len(names), 0)
    for text in run.stdout:
        match = re.fullmatch(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*", text)
        if match:
            result = int(match.group(1)), int(match.group(2)), int(match.group(3) or 0)
        else:
            print(text, end="", flush=True)
    run.wait()
    return result


def main(arguments):
    long = "--long" in arguments
    commands = Commands(long)
    unit = ctest_names()
    process = process_names()
    if "--list" in arguments:
        print("\n".join(list(commands.commands) + unit + process))
        return 0
    wanted = expand([a for a in arguments if not a.startswith("-")], [*commands.commands, *unit, *process])
    strange = [a for a in arguments if a.startswith("-") and a != "--long"]
    strange += [name for name in wanted if name not in commands.commands and name not in unit
                and name not in process]
    if strange:
        print(f"test: unknown: {' '.join(strange)}; see ./test --list", file=sys.stderr)
        return 2

    def pick(names):
        return [name for name in names if not wanted or name in wanted]

    passed = failed = skipped = 0
    for name in pick(["rooms"]):
        fine = commands.run(name)
        passed, failed = passed + fine, failed + (not fine)
    if pick(unit):
        more = run_ctest(pick(unit))
        passed, failed = passed + more[0], failed + more[1]
    for name in pick([name for name in commands.commands if name != "rooms"]):
        fine = commands.run(name)
        passed, failed = passed + fine, failed + (not fine)
    if pick(process):
        more = run_process(pick(process), long)
        passed, failed, skipped = passed + more[0], failed + more[1], more[2]
    if skipped:
        print(f"{skipped} skipped: the reasons are above")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
