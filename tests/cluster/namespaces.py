"""Network namespaces joined by veth pairs and a bridge: the plumbing of tests/cluster/hosts.py.

Needs root, and iproute2 and iptables. Whoever runs holds a number, as an abstract UNIX socket that
the kernel closes with the process; the names of all that is made contain it. So parallel runs
share nothing, and what a killed run left is known by its number being free.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

_NUMBERS = range(16, 250)
_PREFIX = "rptest"  # of namespaces; with number and index it is the name of a link, too: 15 bytes
_TOOLS = ("ip", "nsenter", "iptables", "tc")


class HostsUnavailable(Exception):
    """What a test asks of the network cannot be done on this machine, or by this user; says why."""


def why_no_namespaces() -> str | None:
    """Return why there can be no namespaces here; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in _TOOLS:
        if shutil.which(tool) is None:
            return f"{tool} is not installed (apt-get install iproute2 iptables)"
    trial = f"{_PREFIX}-try-{os.getpid()}"
    try:
        run("ip", "netns", "add", trial)
        run("ip", "netns", "del", trial)
    except HostsUnavailable as error:
        return str(error)
    return None


def run(*command: str) -> str:
    """Run a tool and return what it says. Raises HostsUnavailable."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HostsUnavailable(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Claim:
    """A number that no other process holds; until it is let go, or this process ends."""

    def __init__(self) -> None:
        for number in _NUMBERS:
            with contextlib.suppress(OSError):
                self.number, self._socket = number, _hold(number)
                return
        raise HostsUnavailable(f"all numbers from {_NUMBERS.start} to {_NUMBERS.stop} are taken")

    def release(self) -> None:
        """Let others have the number."""
        self._socket.close()


def _hold(number: int) -> socket.socket:
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0repertory-test-hosts-{number}")
    except OSError:
        held.close()
        raise
    return held


class Bridge:
    """What joins the namespaces. This process is at its address."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"{_PREFIX}{number}"
        self.address = f"10.77.{number}.1"
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "addr", "add", f"{self.address}/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")


class Namespace:
    """A network namespace with one link, `eth0`, to the bridge."""

    def __init__(self, bridge: Bridge, index: int) -> None:
        self._bridge = bridge.name
        self.name = f"{bridge.name}.{index}"
        self.address = f"10.77.{bridge.number}.{index}"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.name, "type", "veth", "peer", "eth0", "netns", self.name)
        run("ip", "link", "set", self.name, "master", self._bridge, "up")
        self._ip("addr", "add", f"{self.address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            self._ip("link", "set", link, "up")

    def _ip(self, *arguments: str) -> None:
        run("ip", "-n", self.name, *arguments)

    @property
    def enter(self) -> list[str]:
        """What a command is preceded by to run within; it stays the same process."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def pids(self) -> list[int]:
        """Return the processes within."""
        return _pids(self.name)

    def unplug(self) -> None:
        """Pull the cable out of the switch: silence both ways, and no word to either side."""
        run("ip", "link", "set", self.name, "nomaster")

    def plug_in(self) -> None:
        """Take back `unplug`."""
        run("ip", "link", "set", self.name, "master", self._bridge)

    def lose(self, percent: float) -> None:
        """Drop so many of the packets that come and go, at random; 0: none.

        To a sender within by UDP this is an error; TCP sends such a packet again, as any other.
        """
        run(*self.enter, "iptables", "-w", "-F")
        match = ("-m", "statistic", "--mode", "random", "--probability", f"{percent / 100:.4f}")
        for chain, link in (("INPUT", "-i"), ("OUTPUT", "-o")):
            if percent:
                run(*self.enter, "iptables", "-w", "-A", chain, link, "eth0", *match, "-j", "DROP")

    def delay(self, milliseconds: float) -> None:
        """Send everything later; 0: at once. Raises HostsUnavailable on a kernel without netem."""
        tc = ("tc", "-n", self.name, "qdisc")
        try:
            if milliseconds:
                run(*tc, "replace", "dev", "eth0", "root", "netem", "delay", f"{milliseconds}ms")
            elif "netem" in run(*tc, "show", "dev", "eth0"):
                run(*tc, "del", "dev", "eth0", "root")
        except HostsUnavailable as error:
            raise HostsUnavailable(f"this kernel cannot delay packets: {error}") from error


def remove_leftovers() -> None:
    """Remove what killed runs left: all of numbers that nobody holds."""
    for number in _numbers_in_use():
        with contextlib.suppress(OSError), _hold(number):
            remove(number)


def remove(number: int) -> None:
    """Remove the namespaces and the bridge of a number, and end every process within."""
    for name in _namespaces(number):
        end(lambda name=name: _pids(name))  # type: ignore[misc]
        with contextlib.suppress(HostsUnavailable):
            # The kernel removes it with the namespace, but later: its name would still be taken.
            run("ip", "link", "del", name)
        run("ip", "netns", "del", name)
    with contextlib.suppress(HostsUnavailable):
        run("ip", "link", "del", f"{_PREFIX}{number}")


def end(pids: Callable[[], list[int]]) -> None:
    """Kill the processes that `pids()` tells, until there are none. Raises TimeoutError."""
    deadline = time.monotonic() + 10
    while found := pids():
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {found} do not end")
        send(signal.SIGKILL, found)
        time.sleep(0.01)


def send(number: signal.Signals, pids: list[int]) -> None:
    """Send a signal to processes, of which some may be gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _pids(name: str) -> list[int]:
    return [int(each) for each in run("ip", "netns", "pids", name).split()]


def _names() -> list[str]:
    return [line.split()[0] for line in run("ip", "netns").splitlines() if line]


def _namespaces(number: int) -> list[str]:
    return [name for name in _names() if name.startswith(f"{_PREFIX}{number}.")]


def _numbers_in_use() -> Iterator[int]:
    links = run("ip", "-br", "link")
    found = re.findall(rf"{_PREFIX}([0-9]+)\b", "\n".join([*_names(), links]))
    yield from sorted({int(each) for each in found})
