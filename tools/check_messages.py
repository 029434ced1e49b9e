#!/usr/bin/env python3
"""Is every warning and alarm of a leader's log in the table of docs/operations.md, "Messages and what to do"?

Looks at calls of Report and Log with severity 1 or 2, and at those whose texts end up in one (PREFIXED). Of each, the first
literal of two words or more must be in that section, by its first words. `--list` prints what it has found.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SECTION = "## Messages and what to do"
WORDS = 4  # of a text that are looked for
# name(severity, text): what is not fixed as 0 counts as a warning.
CALL = re.compile(r"(?:\b(?:Report|Log)|\breport)\(\s*(?P<severity>[^,;{]*?)\s*,", re.S)
# Texts that are put behind or before others in one line of the log.
PREFIXED = re.compile(r"\bDropStaged\(")
LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"(\s*"((?:[^"\\\n]|\\.)*)")*')


def statement(text, at):
    """From `at`, which is behind an opening bracket, to the one that closes it."""
    depth, i, quoted = 1, at, False
    while depth > 0 and i < len(text):
        c = text[i]
        if quoted:
            i += c == "\\"
            quoted = c != '"' or text[i] != '"'
        elif c == '"':
            quoted = True
        else:
            depth += (c == "(") - (c == ")")
        i += 1
    return text[at:i - 1]


def literals(code):
    """Adjacent literals are one."""
    for found in LITERAL.finditer(code):
        yield "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', found.group(0))).replace('\\"', '"').replace("\\'", "'")


def messages(path, text):
    for call in CALL.finditer(text):
        severity = call["severity"]
        if severity in ("0", "-1") or "int severity" in severity or "const std" in severity:
            continue
        yield text.count("\n", 0, call.start()) + 1, statement(text, call.end())
    for call in PREFIXED.finditer(text):
        yield text.count("\n", 0, call.start()) + 1, statement(text, call.end())


def plain(text):
    return " ".join(re.sub(r"[`|\\;:,.]", " ", text).split())


def main():
    with open(os.path.join(ROOT, "docs", "operations.md"), encoding="utf-8") as file:
        table = plain(file.read().split(SECTION + "\n", 1)[1].split("\n## ", 1)[0])
    missing, seen = [], 0
    for at, _, files in os.walk(os.path.join(ROOT, "src")):
        for name in sorted(files):
            path = os.path.relpath(os.path.join(at, name), ROOT)
            if not name.endswith((".cc", ".h")) or "_test" in name or path.startswith(("src/cli", "src/moving", "src/history")):
                continue
            with open(os.path.join(ROOT, path), encoding="utf-8") as file:
                text = file.read()
            for line, code in messages(path, text):
                found = [plain(t) for t in literals(code)]
                told = next((t for t in (f.strip(" ()") for f in found) if len(t) >= 8 and " " in t), None)
                if told is None:  # passed on from where it was written
                    continue
                seen += 1
                words = " ".join(told.split()[:WORDS])
                if "--list" in sys.argv:
                    print(f"{path}:{line}: {' ... '.join(found)}")
                if words not in table:
                    missing.append(f"{path}:{line}: '{words}' is not in the table of docs/operations.md")
    for text in missing:
        print(text)
    if seen < 40:
        sys.exit(f"only {seen} messages found: does {os.path.basename(__file__)} still know how they are written?")
    if missing:
        sys.exit(1)


if __name__ == "__main__":
    main()
