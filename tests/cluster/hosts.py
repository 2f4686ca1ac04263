"""Several hosts on one machine, each of which can be stopped, frozen, cut off, or lose packets.

With the privilege for it, a host is a network namespace with an address of its own; without, it is
a loopback address, and only what is done to processes can be done to it. `Hosts.why_no_network`
tells why.
"""

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.cluster.namespaces import (
    Bridge,
    Claim,
    HostsUnavailable,
    Namespace,
    end,
    remove,
    remove_leftovers,
    send,
    why_no_namespaces,
)

from repertory.actors.lifeline import die_with_parent

_MARK = "RPTEST_HOST"  # a variable of the environment that all processes of a host inherit


class Host(ABC):
    """One host. None of its processes outlives this process.

    What cannot be done without namespaces raises HostsUnavailable.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.frozen = False
        self._children: list[subprocess.Popen[bytes]] = []

    def run(self, command: Sequence[str], *, output: Path) -> subprocess.Popen[bytes]:
        """Start a process, which writes to the end of a file."""
        with output.open("ab") as log:
            child = subprocess.Popen(
                [*self._enter, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {_MARK: self.address},
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, no lock taken
            )
        self._children.append(child)
        return child

    @property
    def _enter(self) -> list[str]:
        return []

    @abstractmethod
    def pids(self) -> list[int]:
        """Return the processes of this host."""

    def freeze(self) -> None:
        """Stop all of its processes where they are: SIGSTOP. Their connections stay open."""
        stopped: set[int] = set()
        while set(found := self.pids()) - stopped:  # again, for those that were just forked
            send(signal.SIGSTOP, found)
            stopped.update(found)
        self.frozen = True

    def thaw(self) -> None:
        """Take back `freeze`."""
        send(signal.SIGCONT, self.pids())
        self.frozen = False

    def kill(self) -> None:
        """End all of its processes at once: SIGKILL."""
        end(self.pids)
        for child in self._children:
            child.wait()
        self._children.clear()
        self.frozen = False

    @abstractmethod
    def cut(self) -> None:
        """Let no packet through, in either direction; nobody is told."""

    @abstractmethod
    def heal(self) -> None:
        """Take back `cut`, `lose` and `delay`."""

    @abstractmethod
    def lose(self, percent: float) -> None:
        """Lose so many of the packets that come and of those that go, at random."""

    @abstractmethod
    def delay(self, milliseconds: float) -> None:
        """Send every packet later."""


class NamespaceHost(Host):
    """A host with a network namespace of its own."""

    def __init__(self, name: str, namespace: Namespace) -> None:
        super().__init__(name, namespace.address)
        self._namespace = namespace
        self._cut = False

    @property
    def _enter(self) -> list[str]:
        return self._namespace.enter

    def pids(self) -> list[int]:
        return self._namespace.pids()

    def cut(self) -> None:
        self._namespace.unplug()
        self._cut = True

    def heal(self) -> None:
        if self._cut:
            self._namespace.plug_in()
            self._cut = False
        self._namespace.lose(0)
        self._namespace.delay(0)

    def lose(self, percent: float) -> None:
        self._namespace.lose(percent)

    def delay(self, milliseconds: float) -> None:
        self._namespace.delay(milliseconds)


class LoopbackHost(Host):
    """A host that is a loopback address, and the processes that inherit its mark."""

    def pids(self) -> list[int]:
        mark, found = f"{_MARK}={self.address}".encode(), []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal() and mark in _environment(folder).split(b"\0"):
                found.append(int(folder.name))
        return found

    def cut(self) -> None:
        raise HostsUnavailable("a loopback address cannot be cut off")

    def heal(self) -> None:
        pass

    def lose(self, percent: float) -> None:
        raise HostsUnavailable("a loopback address loses no packets")

    def delay(self, milliseconds: float) -> None:
        raise HostsUnavailable("a loopback address delays no packets")


def _environment(folder: Path) -> bytes:
    try:
        return (folder / "environ").read_bytes()
    except OSError:
        return b""


class Hosts:
    """Hosts by name, all of which reach each other and this process, which is at `address`.

    A context manager; at its end no process and no link of theirs is left.
    """

    def __init__(self, names: Sequence[str], *, loopback: bool = False) -> None:
        self.names = list(names)
        self.why_no_network = "loopback addresses were asked for" if loopback else None
        self.address = ""
        self._hosts: dict[str, Host] = {}
        self._claim: Claim | None = None

    def __enter__(self) -> Self:
        """Make them."""
        self.why_no_network = self.why_no_network or why_no_namespaces()
        self._claim = Claim()
        try:
            self._make(self._claim.number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self, number: int) -> None:
        numbered = list(enumerate(self.names, start=2))
        if self.why_no_network:
            self.address = f"127.77.{number}.1"
            for index, name in numbered:
                self._hosts[name] = LoopbackHost(name, f"127.77.{number}.{index}")
            return
        remove(number)
        remove_leftovers()
        bridge = Bridge(number)
        self.address = bridge.address
        for index, name in numbered:
            self._hosts[name] = NamespaceHost(name, Namespace(bridge, index))

    def __exit__(self, *_: object) -> None:
        """Remove them."""
        for host in self._hosts.values():
            host.kill()
        self._hosts.clear()
        if self._claim is not None:
            if not self.why_no_network:
                remove(self._claim.number)
            self._claim.release()
            self._claim = None

    def __getitem__(self, name: str) -> Host:
        """Return a host."""
        return self._hosts[name]

    def set_right(self) -> None:
        """Take back all that was done to hosts; what was killed stays dead."""
        for host in self._hosts.values():
            host.heal()
            if host.frozen:
                host.thaw()
