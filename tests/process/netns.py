"""A network of real hosts on one machine.

Each host is a network namespace with one Ethernet card (a veth pair), an address of its own, and its own loopback. The
other ends of the cards lie in a namespace where a program of ours, the carrier, takes each Ethernet frame and passes it on,
late, or never: so packets can vanish in one direction, addresses stop answering, and connections stay half open,
as no relay of byte streams could do it.

    network = Network(5)
    network.hosts[0].ip("link", "set", "eth0", "down")
    network.cut({(0, 1)})                 what host 0 sends to host 1 vanishes
    network.set({(0, 1): {"delay_s": 0.1, "bytes_per_s": 100_000, "loss": 0.01}})

Namespaces have no names: they end with the processes and files that hold them, whatever happens to the test.
Needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW, which root and a user namespace have (`privileged`), and `ip`.
"""

import array
import contextlib
import ctypes
import fcntl
import functools
import heapq
import itertools
import json
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, Leader, Skip, die_with_parent  # noqa: E402
from resp import Connection  # noqa: E402

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
MAC_PREFIX = b"\x02\x00\x00\x00\x00"  # and the host's number
BROADCAST = b"\xff" * 6
IPV4, ARP = b"\x08\x00", b"\x08\x06"
QUEUE_S = 0.5  # what does not fit into a thin line for so long is dropped
PEER_PORT, CLIENT_PORT = 8001, 7001

_libc = ctypes.CDLL(None, use_errno=True)


def _enter(namespace):
    """Moves the calling thread (sockets that exist stay where they are)."""
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _this_namespace():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _new_namespace():
    made = []

    def make():
        if _libc.unshare(CLONE_NEWNET) == 0:
            made.append(_this_namespace())
        else:
            made.append(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
    thread = threading.Thread(target=make)  # whose namespace ends with it
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise Skip(f"no network namespaces can be made here ({made[0].strerror}); root, or CAP_SYS_ADMIN and CAP_NET_ADMIN, "
                   "are needed")
    return made[0]


def privileged(test):
    """For tests that need namespaces: whoever is not root runs them in a user namespace, where that is allowed."""
    @functools.wraps(test)
    def run(long):
        if shutil.which("ip") is None:
            raise Skip("`ip` is not installed (Debian: iproute2)")
        if os.geteuid() == 0:
            return test(long)
        runner = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.py")
        inside = ["unshare", "--user", "--map-root-user", "--net"]
        if shutil.which("unshare") is None or subprocess.run(
                inside + ["true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise Skip("needs root: user namespaces are not allowed here")
        done = subprocess.run(inside + [sys.executable, runner, "--one", test.__module__, test.__name__]
                              + (["--long"] if long else []), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              preexec_fn=die_with_parent, check=False)
        if done.returncode == 77:
            raise Skip(done.stdout.strip())
        print(done.stdout, end="")
        assert done.returncode == 0, "failed in its user namespace (above)"
    return run


class Host:
    """One namespace and its card `eth0`."""

    def __init__(self, network, number):
        self.network = network
        self.number = number
        self.mac = MAC_PREFIX + bytes([number + 1])
        self.address = f"10.77.0.{number + 1}"
        self.namespace = _new_namespace()
        wire = f"wire{number}"
        network.ip(network.between, "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns",
                   f"/proc/{os.getpid()}/fd/{self.namespace}")
        network.ip(network.between, "link", "set", wire, "up")
        self._plug_in()

    def ip(self, *arguments):
        self.network.ip(self.namespace, *arguments)

    def enter(self):
        _enter(self.namespace)

    @contextlib.contextmanager
    def inside(self):
        """Sockets made here are the host's."""
        self.enter()
        try:
            yield
        finally:
            _enter(self.network.home)

    def replace(self):
        """Another machine takes the place: same card, same address, nothing of the old one's connections. What still
        runs on the old one is cut off without a word."""
        old, self.namespace = self.namespace, _new_namespace()
        self.network.ip(old, "link", "set", "eth0", "netns", f"/proc/{os.getpid()}/fd/{self.namespace}")
        os.close(old)
        self._plug_in()

    def _plug_in(self):
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", "eth0", "address", ":".join(f"{byte:02x}" for byte in self.mac))
        self.ip("addr", "add", self.address + "/24", "dev", "eth0")
        # The carrier passes on what it reads, so frames must have their checksums, and the size that they say.
        with self.inside():
            probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        off = array.array("I", [ETHTOOL_STXCSUM, 0])
        with probe:
            fcntl.ioctl(probe, SIOCETHTOOL, struct.pack("16sP8x", b"eth0", off.buffer_info()[0]))
        self.ip("link", "set", "eth0", "up")


class Network:
    """Hosts and what carries frames between them."""

    def __init__(self, count):
        self.home = _this_namespace()
        self.hosts = []
        self.carrier = None
        self.between = _new_namespace()
        try:
            wires = []
            for number in range(count):
                self.hosts.append(Host(self, number))
                _enter(self.between)
                try:
                    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
                    wires.append(wire)
                    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                    wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
                    wire.bind((f"wire{number}", ETH_P_ALL))
                finally:
                    _enter(self.home)
            descriptors = [wire.fileno() for wire in wires]
            self.carrier = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__)] + [str(one) for one in descriptors], pass_fds=descriptors,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
            for wire in wires:
                wire.close()
        except PermissionError as error:
            self.close()
            raise Skip(f"no network of namespaces can be made here: {error}")
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.carrier:
            self.carrier.kill()
            self.carrier.wait()
            self.carrier = None
        for descriptor in [host.namespace for host in self.hosts] + [self.between]:
            os.close(descriptor)
        self.hosts = []
        os.close(self.home)

    @staticmethod
    def ip(namespace, *arguments):
        done = subprocess.run(["ip", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              preexec_fn=lambda: _enter(namespace), check=False)
        if done.returncode != 0:
            raise Skip(f"`ip {' '.join(arguments)}` failed: {done.stdout.strip()}") \
                if "not permitted" in done.stdout or "not supported" in done.stdout \
                else AssertionError(f"ip {' '.join(arguments)}: {done.stdout.strip()}")

    def set(self, rules):
        """{(from, to): rule}; every other pair is as if joined by a cable. A rule is a dict with any of
        mode ("vanish": dropped; "reset": TCP is answered with a reset, the rest dropped), delay_s, bytes_per_s, loss.
        Counts from this call's return on, also for what was on its way."""
        self.carrier.stdin.write(json.dumps([[source, to, rule] for (source, to), rule in rules.items()]) + "\n")
        self.carrier.stdin.flush()
        answer = self.carrier.stdout.readline()
        assert answer == "ok\n", f"the carrier says {answer!r}"

    def cut(self, directions, mode="vanish"):
        self.set({direction: {"mode": mode} for direction in directions})

    def heal(self):
        self.set({})

    def around(self, number):
        """All directions from and to one host."""
        return {pair for pair in itertools.permutations(range(len(self.hosts)), 2) if number in pair}


class HostLeader(Leader):
    """A leader on a host of its own; clients talk to it over that host's loopback."""

    def __init__(self, host, name, directory, flags=(), log_path=None):
        super().__init__(name, directory, flags, log_path, port=CLIENT_PORT)
        self.host = host
        self.peer_port = PEER_PORT
        self.enter = host.enter
        self.flags += ["--peer-bind", host.address, "--advertise", self.peer_address, "--insecure"]

    @property
    def peer_address(self):
        return f"{self.host.address}:{self.peer_port}"

    def connect(self, timeout=30.0, **options):
        with self.host.inside():
            return Connection(self.port, timeout=timeout, password=self.password, **options)


class NetCluster(Cluster):
    """A leader on each host. `cut` and `heal` of Cluster ask the leaders; `network` does it to them."""

    def __init__(self, names, flags=()):
        self.network = Network(len(names))
        self.free = list(self.network.hosts)
        super().__init__(names, flags)

    def add(self, name, flags=(), directory=None, label=None, core=None):
        leader = HostLeader(self.free.pop(0), name, os.path.join(self.directory, name), flags,
                            os.path.join(self.directory, name + ".log"))
        self.leaders[name] = leader
        return leader.start(join=self.join_addresses(leader))

    def close(self, keep=False):
        super().close(keep)
        self.network.close()


# The carrier: a process of its own, told what to do line by line.


def _sum16(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def _reset(frame):
    """What a firewall that refuses answers to a TCP frame, in the name of its receiver; None: nothing."""
    if frame[12:14] != IPV4 or frame[23] != socket.IPPROTO_TCP:
        return None
    header = (frame[14] & 15) * 4
    tcp = frame[14 + header:]
    source_port, target_port, sequence, acknowledged, offset, flags = struct.unpack("!HHIIBB", tcp[:14])
    if flags & 4:
        return None
    size = struct.unpack("!H", frame[16:18])[0] - header - (offset >> 4) * 4
    if flags & 16:
        answer = struct.pack("!HHIIBBHHH", target_port, source_port, acknowledged, 0, 5 << 4, 4, 0, 0, 0)
    else:
        upto = (sequence + size + bool(flags & 2) + bool(flags & 1)) & 0xffffffff
        answer = struct.pack("!HHIIBBHHH", target_port, source_port, 0, upto, 5 << 4, 4 | 16, 0, 0, 0)
    addresses = frame[30:34] + frame[26:30]
    check = _sum16(addresses + struct.pack("!HH", socket.IPPROTO_TCP, len(answer)) + answer)
    answer = answer[:16] + struct.pack("!H", check) + answer[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(answer), 0, 0, 64, socket.IPPROTO_TCP, 0) + addresses
    ip = ip[:10] + struct.pack("!H", _sum16(ip)) + ip[12:]
    return frame[6:12] + frame[:6] + IPV4 + ip + answer


class Carrier:
    def __init__(self, descriptors):
        self.wires = [socket.socket(fileno=one) for one in descriptors]
        self.by_descriptor = {wire.fileno(): number for number, wire in enumerate(self.wires)}
        self.rules = {}
        self.free_at = {}  # when a thin line has room for the next frame
        self.late = []  # heap of (due, count, source, target, frame)
        self.count = itertools.count()
        self.draw = random.Random(1)
        for wire in self.wires:
            wire.setblocking(False)

    def run(self):
        poll = select.poll()
        for descriptor in [0, *self.by_descriptor]:
            poll.register(descriptor, select.POLLIN)
        while True:
            wait_ms = max(0, (self.late[0][0] - time.monotonic()) * 1000) if self.late else None
            ready = poll.poll(wait_ms)
            for descriptor, _ in ready:
                if descriptor == 0:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    self.command(json.loads(line))
                else:
                    self.drain(self.by_descriptor[descriptor])
            now = time.monotonic()
            while self.late and self.late[0][0] <= now:
                _, _, source, target, frame = heapq.heappop(self.late)
                if "mode" not in self.rules.get((source, target), {}):
                    self.put(target, frame)

    def command(self, rules):
        for source in range(len(self.wires)):  # what waits to be read was sent before
            self.drain(source, 1 << 20)
        self.rules = {(source, target): rule for source, target, rule in rules}
        self.free_at = {}
        print("ok", flush=True)

    def drain(self, source, frames_max=64):
        for _ in range(frames_max):
            try:
                frame = self.wires[source].recv(65536)
            except OSError:  # nothing more, or the card is down
                return
            if frame[12:14] not in (IPV4, ARP):
                continue
            if frame[:6] == BROADCAST:
                targets = [target for target in range(len(self.wires)) if target != source]
            elif frame[:5] == MAC_PREFIX and 0 < frame[5] <= len(self.wires) and frame[5] - 1 != source:
                targets = [frame[5] - 1]
            else:
                continue
            for target in targets:
                self.carry(source, target, frame)

    def carry(self, source, target, frame):
        rule = self.rules.get((source, target))
        if not rule:
            self.put(target, frame)
            return
        mode = rule.get("mode")
        if mode:
            answer = _reset(frame) if mode == "reset" else None
            if answer:
                self.put(source, answer)
            return
        if self.draw.random() < rule.get("loss", 0):
            return
        due = now = time.monotonic()
        if "bytes_per_s" in rule:
            due = max(now, self.free_at.get((source, target), 0)) + len(frame) / rule["bytes_per_s"]
            if due - now > QUEUE_S:
                return
            self.free_at[(source, target)] = due
        heapq.heappush(self.late, (due + rule.get("delay_s", 0), next(self.count), source, target, frame))

    def put(self, target, frame):
        with contextlib.suppress(OSError):  # its card is down, or its queue is full: the frame is lost
            self.wires[target].send(frame)


if __name__ == "__main__":
    Carrier([int(one) for one in sys.argv[1:]]).run()
