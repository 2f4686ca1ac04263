"""Nobody without the key can make an actor system run, or even read, anything."""

import os
import pickle
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from thespian.actors import ActorAddress
from thespian.system.transport.IPBase import TCPv4ActorAddress
from thespian.system.transport.streamBuffer import ackPacket, toSendBuffer

from repertory.actors import wire
from repertory.actors.wire import (
    MESSAGE_LIMIT,
    NONCE_SECONDS,
    FrameRefused,
    Signer,
    pack_address,
    unpack_address,
)

Waiter = Callable[..., None]

KEY = secrets.token_bytes(32)
HERE, ELSEWHERE = "127.0.0.1:1000", "127.0.0.1:2000"


class Bomb:
    """Unpickling this creates a file: proof that code of a stranger ran."""

    def __init__(self, marker: Path) -> None:
        self._marker = str(marker)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self._marker, "w")


# --- what is signed, without any system


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def receiver(clock: Clock) -> Signer:
    return Signer(KEY, clock)


@pytest.fixture
def frame(clock: Clock) -> bytes:
    return Signer(KEY, clock).sign({"a": 1}, HERE)


def test_a_signed_message_is_read(receiver: Signer, frame: bytes) -> None:
    assert receiver.check(frame, HERE) == {"a": 1}


def test_an_unsigned_message_is_refused_and_not_unpickled(receiver: Signer, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "marker"))
    for attack in (bomb, bytes(32) + bomb, bytes(32 + 24) + bomb, pickle.dumps(ackPacket) + bomb):
        with pytest.raises(FrameRefused, match="unsigned or wrongly signed"):
            receiver.check(attack, HERE)
    assert not (tmp_path / "marker").exists()


def test_a_message_signed_with_another_key_is_refused(
    receiver: Signer, clock: Clock, tmp_path: Path
) -> None:
    forged = Signer(b"another key", clock).sign(Bomb(tmp_path / "marker"), HERE)
    with pytest.raises(FrameRefused, match="unsigned or wrongly signed"):
        receiver.check(forged, HERE)
    assert not (tmp_path / "marker").exists()


def test_a_truncated_message_is_refused_wherever_it_was_cut(receiver: Signer, frame: bytes) -> None:
    for length in range(len(frame)):
        with pytest.raises(FrameRefused):
            receiver.check(frame[:length], HERE)


def test_each_flipped_bit_is_seen(receiver: Signer, frame: bytes) -> None:
    for place in range(len(frame)):
        flipped = bytearray(frame)
        flipped[place] ^= 1
        with pytest.raises(FrameRefused):
            receiver.check(bytes(flipped), HERE)


def test_a_message_for_another_receiver_is_refused(receiver: Signer, frame: bytes) -> None:
    with pytest.raises(FrameRefused):
        receiver.check(frame, ELSEWHERE)


def test_a_message_is_read_once_and_refused_when_it_is_replayed(
    receiver: Signer, frame: bytes
) -> None:
    receiver.check(frame, HERE)
    with pytest.raises(FrameRefused, match="had come before"):
        receiver.check(frame, HERE)


def test_equal_messages_are_not_taken_for_replays(receiver: Signer, clock: Clock) -> None:
    sender = Signer(KEY, clock)
    for _ in range(3):
        assert receiver.check(sender.sign("same", HERE), HERE) == "same"


@pytest.mark.parametrize("seconds", [NONCE_SECONDS + 1, -NONCE_SECONDS - 1])
def test_a_message_of_another_time_is_refused(
    receiver: Signer, frame: bytes, clock: Clock, seconds: float
) -> None:
    clock.now += seconds
    with pytest.raises(FrameRefused, match="too old, or of a wrong clock"):
        receiver.check(frame, HERE)


def test_a_replay_is_refused_for_as_long_as_its_time_is_accepted(
    receiver: Signer, clock: Clock
) -> None:
    clock.now += NONCE_SECONDS
    ahead = Signer(KEY, clock).sign("of a clock that is ahead", HERE)
    clock.now -= NONCE_SECONDS
    receiver.check(ahead, HERE)
    clock.now += 2 * NONCE_SECONDS
    receiver.check(Signer(KEY, clock).sign("what makes it forget", HERE), HERE)
    with pytest.raises(FrameRefused, match="had come before"):
        receiver.check(ahead, HERE)


def test_nonces_are_forgotten_once_they_are_too_old_to_matter(
    receiver: Signer, clock: Clock
) -> None:
    for _ in range(10):
        receiver.check(Signer(KEY, clock).sign("x", HERE), HERE)
        clock.now += NONCE_SECONDS
    assert len(receiver._seen) <= 3


def test_the_fixed_acknowledgements_pass_unsigned(receiver: Signer) -> None:
    assert receiver.check(pickle.dumps(ackPacket), HERE) == ackPacket


def test_an_address_travels_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(wire.KEY_VARIABLE, KEY.hex())
    address = ActorAddress(TCPv4ActorAddress("127.0.0.1", 1234, external=False))
    packed = pack_address(address)
    assert str(unpack_address(packed)) == str(address)
    with pytest.raises(FrameRefused):
        unpack_address(packed[:-1])
    with pytest.raises(FrameRefused):
        unpack_address(Signer(b"another").sign(address, "door"))


# --- a real system under attack

ACTOR = """
from thespian.actors import Actor
class Echo(Actor):
    def receiveMessage(self, msg, sender):
        if isinstance(msg, str):
            self.send(sender, msg)
"""

# Keeps a system, and asks its actor once for each file `ask-N` that appears.
HOST = """
import json, sys, time
from pathlib import Path
from echo_of_test_wire import Echo
from repertory.actors.wire import actor_system

def main():
    folder, end = Path(sys.argv[1]), time.monotonic() + 120
    system = actor_system(admin_port=int(sys.argv[2]))
    echo = system.createActor(Echo)
    while time.monotonic() < end and not (folder / "stop").exists():
        for path in folder.glob("ask-*"):
            answer = system.ask(echo, path.name, 10)
            path.unlink()
            (folder / f"answer-{path.name}").write_text(str(answer))
        time.sleep(0.01)
    system.shutdown()

if __name__ == "__main__":
    main()
"""

# Tries to use a system, the way a program of its own would.
STRANGER = """
import sys
from thespian.actors import ActorSystem
from echo_of_test_wire import Echo
from repertory.actors.wire import actor_system

def main():
    port = int(sys.argv[1])
    stock = {"Admin Port": port, "Process Startup Method": "spawn"}
    try:
        if sys.argv[2] == "stock":
            system = ActorSystem("multiprocTCPBase", stock, transientUnique=True)
        else:
            system = actor_system(admin_port=port)
        print("in:", system.ask(system.createActor(Echo), "let me in", 10))
    except BaseException as error:
        print("refused:", type(error).__name__)

if __name__ == "__main__":
    main()
"""


@dataclass
class System:
    """A hardened actor system in processes of its own."""

    folder: Path
    admin_port: int
    environment: dict[str, str]
    host: subprocess.Popen[bytes]
    wait_for: Waiter

    def start(
        self, name: str, *arguments: str, log: str, **variables: str
    ) -> subprocess.Popen[bytes]:
        """Start a script; what it prints goes to a file, for daemons would hold a pipe open."""
        with (self.folder / f"{log}.out").open("wb") as output:
            return subprocess.Popen(
                [sys.executable, str(self.folder / f"{name}.py"), *arguments],
                env={**self.environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def answers(self) -> bool:
        """Tell whether the actor still answers."""
        name = f"ask-{secrets.token_hex(4)}"
        answer = self.folder / f"answer-{name}"
        (self.folder / name).touch()
        self.wait_for(lambda: answer.exists() and answer.read_text())
        return answer.read_text() == name

    def processes(self) -> list[psutil.Process]:
        """Return all processes of the system: they share the environment."""
        mark = self.environment["TEST_WIRE_MARK"]
        return [each for each in psutil.process_iter() if _environment(each) == mark]

    def sockets(self) -> list[tuple[int, str, int]]:
        """Return the process, address and port of each socket that listens."""
        return [
            (process.pid, connection.laddr.ip, connection.laddr.port)
            for process in self.processes()
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        ]

    def ports(self) -> list[int]:
        """Return the ports of its admin, logger and actor; the host reads only when it asks."""
        return [port for pid, _, port in self.sockets() if pid != self.host.pid]

    def attack(self, data: bytes) -> list[bytes]:
        """Send bytes to every port of the system; return what each one said before it hung up."""
        return [_say(port, data) for port in self.ports()]


def _environment(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("TEST_WIRE_MARK")
    except (psutil.Error, OSError):
        return None


def _say(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.settimeout(10)
        said = b""
        try:
            sock.sendall(data)
            while more := sock.recv(4096):
                said += more
        except ConnectionError:
            pass  # it hung up
        return said


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, wait_for: Waiter) -> Iterator[System]:
    """Give a running system, and end it."""
    folder = tmp_path_factory.mktemp("wire")
    for name, code in (("echo_of_test_wire", ACTOR), ("host", HOST), ("stranger", STRANGER)):
        (folder / f"{name}.py").write_text(code)
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "THESPLOG_FILE": str(folder / "thespian.log"),
        "TEST_WIRE_MARK": secrets.token_hex(8),
        wire.ADDRESS_VARIABLE: "127.0.0.1",
        wire.KEY_VARIABLE: KEY.hex(),
    }
    made = System(folder, _free_port(), environment, None, wait_for)  # type: ignore[arg-type]
    made.host = made.start("host", str(folder), str(made.admin_port), log="host")
    try:
        assert made.answers(), (folder / "host.out").read_text()
        yield made
        (folder / "stop").touch()
        made.host.wait(20)
        wait_for(lambda: not made.processes())
    finally:
        for process in made.processes():
            process.kill()
        made.host.wait(10)


def test_every_socket_of_a_system_listens_on_the_one_address(system: System) -> None:
    sockets = system.sockets()
    assert len(sockets) >= 4  # admin, logger, actor, external
    assert {address for _, address, _ in sockets} == {"127.0.0.1"}


def test_a_plain_thespian_message_runs_no_code(system: System, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for message in (Bomb(marker), (ActorAddress(None), Bomb(marker)), ("x", "y")):
        for said in system.attack(toSendBuffer(message)):
            assert b"DATAERR" in said
    assert not marker.exists()
    assert system.answers()


@pytest.mark.parametrize(
    "garbage",
    [
        b"-5>" + b"x" * 100,  # a negative size would end Thespian's loop
        b"0>",
        b"99999999999>" + b"x" * 100,
        b"%d>" % (MESSAGE_LIMIT + 1),
        b"x" * 5000,  # never a size
        b"1" * 5000,
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"12>" + pickle.dumps(ackPacket)[:12],
    ],
)
def test_what_is_no_frame_is_hung_up_on(system: System, garbage: bytes) -> None:
    for said in system.attack(garbage):
        assert said == b"" or b"DATAERR" in said
    assert system.answers()


def test_a_frame_that_was_listened_to_is_refused_the_second_time_and_elsewhere(
    system: System,
) -> None:
    message = (ActorAddress(TCPv4ActorAddress("127.0.0.1", 9, external=False)), "hello")
    signed = Signer(KEY).sign(message, f"127.0.0.1:{system.admin_port}")
    frame = b"%d>" % len(signed) + signed
    others = [port for port in system.ports() if port != system.admin_port]
    assert b"DATAERR" in _say(others[0], frame)
    first, second = _first_word(system.admin_port, frame), _first_word(system.admin_port, frame)
    assert b"ACK" in first
    assert b"DATAERR" not in first
    assert b"DATAERR" in second
    assert system.answers()


def _first_word(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(data)
        return sock.recv(4096)


def test_programs_without_the_key_cannot_use_the_system(system: System) -> None:
    port, key = str(system.admin_port), {wire.KEY_VARIABLE: "00" * 32}
    strangers = [
        system.start("stranger", port, "stock", log="stock", TEST_WIRE_MARK=""),
        system.start("stranger", port, "wrong key", log="wrong-key", TEST_WIRE_MARK="", **key),
    ]
    assert [stranger.wait(90) for stranger in strangers] == [0, 0]
    for name in ("stock", "wrong-key"):
        assert (system.folder / f"{name}.out").read_text().startswith("refused:")
    assert system.answers()
