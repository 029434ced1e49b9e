"""The Debian package: made by cpack, looked at, unpacked; its program is started with its configuration."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

from cluster import BINARY, ROOT, Process, Skip, free_port, until
from resp import Connection

sys.path.insert(0, os.path.join(ROOT, "tools"))
import manual  # noqa: E402

BUILD = os.path.dirname(BINARY)
CONFIGURATION = "etc/polyarch/polyarch.toml"
UNIT = "lib/systemd/system/polyarch.service"


def _run(*arguments, code=0, **options):
    """Both outputs together."""
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          timeout=120, check=False, **options)
    assert done.returncode == code, f"{arguments}: ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def _pack(scratch):
    """The path of a package made into `scratch`."""
    for tool in ("cpack", "dpkg-deb", "dpkg-shlibdeps", "file", "strip", "gzip"):
        if not shutil.which(tool):
            raise Skip(f"{tool} is not installed")
    for needed in ("CPackConfig.cmake", "polyarch-check"):
        if not os.path.exists(os.path.join(BUILD, needed)):
            raise Skip(f"no {needed} in {BUILD}: it was not built by tools/build")
    # Not as well compressed as it will be, but quickly.
    said = _run("cpack", "-G", "DEB", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-B", scratch,
                "-D", "CPACK_DEBIAN_COMPRESSION_TYPE=gzip")
    found = [name for name in os.listdir(scratch) if name.endswith(".deb")]
    assert len(found) == 1, (found, said)
    return os.path.join(scratch, found[0])


def _check_contents(package):
    """The files, their owners and rights."""
    listed = {}
    for line in _run("dpkg-deb", "-c", package).splitlines():
        rights, owner, _, _, _, path = line.split(None, 5)
        assert owner == "root/root", line
        listed[path.removeprefix("./")] = rights
    for path, rights in [("usr/bin/polyarch", "-rwxr-xr-x"), ("usr/bin/polyarch-check", "-rwxr-xr-x"),
                         (UNIT, "-rw-r--r--"), (CONFIGURATION, "-rw-r-----"), ("etc/polyarch/", "drwxr-xr-x")]:
        assert listed.get(path) == rights, (path, listed.get(path))
    for page in ("man1/polyarch.1", "man1/polyarch-check.1", "man5/polyarch.toml.5", "man7/polyarch-commands.7"):
        assert f"usr/share/man/{page}.gz" in listed, page
    for name in ("copyright", "README.Debian", "changelog.Debian.gz", "README.md", "docs/operations.md",
                 "examples/README.md"):
        assert f"usr/share/doc/polyarch/{name}" in listed, name
    strange = [path for path in listed if path and not path.endswith("/")
               and not path.startswith(("usr/bin/polyarch", "usr/share/man/man", "usr/share/doc/polyarch/"))
               and path not in (UNIT, CONFIGURATION)]
    assert not strange, strange


def _check_control(package, scratch):
    """Name, version, what it needs; the scripts."""
    fields = dict(line.split(": ", 1) for line in _run("dpkg-deb", "-f", package).splitlines()
                  if re.match(r"[\w-]+: ", line))
    version = _run(BINARY, "--version").split()[1]
    assert fields["Package"] == "polyarch" and fields["Architecture"] == "amd64", fields
    assert fields["Version"].startswith(version + "-"), (fields["Version"], version)
    with open(os.path.join(ROOT, "packaging", "deb", "changelog"), encoding="utf-8") as file:
        assert file.readline().startswith(f"polyarch ({fields['Version']}) "), "the changelog is of another version"
    depends = {re.split(r"[ (]", item.strip())[0] for item in re.split("[,|]", fields["Depends"])}
    for needed in ("adduser", "sse4.2-support", "libc6", "libjemalloc2", "liblua5.1-0", "liblzf1", "librocksdb7.8",
                   "libstdc++6"):
        assert needed in depends, (needed, fields["Depends"])
    control = os.path.join(scratch, "control")
    _run("dpkg-deb", "-e", package, control)
    assert set(os.listdir(control)) == {"control", "md5sums", "conffiles", "postinst", "prerm", "postrm"}
    for script in ("postinst", "prerm", "postrm"):
        path = os.path.join(control, script)
        assert os.access(path, os.X_OK), script
        _run("sh", "-n", path)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        assert "enable --now" not in re.sub(r"echo .*", "", text) and " start " not in text, f"{script} starts it"
        assert not re.search(r"rm -\w*r", text), f"{script} removes directories with what is in them"
    with open(os.path.join(control, "conffiles"), encoding="utf-8") as file:
        assert file.read() == f"/{CONFIGURATION}\n"


def _check_manual(root, programs):
    """Every subcommand, option, setting and command has its place."""
    def page(name):
        path = os.path.join(root, "usr/share/man", f"man{name[-1]}", name + ".gz")
        shown = _run("gzip", "-dc", path)
        if shutil.which("groff"):
            warnings = _run("groff", "-man", "-ww", "-z", "-Tutf8", "-Kutf8", input=shown)
            assert not warnings, f"{name}: {warnings[:1000]}"
        return shown.replace("\\-", "-")

    program = page("polyarch.1")
    with open(os.path.join(ROOT, "src", "cli", "cli.cc"), encoding="utf-8") as file:
        known = re.findall(r'\{"([\w-]+)", Run\w+\}', file.read()) + ["server", "import", "export"]
    assert len(known) > 7 and set(known) <= set(programs.subcommands()), (known, programs.subcommands())
    for name in programs.subcommands():
        assert f'\n.SS "polyarch {name}"\n' in program, name
        for flag in re.findall(r"^  .*?(--[a-z][\w-]+)", programs.run("polyarch", name, "--help"), re.M):
            assert flag == "--help" or f"\\fB{flag}\\fR" in program, (name, flag)
    settings = page("polyarch.toml.5")
    for group in programs.settings().values():
        for option in group:
            assert f"\n\\fB{option.name}\\fR\n" in settings, option.name
    commands = page("polyarch-commands.7")
    for name in ("POLICY SET", "CONFLICT RESOLVE", "LEADER LIST", "TOPOLOGY GET", "POLYARCH DIGEST", "HANDLER LOAD"):
        assert f"\n\\fB{name}\\fR " in commands or f"\n\\fB{name}\\fR\n" in commands, name
    for name in ("GET", "ZADD", "CONFIG SET", "XREADGROUP"):
        assert re.search(rf"[ \n]{name}[,.]", commands), name
    assert "--convergent" in page("polyarch-check.1")


def _check_settings(root, programs, binary):
    """Every setting is in the configuration file; with all of them in force the server takes it."""
    with open(os.path.join(root, CONFIGURATION), encoding="utf-8") as file:
        text = file.read()
    assert set(tomllib.loads(text)) == {"dir"}, "more than the directory is set"
    whole = re.sub(r"^#(?=[a-z])", "", text, flags=re.M)
    names = {option.name for group in programs.settings().values() for option in group}
    assert len(names) > 25 and set(tomllib.loads(whole)) == names, set(tomllib.loads(whole)) ^ names
    path = os.path.join(root, "whole.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(whole.replace("insecure = false", "insecure = true"))
    # It comes as far as to what is wrong with the flags.
    said = _run(binary, "server", "--config", path, "--port", "1", "--peer-port", "1", code=2)
    assert "--port and --peer-port are both 1" in said, said


def _check_server(root, scratch, binary):
    """As installed it refuses to found a cluster; with a name and a directory it serves."""
    configuration = os.path.join(root, CONFIGURATION)
    said = _run(binary, "server", "--config", configuration, code=2)
    assert "--id is missing" in said, said
    port = free_port((0, 1000, 2000))
    data = os.path.join(scratch, "data")
    server = Process([binary, "server", "--config", configuration, "--id", "eu", "--dir", data, "--port", str(port)],
                     os.path.join(scratch, "log"))

    def answers():
        assert server.alive(), server.log_tail()
        try:
            with Connection(port) as client:
                return client.call("PING") == b"PONG"
        except OSError:
            return False
    until("the packaged server answers", answers)
    with Connection(port) as client:
        assert client.call("SET", "k", "v") == b"OK" and client.call("GET", "k") == b"v"
        assert client.call("CONFIG", "GET", "durability") == [b"durability", b"always"]
    assert "eu" in _run(binary, "status", "-p", str(port))
    # What the Dockerfile asks, at this port.
    with open(os.path.join(ROOT, "Dockerfile"), encoding="utf-8") as file:
        asked = re.search(r"HEALTHCHECK(?:.|\\\n)*?CMD (\[.*\])\n", file.read())
    health = [word.replace("9400", str(port + 2000)) for word in json.loads(asked.group(1))]
    _run(*health)
    assert server.stop() == 0, server.log_tail()
    assert subprocess.run(health, stderr=subprocess.DEVNULL, check=False).returncode != 0


def _check_unit(root, scratch, binary):
    with open(os.path.join(root, UNIT), encoding="utf-8") as file:
        unit = file.read()
    assert "ExecStart=/usr/bin/polyarch server --config /etc/polyarch/polyarch.toml\n" in unit
    if not shutil.which("systemd-analyze"):
        print("note: no systemd-analyze: the unit was not verified")
        return
    # It looks whether the program is there.
    path = os.path.join(scratch, "polyarch.service")
    with open(path, "w", encoding="utf-8") as file:
        file.write(unit.replace("/usr/bin/polyarch", binary))
    said = _run("systemd-analyze", "verify", "--man=no", path)
    assert "polyarch.service" not in said, said


def test_package(long):
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)
        package = _pack(os.path.join(scratch, "packed"))
        _check_contents(package)
        _check_control(package, scratch)
        root = os.path.join(scratch, "root")
        _run("dpkg-deb", "-x", package, root)
        binary = os.path.join(root, "usr/bin/polyarch")
        programs = manual.Programs(os.path.dirname(binary))
        _check_manual(root, programs)
        _check_settings(root, programs, binary)
        _check_server(root, scratch, binary)
        _check_unit(root, scratch, binary)
