"""Nothing that a message or a frame holds can break an actor's loop, or end its watching."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from thespian.actors import ActorAddress, ActorExitRequest, ThespianWatch, WatchMessage

from repertory.actors.door_actor import DoorActor
from repertory.actors.frames import FrameReader, encode_frame
from repertory.actors.hub import Arrived, Event
from repertory.protos.door_pb2 import Envelope

FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)
NOBODY = ActorAddress(None)


class Echo(DoorActor):
    """Answers frames with themselves; raises at `boom`, in a message or a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.settled = 0
        self.stopped = False

    def control(self, message: Any, sender: ActorAddress) -> None:
        """Raise at `boom`."""
        if message == "boom":
            raise RuntimeError(message)

    def happened(self, event: Event) -> None:
        """Answer a frame."""
        if isinstance(event, Arrived):
            if event.frame.payload == b"boom":
                raise RuntimeError("boom")
            self.hub.send(event.peer, event.frame.envelope, event.frame.payload)

    def settle(self) -> None:
        """Count."""
        self.settled += 1

    def tick(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Note it."""
        self.stopped = True
        super().stop()


@pytest.fixture
def actor(tmp_path: Path) -> Iterator[Echo]:
    """Give an actor as Thespian makes it, with this process's signals as they were afterwards."""
    kept = {number: signal.getsignal(number) for number in FATAL}
    made = Echo()
    made.hub.listen(tmp_path / "door")
    yield made
    if not made.stopped:
        made.stop()
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def sockets(actor: Echo, tmp_path: Path) -> Iterator[list[socket.socket]]:
    """Give two connections to its door."""
    made = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for sock in made:
        sock.settimeout(10)
        sock.connect(str(tmp_path / "door"))
    yield made
    for sock in made:
        sock.close()


def wake(actor: Echo) -> Any:
    return actor.receiveMessage(WatchMessage([]), NOBODY)


def ask(sock: socket.socket, payload: bytes) -> None:
    sock.sendall(encode_frame(Envelope(kind=Envelope.ASK), payload))


def answers(sock: socket.socket, count: int = 1) -> list[bytes]:
    reader, found = FrameReader(), list[bytes]()
    while len(found) < count:
        found += [frame.payload for frame in reader.feed(sock.recv(4096))]
    return found


def test_all_frames_that_are_ready_are_answered_in_one_turn(
    actor: Echo, sockets: list[socket.socket]
) -> None:
    for number in range(50):
        ask(sockets[0], b"%d" % number)
    wake(actor)
    assert answers(sockets[0], 50) == [b"%d" % number for number in range(50)]


@pytest.mark.parametrize("message", ["boom", "calm", WatchMessage([])])
def test_every_message_is_answered_with_the_watch_even_one_that_raises(
    actor: Echo, message: object
) -> None:
    watch = actor.receiveMessage(message, NOBODY)
    assert isinstance(watch, ThespianWatch)
    assert watch.filenos == [actor.hub.fileno()]


def test_a_frame_that_raises_cuts_its_peer_off_and_the_others_are_served(
    actor: Echo, sockets: list[socket.socket]
) -> None:
    bad, good = sockets
    wake(actor)
    ask(bad, b"boom")
    ask(bad, b"behind it")
    ask(good, b"fine")
    wake(actor)
    assert answers(good) == [b"fine"]
    assert bad.recv(4096) == b""
    ask(good, b"still there")
    wake(actor)
    assert answers(good) == [b"still there"]


def test_a_turn_without_any_frame_is_settled_too(actor: Echo) -> None:
    wake(actor)
    actor.receiveMessage("calm", NOBODY)
    assert actor.settled >= 2


def test_an_actor_frees_what_it_holds_when_the_system_shuts_down(actor: Echo) -> None:
    assert actor.receiveMessage(ActorExitRequest(), NOBODY) is None
    assert actor.stopped


def test_a_crash_in_native_code_ends_the_process_as_usual(actor: Echo) -> None:
    assert {signal.getsignal(number) for number in FATAL} == {signal.SIG_DFL}
