"""Writes the manual pages and the default configuration file: tools/manual.py OUT [--binaries DIR] [--gzip]

All of it comes from what the programs say of themselves, so that it cannot go stale: subcommands and options from
--help, settings from `polyarch server --help` (every flag is a key of the file), commands from COMMAND DOCS of a
leader that is started for it. OUT gets polyarch.1, polyarch-check.1, polyarch.toml.5, polyarch-commands.7 (with
--gzip compressed) and polyarch.toml.
"""

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
CONFIGURATION = "/etc/polyarch/polyarch.toml"
DATA = "/var/lib/polyarch/data"
HELP_COLUMN = 30  # where CLI11 begins what it says of an option
SHARED_GROUP = "Which leader"  # of options that most subcommands have


# ---- what --help says

class Option:
    """An option, an argument or a subcommand: `--port INT=7400   the port for clients`."""

    def __init__(self, head, text):
        self.text = text.strip()
        self.notes = []
        for word, note in (("Excludes", "not with"), ("Needs", "only with")):
            found = re.search(rf" {word}:((?: [\w-]+)+)$", head)
            if found:
                self.notes.insert(0, note + found.group(1))
                head = head[:found.start()]
        self.required = head.endswith(" REQUIRED")
        head = head.removesuffix(" REQUIRED")
        self.several = head.endswith(" ...")
        head = head.removesuffix(" ...")
        self.names, _, kind = head.partition(" ")
        self.name = self.names.split(",")[-1].lstrip("-")
        kind, between, limits = kind.partition(" in ")
        if between:
            self.notes.append("in " + limits)
        kind, has_default, default = kind.partition("=")
        self.default = default if has_default else None
        self.kind = kind.partition(":")[0]

    def value(self):
        """The word that stands for its value; none: it has none."""
        unit = re.fullmatch(r"\d+([a-z]+)", self.default or "")
        if self.kind in ("INT", "UINT") and unit:
            return "time" if unit.group(1) in ("ms", "s", "m") else "size"
        return {"": None, "INT": "number", "UINT": "number", "FLOAT": "number"}.get(self.kind, self.kind.lower())


class Help:
    """The output of --help: `description`, `usage`, and `groups`: the options by headline."""

    def __init__(self, text):
        lines = text.splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("Usage: "))
        self.description = "\n".join(lines[:at]).strip()
        self.usage = lines[at].removeprefix("Usage: ").strip()
        self.groups = {}
        heads = []
        for line in lines[at + 1:]:
            if re.fullmatch(r"\S.*:", line):
                heads = self.groups.setdefault(line[:-1], [])
            elif line.startswith(" " * HELP_COLUMN):
                heads[-1][1] += "\n" + line[HELP_COLUMN:]
            elif line.startswith("  "):
                apart = line[HELP_COLUMN - 1:HELP_COLUMN] == " "
                heads.append([line[:HELP_COLUMN].strip(), line[HELP_COLUMN:]] if apart else [line.strip(), ""])
            elif line.strip():
                raise SystemExit(f"manual: this line of --help is not understood: {line!r}")
        self.groups = {name: [Option(*entry) for entry in entries] for name, entries in self.groups.items()}

    def subcommands(self):
        return [option.name for option in self.groups.get("Subcommands", [])]


class Programs:
    def __init__(self, directory):
        self.directory = directory

    def run(self, *arguments):
        done = subprocess.run(arguments, executable=os.path.join(self.directory, arguments[0]), check=True,
                              stdout=subprocess.PIPE, text=True, timeout=30)
        return done.stdout

    def help(self, *arguments):
        return Help(self.run(*arguments, "--help"))

    def version(self):
        return self.run("polyarch", "--version").split()[1]

    def usage(self):
        """[(usage, what it does)] of all subcommands, in order."""
        lines = []
        for line in self.run("polyarch", "--help").splitlines():
            line = line.removeprefix("usage:").strip()
            if line.startswith("polyarch "):
                usage, _, text = line.partition("  ")
                lines.append((usage, text.strip()))
        return lines

    def subcommands(self):
        return [usage.split()[1] for usage, _ in self.usage() if not usage.split()[1].startswith("-")]

    def settings(self):
        """{headline: [Option]}: the settings of a server."""
        groups = self.help("polyarch", "server").groups
        return {group: [option for option in options if option.name not in ("help", "config")]
                for group, options in groups.items()}

    def commands(self):
        """COMMAND DOCS of a leader."""
        os.environ["POLYARCH_BINARY"] = os.path.join(self.directory, "polyarch")
        sys.path.insert(0, os.path.join(ROOT, "tests", "process"))
        from cluster import Leader  # pylint: disable=import-outside-toplevel
        with tempfile.TemporaryDirectory() as scratch:
            leader = Leader("manual", os.path.join(scratch, "data"), ["--log-segment", "64kb"]).start()
            docs = _map(leader.call("COMMAND", "DOCS"))
            leader.terminate()
        return docs


def _text(value):
    if isinstance(value, bytes):
        return value.decode()
    return [_text(item) for item in value] if isinstance(value, list) else value


def _map(flat):
    """A map of RESP2, a flat list, with all texts as str."""
    flat = _text(flat)
    return dict(zip(flat[::2], flat[1::2]))


# ---- roff

def esc(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.M)


def flow(text):
    """A paragraph: lines and runs of blanks are joined. `**bold**` is bold."""
    return re.sub(r"\*\*(.+?)\*\*", r"\\fB\1\\fR", esc(" ".join(text.split())))


def sentence(text):
    """Begins with a capital, unless it begins with a list of words: "debug, info"."""
    text = " ".join(text.split())
    return text if text.split(" ")[0].endswith(",") else text[:1].upper() + text[1:]


class Page:
    def __init__(self, name, section, version, about):
        self.lines = [f'.TH {name.upper()} {section} "" "Polyarch {version}" "Polyarch"',
                      ".SH NAME", f"{esc(name)} \\- {flow(about)}"]

    def section(self, title, *paragraphs):
        self.lines += [f'.SH "{title}"']
        self.paragraphs(*paragraphs)

    def subsection(self, title, *paragraphs):
        self.lines += [f'.SS "{esc(title)}"']
        self.paragraphs(*paragraphs)

    def paragraphs(self, *paragraphs):
        for paragraph in paragraphs:
            self.lines += [".PP", flow(paragraph)]

    def verbatim(self, text):
        self.lines += [".PP", ".RS 4", ".nf", esc(text), ".fi", ".RE"]

    def item(self, head, *paragraphs):
        """`head` is roff."""
        self.lines += [".TP", head]
        self.lines += ["\n.IP\n".join(flow(text) for text in paragraphs if text)]

    def option(self, option):
        head = ", ".join(f"\\fB{esc(name)}\\fR" for name in option.names.split(","))
        if option.names.startswith("-"):
            value = option.value()
            head += (f" \\fI{value}\\fR" if value else "") + (" ..." if option.several else "")
        else:
            head = f"\\fI{esc(option.names)}\\fR" + (" ..." if option.several else "")
        remarks = (["required"] if option.required else []) + option.notes
        if option.default is not None:
            remarks.append("default: " + option.default.strip("[]"))
        self.item(head, sentence(option.text) + (f" ({'; '.join(remarks)})" if remarks else ""))

    def options(self, options):
        for option in options:
            if option.name != "help":
                self.option(option)

    def write(self, path, compress):
        text = ("\n".join(self.lines) + "\n").encode()
        if compress:
            with open(path + ".gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
                packed.write(text)
        else:
            with open(path, "wb") as file:
                file.write(text)


# ---- the pages

ENVIRONMENT = {
    "POLYARCH_PASSWORD": "The password for the leader, where neither an option nor the URI gives one.",
    "POLYARCH_USER": "The user, likewise.",
    "POLYARCH_SOURCE_PASSWORD": "The password of the Redis from which **import** reads.",
}


def program_page(programs):
    page = Page("polyarch", 1, programs.version(), "a multi-leader database that speaks the Redis protocol")
    page.section("SYNOPSIS")
    for usage, _ in programs.usage():
        words = usage.split(" ", 2)
        page.lines += [f"\\fB{esc(' '.join(words[:2]))}\\fR {esc(' '.join(words[2:]))}".rstrip(), ".br"]
    page.section(
        "DESCRIPTION",
        "Every node of a cluster, a leader, accepts writes on its own, whether or not it can reach the others. Writes that did not "
        "know of each other are detected by causality, and every leader ends with the same state; a policy that is "
        "chosen for the key decides what a read shows, and what it decides against is kept and restorable.",
        "**polyarch server** runs one leader. The other subcommands are clients of a leader; **restore** works on files.")
    page.lines += ['.SH "SUBCOMMANDS"']
    helps = {name: programs.help("polyarch", name) for name in programs.subcommands()}
    with_leader = [h.groups[SHARED_GROUP] for h in helps.values() if SHARED_GROUP in h.groups]
    shared = [o for o in with_leader[0] if all(o.names in [p.names for p in group] for group in with_leader)]
    names = [option.names for option in shared]

    def describe(words, text):
        page.subsection(" ".join(words), text.description)
        page.paragraphs("**" + text.usage + "**")
        for group, options in text.groups.items():
            if group != "Subcommands":
                page.options([o for o in options if group != SHARED_GROUP or o.names not in names])
        if SHARED_GROUP in text.groups:
            page.paragraphs("Also the options of WHICH LEADER, below"
                            + (", in front of the further subcommand." if text.subcommands() else "."))
        for name in text.subcommands():
            describe([*words, name], programs.help(*words, name))

    for name, text in helps.items():
        describe(["polyarch", name], text)
    page.section("WHICH LEADER", "Options of all subcommands that talk to a leader:")
    page.options(shared)
    page.section(
        "EXIT STATUS", "0: done; of **server**: a clean stop. 1: it failed, with a line on standard error that says "
        "why and what to do. 2: wrong usage, or a wrong or missing setting.")
    page.section(
        "SIGNALS", "SIGTERM and SIGINT stop **server** cleanly: replies and changes leave, the log is synced. "
        "SIGUSR1 makes **import** cut over.")
    page.section("ENVIRONMENT")
    said = set(re.findall(r"POLYARCH_[A-Z_]+", "".join(
        option.text for text in helps.values() for options in text.groups.values() for option in options)))
    for variable in sorted(said):
        page.item(f"\\fB{variable}\\fR", ENVIRONMENT.get(variable, "See the option that names it."))
    page.section("FILES")
    page.item(f"\\fI{CONFIGURATION}\\fR", "The configuration of the leader that the service polyarch.service runs.")
    page.item(f"\\fI{esc(DATA)}\\fR", "Its data.")
    page.item("\\fI/var/backups/polyarch\\fR", "A place where it may write backups.")
    page.item("\\fI/usr/share/doc/polyarch/docs\\fR", "The documentation: operations.md, conflicts.md and others.")
    page.section("SEE ALSO", "**polyarch.toml**(5), **polyarch-commands**(7), **polyarch-check**(1), redis-cli(1)")
    return page


def check_page(programs):
    text = programs.help("polyarch-check")
    page = Page("polyarch-check", 1, programs.version(), "tells whether a history of operations can be explained")
    page.section("SYNOPSIS", "**" + text.usage + "**")
    page.section("DESCRIPTION", text.description.replace("Exit code:", "Exit code 0:").replace("0: 0 it", "0: it") + ".",
                 "A history is what clients asked a database, and what it answered. Its format and what is checked: "
                 "/usr/share/doc/polyarch/docs/checking.md.")
    page.section("OPTIONS")
    for options in text.groups.values():
        page.options(options)
    page.section("SEE ALSO", "**polyarch**(1)")
    return page


KINDS = {
    "text": "a text in quotes", "texts": "a text in quotes, or a list of them", "number": "a whole number",
    "size": 'a whole number of bytes, or a text with a unit: "64mb"',
    "time": 'a whole number of milliseconds, or a text with a unit: "30s"', "boolean": "true or false",
}


def kind(option):
    if option.several:
        return "texts"
    return option.value() or "boolean"


def settings_page(programs):
    page = Page("polyarch.toml", 5, programs.version(), "the configuration of a Polyarch leader")
    page.section("SYNOPSIS")
    page.lines += [f"\\fBpolyarch server \\-\\-config\\fR \\fI{CONFIGURATION}\\fR"]
    page.section(
        "DESCRIPTION",
        "A file in TOML. Every setting is a key that stands by itself, in no table, and is also a flag of **polyarch "
        "server** under the same name with two dashes in front. A flag wins over the file. An unknown key, or a value of another kind, "
        "is an error that names file and line, and the server ends with exit code 2.",
        "Sizes take b, kb, mb, gb and tb; times ms, s and m. **id** alone must be set. Settings are read at the start; CONFIG "
        "SET changes some of them until the next one.",
        "Without **join**, an empty directory founds a new cluster. Once there are other leaders, name some of them in "
        "**join** at every leader, the founder included: one whose volume was lost asks them for the data "
        "then, instead of founding another cluster.",
        "With **tls-peers** leaders authenticate each other and encrypt what they say. Without it whoever reaches the peer port "
        "can write; **insecure** lets it leave this machine then, and the network between leaders must be trusted.")
    for group, options in programs.settings().items():
        page.section("SETTINGS" if group == "Options" else group.upper())
        for option in options:
            default = "" if option.default is None else f" Default: {option.default.strip('[]')}."
            page.item(f"\\fB{esc(option.name)}\\fR", without_dashes(sentence(option.text)) + ".",
                      sentence(KINDS[kind(option)]) + "." + default)
    page.section("EXAMPLE", "A leader that joins another one:")
    page.verbatim('id = "us"\n'
                  f'dir = "{DATA}"\n'
                  'bind = ["10.0.0.2", "127.0.0.1"]\n'
                  'requirepass = "a long password"\n'
                  'peer-bind = ["10.0.0.2"]\n'
                  'advertise = "10.0.0.2:8400"\n'
                  'insecure = true\n'
                  'join = ["10.0.0.1:8400"]')
    page.section("SEE ALSO", "**polyarch**(1), /usr/share/doc/polyarch/docs/operations.md, https://toml.io")
    return page


def syntax(arguments):
    return " ".join(one_argument(_map(argument)) for argument in arguments or [])


def one_argument(argument):
    """As the server itself writes usages (src/command/docs.cc)."""
    flags = argument.get("flags", [])
    parts = [one_argument(_map(part)) for part in argument.get("arguments", [])]
    if argument["type"] == "oneof":
        text = "|".join(parts)
    elif argument["type"] == "block":
        text = " ".join(parts)
    else:
        text = "" if argument["type"] == "pure-token" else f"<{argument['name']}>"
    repeats = "multiple" in flags
    if repeats and "multiple_token" not in flags:
        text += f" [{text} ...]"
    text = " ".join(part for part in (argument.get("token"), text) if part)
    if "multiple_token" in flags:
        text += f" [{text} ...]"
    return f"[{text}]" if "optional" in flags else text


def commands_page(programs):
    page = Page("polyarch-commands", 7, programs.version(), "the commands of a Polyarch leader")
    page.section(
        "DESCRIPTION",
        "A leader speaks the Redis protocol, RESP2 and RESP3, to every client of Redis: redis-cli(1), for one. Its own "
        "commands are listed here in full, those of Redis by name. **COMMAND DOCS** tells all of it to programs, and redis-cli completes it; "
        "containers answer **HELP**.")
    page.lines += ['.SH "COMMANDS OF POLYARCH"']
    groups = {}

    def describe(name, docs):
        docs = _map(docs)
        subcommands = _map(docs.get("subcommands", []))
        if subcommands:
            page.subsection(name.upper().replace('|', ' '), sentence(docs["summary"]) + ".")
            for sub, more in subcommands.items():
                describe(sub, more)
            return
        complexity = docs.get("complexity")
        page.item(f"\\fB{esc(name.upper().replace('|', ' '))}\\fR {esc(syntax(docs.get('arguments')))}".rstrip(),
                  sentence(docs["summary"]) + "." + (f" {complexity}." if complexity else ""))

    commands = programs.commands()
    own = {}
    for name, docs in commands.items():
        docs_map = _map(docs)
        if docs_map["group"] == "polyarch":
            own[name] = (0 if "subcommands" in docs_map else 1, name)
        else:
            words = [name.upper()]
            words += [sub.upper().replace("|", " ") for sub in _map(docs_map.get("subcommands", []))]
            groups.setdefault(docs_map["group"], []).extend(sorted(words[1:]) or words)
    alone = False
    for name in sorted(own, key=own.get):
        if own[name][0] == 1 and not alone:
            page.subsection("Others")
            alone = True
        describe(name, commands[name])
    page.section("COMMANDS OF REDIS", "They answer as Redis 7.0 does, but for what /usr/share/doc/polyarch/docs/compatibility.md lists.")
    for group in sorted(groups):
        page.item(f"\\fB{esc(group)}\\fR", ", ".join(sorted(groups[group])) + ".")
    page.section("SEE ALSO", "**polyarch**(1), /usr/share/doc/polyarch/docs/conflicts.md, "
                 "/usr/share/doc/polyarch/docs/compatibility.md")
    return page


# ---- the configuration file

# Where each setting stands, and what is to be said before it. Those that are named nowhere come last.
PLACES = [
    ("This leader", "", ["id", "dir"]),
    ("Clients", "", ["bind", "port", "requirepass", "unix-socket", "maxclients", "max-bulk"]),
    ("Other leaders",
     "Without `tls-peers` they do not authenticate each other, and nothing is encrypted: whoever reaches the peer port can write. Let a "
     "firewall admit the other leaders alone. `peer-bind` beyond this machine needs `tls-peers` or `insecure`.\n"
     "Without `join`, an empty directory founds a new cluster.",
     ["join", "peer-bind", "peer-port", "advertise", "insecure", "rejoin", "max-clock-skew"]),
    ("TLS", "For clients at `tls-port`, for other leaders with `tls-peers`. How certificates are made: operations.md, TLS.",
     ["tls-port", "tls-cert-file", "tls-key-file", "tls-ca-cert-file", "tls-ca-cert-dir", "tls-auth-clients", "tls-peers"]),
    ("Metrics and health", "These pages ask for no password. They are at the addresses of `bind`.", ["http-port"]),
    ("Disk", "", ["durability", "log-quota", "log-segment", "log-ring", "checkpoint-bytes", "residue-quota",
                  "state-timeout"]),
    ("The log of conflicts", "", ["conflict-log-bytes", "conflict-log-entries", "conflict-log-age"]),
    ("Messages", "They go to the journal: journalctl -u polyarch.", ["log-level"]),
]
SET = {"dir": DATA}  # in the packaged file; all others are as by default
EXAMPLES = {
    "id": "eu", "peer-port": 8400, "http-port": 9400, "peer-bind": ["10.0.0.1"], "advertise": "10.0.0.1:8400",
    "join": ["10.0.0.2:8400", "10.0.0.3:8400"], "requirepass": "a long password",
    "tls-cert-file": "/etc/polyarch/eu.crt", "tls-key-file": "/etc/polyarch/eu.key",
    "tls-ca-cert-file": "/etc/polyarch/ca.crt", "tls-ca-cert-dir": "/etc/polyarch/cas",
    "unix-socket": "/run/polyarch/polyarch.sock", "io": "posix", "clock-offset-ms": 0,
}


def without_dashes(text):
    return re.sub(r"--(?=[a-z])", "", text)


def toml(option, value):
    if kind(option) == "boolean":
        return "false"
    if kind(option) == "number":
        return str(value)
    if kind(option) == "texts" and isinstance(value, str):
        value = value.strip("[]").split(",")
    return json.dumps(value)


def comment(text):
    return textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def configuration(programs):
    lines = [
        f"# {CONFIGURATION}: the leader of this machine. See polyarch.toml(5), and",
        "# /usr/share/doc/polyarch/docs/operations.md, section \"Installing\".",
        "#",
        "# Set `id`, and `join` unless this leader is to found a cluster; until `id` is set it does not start.",
        "# A line that begins with '#' and a name shows the default, or an example where there is none.",
    ]
    groups = programs.settings()
    options = {option.name: option for group in groups.values() for option in group}
    places = [(title, text, list(names)) for title, text, names in PLACES]
    placed = {name for _, _, names in places for name in names}
    for group, members in groups.items():
        rest = [option.name for option in members if option.name not in placed]
        if rest:
            places.append(("Others" if group == "Options" else group, "", rest))
    for title, text, names in places:
        lines += ["", f"# ---- {title}"]
        for paragraph in text.splitlines():
            lines += comment(paragraph)
        for name in names:
            if name not in options:
                raise SystemExit(f"manual: the server has no setting '{name}' any more: remove it from PLACES")
            option = options[name]
            example = option.default is None and kind(option) != "boolean"
            if example and "default:" in option.text:
                remark = " For example:"
            else:
                remark = " Not set; for example:" if example else ""
            lines += [""] + comment(without_dashes(sentence(option.text)) + "." + remark)
            if name in SET:
                lines.append(f"{name} = {toml(option, SET[name])}")
            else:
                value = option.default if option.default is not None else EXAMPLES.get(name, 0 if kind(option) == "number" else "")
                lines.append(f"#{name} = {toml(option, value)}")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--binaries", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--gzip", action="store_true")
    arguments = parser.parse_args()
    programs = Programs(os.path.abspath(arguments.binaries))
    os.makedirs(arguments.out, exist_ok=True)
    for name, page in (("polyarch.1", program_page), ("polyarch-check.1", check_page),
                       ("polyarch.toml.5", settings_page), ("polyarch-commands.7", commands_page)):
        page(programs).write(os.path.join(arguments.out, name), arguments.gzip)
    with open(os.path.join(arguments.out, "polyarch.toml"), "w", encoding="utf-8") as file:
        file.write(configuration(programs))


if __name__ == "__main__":
    main()
