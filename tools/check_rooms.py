"""Watches the rooms of src/: who may include whom, and what the quiet rooms must not hold.

1. A file includes only rooms that its own CMakeLists.txt declares (DEPS, and what they see), and only
   rooms that stand before its own in src/CMakeLists.txt.
2. A quiet room (values, codecs, sans-IO) holds no clock, thread, file, socket or random device, and
   does not iterate over an unordered container, whose order would differ from run to run. Where the
   order cannot be seen outside, the loop's line (or the one above) says so: `// any order: why`.

Tests may use what they like. Prints file:line for each finding; exit code 1 if there is one.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SRC = os.path.join(ROOT, "src")

QUIET = {"base", "acl", "history", "lua", "script", "clock", "crdt", "rdb", "conflict", "wire", "replication", "sync", "keyspace", "engine", "resp",
         "command"}
# A change's body is opaque bytes to replication; sockets and commands do not know each other.
NEVER = {"replication": {"crdt", "conflict", "keyspace", "storage"},
         "sync": {"crdt", "conflict", "log", "keyspace", "storage", "replication"},
         "resp": {"clock", "crdt", "conflict", "wire", "log", "storage", "replication", "keyspace"},
         "net": {"crdt", "conflict", "wire", "log", "storage", "replication", "keyspace", "engine",
                 "command"}}

LOUD_INCLUDE = re.compile(
    r"^\s*#\s*include\s*<(thread|chrono|fstream|filesystem|random|mutex|shared_mutex|future|iostream"
    r"|condition_variable|ctime|time\.h|unistd\.h|fcntl\.h|poll\.h|netdb\.h|sys/[^>]*|netinet/[^>]*"
    r"|arpa/[^>]*)>")
LOUD_CALL = re.compile(
    r"(?<![\w.>:])(clock_gettime|gettimeofday|rand|srand|getenv|usleep|nanosleep|fopen)\s*\("
    r"|\bstd::(time|rand|getenv)\s*\(|\bthread_local\b")
UNORDERED = re.compile(
    r"\b(?:std::unordered_(?:multi)?(?:map|set)|absl::(?:flat|node)_hash_(?:map|set)"
    r"|boost::unordered_\w+)\s*<[^;{}()]*>\s+(\w+)\s*(?:;|=|\{|ABSL)")
EXCUSE = re.compile(r"//.*\bany order:")


def rooms_in_order():
    with open(os.path.join(SRC, "CMakeLists.txt")) as file:
        return re.search(r"foreach\(room ([^)]*)\)", file.read()).group(1).split()


def declared(room):
    """The rooms that `room` says it may see."""
    path = os.path.join(SRC, room, "CMakeLists.txt")
    if not os.path.exists(path):
        return set()
    with open(path) as file:
        text = re.sub(r"#.*", "", file.read())
    found = set()
    for call in re.findall(r"polyarch_room\(([^)]*)\)", text):
        words = call.split()
        if "DEPS" in words:
            for word in words[words.index("DEPS") + 1:]:
                if word.isupper():
                    break
                found.add(word)
    found |= set(re.findall(r"\bpolyarch_([a-z]+)\b", text)) - {"room"}
    return found


def closure(room, direct):
    seen, todo = set(), [room]
    while todo:
        for dep in direct.get(todo.pop(), ()):
            if dep not in seen:
                seen.add(dep)
                todo.append(dep)
    return seen


def strip_comments(line):
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', re.sub(r"//.*", "", line))


def check_file(path, room, order, may_see, findings):
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    relative = os.path.relpath(path, ROOT)
    names = set()
    header = re.sub(r"\.cc$", ".h", path)
    for source in {path, header}:
        if os.path.exists(source):
            with open(source, encoding="utf-8") as file:
                names |= set(UNORDERED.findall(file.read()))
    loop = None
    if names:
        either = "|".join(sorted(names))
        loop = re.compile(rf"for\s*\([^;]*:\s*(?:\w+(?:\.|->))*(?:{either})\s*\)"
                          rf"|\b(?:{either})\s*\.\s*c?begin\s*\(")
    for number, line in enumerate(lines, 1):
        include = re.match(r'\s*#\s*include\s*"([a-z_]+)/', line)
        if include and include.group(1) in order and include.group(1) != room:
            other = include.group(1)
            if order.index(other) > order.index(room):
                findings.append(f"{relative}:{number}: {room} must not see {other}, which comes after it")
            elif other in NEVER.get(room, ()):
                findings.append(f"{relative}:{number}: {room} never sees {other}")
            elif other not in may_see:
                findings.append(f"{relative}:{number}: {room} does not declare {other} in its DEPS")
        if room not in QUIET or os.path.basename(path) == "main.cc":  # a program around the room
            continue
        loud = LOUD_INCLUDE.match(line)
        if loud:
            findings.append(f"{relative}:{number}: a quiet room includes <{loud.group(1)}>")
        code = strip_comments(line)
        call = LOUD_CALL.search(code)
        if call:
            findings.append(f"{relative}:{number}: a quiet room uses {call.group(0).strip(' (')}")
        if loop and loop.search(code) and not EXCUSE.search(line) and not (
                number > 1 and EXCUSE.search(lines[number - 2])):
            findings.append(f"{relative}:{number}: iterates over an unordered container")


def main():
    order = rooms_in_order()
    direct = {room: declared(room) for room in order}
    findings = []
    count = 0
    for room in order:
        for folder, _, names in os.walk(os.path.join(SRC, room)):
            for name in sorted(names):
                if name.endswith((".h", ".cc")) and not name.endswith(("_test.cc", "_test_util.h")):
                    check_file(os.path.join(folder, name), room, order, closure(room, direct), findings)
                    count += 1
    for finding in findings:
        print(finding)
    print(f"rooms: {count} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
