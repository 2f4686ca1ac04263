"""One convention over all nodes, on which nothing depends: its leader may be dead or frozen."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from repertory.actors import wire
from repertory.actors.convention import ADDRESS, PERIODS, Convention, wire_key
from repertory.actors.lifeline import VARIABLE
from repertory.config import ClusterConfig, parse_config

Waiter = Callable[..., None]

# What nothing may take longer than, whoever leads: it takes 0.2 s on a quiet machine.
PROMPT_SECONDS = 8.0

# --- who leads, without any system


def cluster(*leaders: str) -> ClusterConfig:
    wine = {"message": "repertory.protos.winerecord_pb2:WineRecord", "features": ["pH"]}
    return parse_config(
        {
            "data_types": {"wine": wine},
            "nodes": {name: {"host": f"127.0.0.{n}"} for n, name in enumerate("abc", 2)},
            "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
            "journal": {"kind": "kafka"},
            "cluster": {"secret": "sixteen or more characters", "leaders": list(leaders)},
        }
    )


class Admin:
    """Whom an admin was moved to; one that is `stuck` cannot be moved."""

    def __init__(self) -> None:
        self.moves: list[str] = []
        self.stuck = False

    async def move(self, address: str) -> None:
        if self.stuck:
            raise TimeoutError
        self.moves.append(address)


@pytest.fixture
def admin() -> Admin:
    return Admin()


UP = dict.fromkeys("abc", "up")


def test_an_admin_begins_as_the_leader_of_its_own(admin: Admin) -> None:
    own = Convention(cluster(), "b", admin.move)
    assert own.capabilities() == {ADDRESS: "127.0.0.3:5591", "node": "b"}


async def test_the_first_leader_that_is_up_is_followed_and_only_once(admin: Admin) -> None:
    convention = Convention(cluster("c", "a"), "b", admin.move)
    await convention.heard(UP)
    await convention.heard(UP)
    assert admin.moves == ["127.0.0.4:5591"]
    assert convention.capabilities()[ADDRESS] == "127.0.0.4:5591"


async def test_all_nodes_may_lead_in_their_order_if_nothing_else_is_said(admin: Admin) -> None:
    convention = Convention(cluster(), "c", admin.move)
    for states in (UP, {**UP, "a": "down"}, {**UP, "a": "down", "b": "leaving"}):
        await convention.heard(states)
    assert [convention.leader, *admin.moves] == ["c", *(f"127.0.0.{n}:5591" for n in (2, 3, 4))]


async def test_a_higher_leader_is_followed_again_when_it_returns(admin: Admin) -> None:
    convention = Convention(cluster(), "c", admin.move)
    for state in ("up", "down", "up"):
        await convention.heard({**UP, "a": state})
    assert convention.leader == "a"


async def test_one_that_is_silent_for_a_moment_still_leads(admin: Admin) -> None:
    convention = Convention(cluster(), "b", admin.move)
    await convention.heard(UP)
    await convention.heard({**UP, "a": "suspect"})
    assert convention.leader == "a"


async def test_when_none_of_the_leaders_is_up_nothing_is_moved(admin: Admin) -> None:
    convention = Convention(cluster("a"), "b", admin.move)
    await convention.heard(UP)
    await convention.heard({**UP, "a": "down"})
    assert convention.leader == "a"


async def test_an_admin_that_cannot_be_moved_is_moved_later(admin: Admin) -> None:
    convention = Convention(cluster(), "b", admin.move)
    admin.stuck = True
    await convention.heard(UP)
    assert convention.leader == "b"
    admin.stuck = False
    await convention.heard(UP)
    assert convention.leader == "a"


def test_the_key_of_the_wire_is_of_the_secret_and_not_the_secret() -> None:
    assert wire_key("one secret of many") == wire_key("one secret of many")
    assert wire_key("one secret of many") != wire_key("another secret of many")
    assert len(bytes.fromhex(wire_key("one secret of many"))) == 32


# --- real systems

ECHO = """
import os
from thespian.actors import Actor
class Echo(Actor):
    def receiveMessage(self, msg, sender):
        if msg == "pid":
            self.send(sender, os.getpid())
"""

# Keeps a system and does what is asked for, a line each: JSON in, JSON out to a file.
HOST = """
def main():
    import json, os, signal, sys, threading, time
    from pathlib import Path
    from echo_of_test_convention import Echo
    from repertory.actors.convention import ADDRESS
    from repertory.actors.lifeline import Lifeline
    from repertory.actors.wire import actor_system, convention_updates, update_capability

    folder, name, own, port = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    lifeline = Lifeline(folder / f"{name}.sock")
    capabilities = {ADDRESS: f"{own}:{port}", "node": name}
    system, known, pid = actor_system(admin_port=port, capabilities=capabilities), set(), 0

    def listen():
        for each in convention_updates(system):
            change = known.add if each.remoteAdded else known.discard
            change(each.remoteCapabilities["node"])
    threading.Thread(target=listen, daemon=True).start()

    def create():
        nonlocal pid
        pid = system.ask(system.createActor(Echo), "pid", 60)
        return pid

    def kill():
        os.kill(pid, signal.SIGKILL)

    def follow(address):
        update_capability(system, ADDRESS, address)

    acts = {"create": create, "kill": kill, "follow": follow, "shutdown": system.shutdown}
    acts["known"] = lambda: sorted(known)
    with open(folder / f"{name}.answers", "w", buffering=1) as answers:
        for line in sys.stdin:
            act, *arguments = json.loads(line)
            began = time.monotonic()
            answer = acts[act](*arguments)
            answers.write(json.dumps([answer, time.monotonic() - began]) + "\\n")
    lifeline.close()

if __name__ == "__main__":
    main()
"""


class System:
    """A node's actor system, in processes of its own, at an address of its own."""

    def __init__(self, folder: Path, name: str, host: str, port: int, wait_for: Waiter) -> None:
        self.address = f"{host}:{port}"
        self._socket = folder / f"{name}.sock"
        self._answers = folder / f"{name}.answers"
        self._log = folder / f"{name}.thespian.log"
        self._command = [
            sys.executable,
            str(folder / "host.py"),
            str(folder),
            name,
            host,
            str(port),
        ]
        self._name, self._host, self._wait_for = name, host, wait_for
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, key: bytes) -> "System":
        """Start it, as the leader of a convention of its own."""
        self._answers.unlink(missing_ok=True)
        variables = {
            **os.environ,
            "PYTHONPATH": str(self._folder),
            "THESPLOG_FILE": str(self._log),
            wire.ADDRESS_VARIABLE: self._host,
            wire.KEY_VARIABLE: key.hex(),
            **dict.fromkeys(PERIODS, "0:01"),
            # So that little that is stuck at a leader would stop an admin.
            "THESPIAN_MAX_PENDING_TRANSMITS": "5",
        }
        with (self._folder / f"{self._name}.out").open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        return self

    def do(self, act: str, *arguments: str) -> Any:
        """Have it do something; return what came of it. Fails when that is not prompt."""
        answer, seconds = self._do(act, *arguments)
        print(f"{self._name} {act} {' '.join(arguments)}: {seconds:.2f} s")
        assert seconds < PROMPT_SECONDS
        return answer

    def knows(self) -> list[str]:
        """Return the nodes that are in its convention, as far as it was told."""
        known: list[str] = self._do("known")[0]
        return known

    def _do(self, *words: str) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        before = self._lines()
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()
        self._wait_for(lambda: len(self._lines()) > len(before), 60)
        return json.loads(self._lines()[-1])

    def _lines(self) -> list[str]:
        return self._answers.read_text().splitlines() if self._answers.exists() else []

    def processes(self) -> list[psutil.Process]:
        """Return all of its processes."""
        return [each for each in psutil.process_iter() if self._is_ours(each)]

    def _is_ours(self, process: psutil.Process) -> bool:
        if self._process is not None and process.pid == self._process.pid:
            return True
        try:
            return process.environ().get(VARIABLE) == str(self._socket)
        except (psutil.Error, OSError):
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of it at the same time, as if it were to its host."""
        for process in self.processes():
            process.send_signal(number)

    def log(self) -> str:
        """Return what Thespian logged."""
        return self._log.read_text() if self._log.exists() else ""

    def end(self) -> None:
        """Kill what is left of it."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.communicate()


@pytest.fixture
def systems(tmp_path: Path, wait_for: Waiter) -> Iterator[dict[str, System]]:
    """Give three systems that are not started yet; at the end nothing is left of them."""
    (tmp_path / "echo_of_test_convention.py").write_text(ECHO)
    (tmp_path / "host.py").write_text(HOST)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]  # the same for all, as hosts have it
    made = {
        name: System(tmp_path, name, f"127.0.0.{number}", port, wait_for)
        for number, name in enumerate("abc", 1)
    }
    yield made
    for system in made.values():
        system.end()


KEY, OTHER_KEY = secrets.token_bytes(32), secrets.token_bytes(32)


@pytest.fixture
def pair(systems: dict[str, System], wait_for: Waiter) -> tuple[System, System]:
    """Give a leader and a member that has joined."""
    leader, member = (systems[name].start(KEY) for name in "ab")
    leader.do("create")
    member.do("follow", leader.address)
    wait_for(lambda: leader.knows() == ["b"])
    return leader, member


def test_systems_with_the_same_key_are_in_one_convention(pair: tuple[System, System]) -> None:
    leader, member = pair
    assert (leader.knows(), member.knows()) == (["b"], ["a"])


def test_a_system_with_another_key_cannot_join_and_serves_all_the_same(
    pair: tuple[System, System], systems: dict[str, System], wait_for: Waiter
) -> None:
    leader, _ = pair
    stranger = systems["c"].start(OTHER_KEY)
    stranger.do("follow", leader.address)
    wait_for(lambda: "cannot register with convention" in stranger.log(), 30)
    assert stranger.do("create")
    assert (leader.knows(), stranger.knows()) == (["b"], [])


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSTOP])
def test_a_leader_that_is_dead_or_frozen_holds_up_nothing(
    pair: tuple[System, System], wait_for: Waiter, by: signal.Signals
) -> None:
    leader, member = pair
    first = member.do("create")
    leader.signal(by)
    # It registers each second, and is told each time that it cannot.
    wait_for(lambda: member.log().count("cannot register with convention") >= 6, 60)
    for _ in range(3):
        member.do("kill")
        assert member.do("create") != first
    member.do("follow", member.address)
    assert member.do("create") != first
    member.do("follow", leader.address)  # and back, though it is as it was
    assert member.do("create") != first
    member.do("shutdown")


def test_survivors_follow_another_leader_and_the_first_one_again_when_it_is_back(
    pair: tuple[System, System], systems: dict[str, System], wait_for: Waiter
) -> None:
    first, second = pair
    third = systems["c"].start(KEY)
    third.do("follow", first.address)
    wait_for(lambda: first.knows() == ["b", "c"])
    first.end()
    for survivor in (second, third):
        survivor.do("follow", second.address)
    wait_for(lambda: "c" in second.knows())
    first.start(KEY)
    first.do("create")
    for survivor in (second, third):
        survivor.do("follow", first.address)
    wait_for(lambda: first.knows() == ["b", "c"])
