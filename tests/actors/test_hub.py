"""A hub serves many peers over real sockets, and none of them can disturb another."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from repertory.actors import hub as hub_module
from repertory.actors.frames import Frame, FrameReader, encode_frame
from repertory.actors.hub import Arrived, Closed, Connected, Event, Hub
from repertory.protos.door_pb2 import Envelope

SCORE = Envelope(kind=Envelope.SCORE, data_type="wine")


class World:
    """A hub, its door, and what happened so far."""

    def __init__(self, door: Path) -> None:
        self.hub = Hub()
        self.hub.listen(door)
        self.door = door
        self.sockets: list[socket.socket] = []

    def connect(self) -> tuple[socket.socket, int]:
        """Return a new peer's socket, and its number."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        self.sockets.append(sock)
        sock.connect(str(self.door))
        connected = self.until(lambda event: isinstance(event, Connected))
        return sock, connected[-1].peer

    def until(self, wanted: Callable[[Event], bool], count: int = 1) -> list[Event]:
        """Poll until `count` wanted events came; return all that came."""
        events: list[Event] = []
        while sum(map(wanted, events)) < count:
            fresh = self.hub.poll(10)
            assert fresh, f"nothing more comes after {events!r:.200}"
            events += fresh
        return events

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.hub.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "door")
    yield world
    world.close()


def read_frames(sock: socket.socket, count: int) -> list[Frame]:
    reader, frames = FrameReader(), list[Frame]()
    while len(frames) < count:
        frames += reader.feed(sock.recv(65536))
    return frames


def arrived(event: Event) -> bool:
    return isinstance(event, Arrived)


def closed(event: Event) -> bool:
    return isinstance(event, Closed)


def test_a_frame_goes_in_and_its_answer_out(world: World) -> None:
    sock, peer = world.connect()
    sock.sendall(encode_frame(SCORE, b"question"))
    assert world.until(arrived) == [Arrived(peer, Frame(SCORE, b"question"))]
    world.hub.send(peer, SCORE, b"answer")
    world.hub.flush()
    assert read_frames(sock, 1) == [Frame(SCORE, b"answer")]


def test_a_frame_in_pieces_arrives_when_it_is_whole(world: World) -> None:
    sock, _ = world.connect()
    stream = encode_frame(SCORE, b"question")
    for place in range(len(stream) - 1):
        sock.sendall(stream[place : place + 1])
        assert world.hub.poll(10) == []
    sock.sendall(stream[-1:])
    assert len(world.until(arrived)) == 1


def test_thousands_of_frames_arrive_in_order_and_leave_in_order(world: World) -> None:
    sock, peer = world.connect()
    sock.setblocking(False)
    numbers = range(5000)
    stream = memoryview(
        b"".join(encode_frame(Envelope(correlation_id=n), bytes(n % 100)) for n in numbers)
    )
    got: list[int] = []
    reader = FrameReader()
    while len(got) < len(numbers):
        if stream:
            stream = stream[send_some(sock, stream) :]
        for event in world.hub.poll(0.01):
            assert isinstance(event, Arrived)
            world.hub.send(peer, event.frame.envelope, event.frame.payload)
        world.hub.flush()
        got += [frame.envelope.correlation_id for frame in reader.feed(receive_some(sock))]
    assert got == list(numbers)


def send_some(sock: socket.socket, data: memoryview) -> int:
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0


def receive_some(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1 << 20)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 8, b"\xff" * 8])
def test_garbage_closes_the_connection_it_came_by_and_no_other(
    world: World, garbage: bytes
) -> None:
    bad, bad_peer = world.connect()
    good, good_peer = world.connect()
    bad.sendall(garbage)
    assert [event.peer for event in world.until(closed)] == [bad_peer]
    assert bad.recv(1) == b""
    good.sendall(encode_frame(SCORE))
    assert world.until(arrived)[0].peer == good_peer


def test_a_peer_that_leaves_is_told_of_once(world: World) -> None:
    sock, peer = world.connect()
    sock.close()
    assert world.until(closed) == [Closed(peer, "closed by the peer")]
    world.hub.send(peer, SCORE)  # to nobody
    assert world.hub.poll(0.05) == []


def test_frames_sent_before_leaving_arrive_before_the_leaving(world: World) -> None:
    sock, peer = world.connect()
    sock.sendall(encode_frame(SCORE, b"last words"))
    sock.close()
    kinds = [type(event) for event in world.until(closed)]
    assert kinds == [Arrived, Closed]
    assert peer


def test_a_slow_reader_does_not_block_the_others(world: World) -> None:
    _, slow = world.connect()
    quick, quick_peer = world.connect()
    for _ in range(50):
        world.hub.send(slow, SCORE, bytes(100_000))
    world.hub.send(quick_peer, SCORE, b"at once")
    world.hub.flush()
    assert read_frames(quick, 1)[0].payload == b"at once"


def test_a_slow_reader_is_not_read_from_until_it_has_taken_its_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "OUTBOX_LIMIT", 1_000_000)
    slow, peer = world.connect()
    for _ in range(20):
        world.hub.send(peer, SCORE, bytes(100_000))
    world.hub.flush()
    slow.sendall(encode_frame(SCORE, b"another question"))
    assert world.hub.poll(0.1) == []
    taken = 0
    while not (events := world.hub.poll(0.01)):
        taken += len(slow.recv(100_000))
    assert [event.peer for event in events if isinstance(event, Arrived)] == [peer]
    assert taken > 500_000


def test_the_rest_of_a_large_answer_follows_as_its_reader_takes_it(world: World) -> None:
    sock, peer = world.connect()
    world.hub.send(peer, SCORE, bytes(5_000_000))
    world.hub.flush()
    sock.setblocking(False)
    reader, frames = FrameReader(), list[Frame]()
    while not frames:
        assert world.hub.poll(0.01) == []
        frames += reader.feed(receive_some(sock))
    assert frames == [Frame(SCORE, bytes(5_000_000))]


def test_a_hub_connects_to_another(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    try:
        peer = world.hub.connect(other.door)
        assert peer is not None
        world.hub.send(peer, SCORE, b"hello")
        world.hub.flush()
        events = other.until(arrived)
        assert [type(event) for event in events] == [Connected, Arrived]
    finally:
        other.close()


def test_connecting_where_nobody_listens_gives_none(world: World, tmp_path: Path) -> None:
    assert world.hub.connect(tmp_path / "nobody") is None
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale"))
    stale.close()
    assert world.hub.connect(tmp_path / "stale") is None


def test_a_door_replaces_the_file_of_a_dead_process_and_is_for_its_user_only(
    tmp_path: Path,
) -> None:
    (tmp_path / "door").write_text("left over")
    world = World(tmp_path / "door")
    try:
        world.connect()
        assert (tmp_path / "door").stat().st_mode & 0o777 == 0o600
    finally:
        world.close()


def test_a_hub_watches_further_files(world: World) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        seen: list[bytes] = []
        world.hub.watch(ours.fileno(), lambda: seen.append(ours.recv(10)))
        theirs.sendall(b"wake up")
        assert world.hub.poll(10) == []
        assert seen == [b"wake up"]


def test_a_hub_knows_the_process_behind_a_peer(world: World) -> None:
    _, peer = world.connect()
    assert world.hub.pid(peer) == os.getpid()
    world.hub.disconnect(peer)
    assert world.hub.pid(peer) is None


def test_disconnecting_is_told_of_and_may_be_repeated(world: World) -> None:
    sock, peer = world.connect()
    world.hub.disconnect(peer, "enough")
    world.hub.disconnect(peer, "enough")
    assert world.hub.poll() == [Closed(peer, "enough")]
    assert sock.recv(1) == b""
