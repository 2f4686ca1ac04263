"""Two routers meet over real sockets; whoever is not one of them gets nowhere, and is told of."""

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from repertory.actors import hub as hub_module
from repertory.actors import links as links_module
from repertory.actors import strangers as strangers_module
from repertory.actors.agreement import agreement
from repertory.actors.frames import Frame, FrameReader, encode_frame
from repertory.actors.handshake import Caller, Identity
from repertory.actors.hub import Arrived, Closed, Connected, Event, Hub
from repertory.actors.links import CallerIn, LinkDown, LinkEvent, Links, LinkUp
from repertory.certificates import CertificateSet, make_certificates
from repertory.config import ClusterConfig, parse_config
from repertory.errors import ConfigError
from repertory.protos.door_pb2 import Challenge, Envelope, Failure

SCORE = Envelope(kind=Envelope.SCORE, data_type="wine")
SECONDS = 20.0
SECRET = "a secret of some length"
_NETWORKS = itertools.count(1)


class Side:
    """A node's links, its hub, and what came out of both."""

    def __init__(self, config: ClusterConfig, node: str, incarnation: str = "1") -> None:
        self.hub = Hub()
        self.links = Links(self.hub, config, node, incarnation=f"{node}-{incarnation}")
        self.happened: list[LinkEvent] = []
        self.passed: list[Event] = []

    def go_on(self) -> None:
        self.links.tick()
        self.hub.flush()
        for event in self.hub.poll(0.005):
            found = self.links.take(event)
            if found is None:
                self.passed.append(event)
            else:
                self.happened += found
        self.hub.flush()

    def close(self) -> None:
        self.links.close()
        self.hub.close()


class World:
    """Hosts of a network that no other test uses: 127.x.y.1 is node a, .2 is b, …"""

    def __init__(self) -> None:
        number = os.getpid()
        self.network = f"127.{number >> 8 & 255}.{number & 255}"
        self.port = 20_000 + next(_NETWORKS) % 10_000
        self.tls: dict[str, str] | None = None
        self.sides: list[Side] = []
        self.sockets: list[socket.socket] = []
        self.logs: list[EventDict] = []

    def host(self, node: str) -> str:
        return f"{self.network}.{ord(node) - ord('a') + 1}"

    def config(self, nodes: str = "ab", **changes: Any) -> ClusterConfig:
        document: dict[str, Any] = {
            "nodes": {
                node: {"host": self.host(node), "door_port": self.port, "admin_port": 1}
                for node in nodes
            },
            "journal": {"kind": "kafka"},
            "kafka": {"bootstrap_servers": "broker:9092"},
            "cluster": {"secret": SECRET, "tls": self.tls},
            "data_types": {"wine": {"message": "wine_pb2:Wine", "features": ["pH"]}},
        }
        for place, value in changes.items():
            section, key = place.split("__")
            found = document[section]
            (found["wine"] if section == "data_types" else found)[key] = value
        return parse_config(document)

    def side(self, node: str, config: ClusterConfig | None = None, incarnation: str = "1") -> Side:
        side = Side(config or self.config(), node, incarnation)
        self.sides.append(side)
        side.links.open()
        return side

    def stranger(self) -> socket.socket:
        """Connect to node a's door, without being anybody."""
        sock = socket.create_connection((self.host("a"), self.port), timeout=10)
        self.sockets.append(sock)
        return sock

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if condition():
                return
            for side in self.sides:
                side.go_on()
        happened = [side.happened for side in self.sides]
        raise AssertionError(f"this does not come true: {happened!r:.500} {self.logs!r:.1000}")

    def told(self, words: str) -> list[EventDict]:
        return [each for each in self.logs if words in str(each.get("why", ""))]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with capture_logs() as logs:
        world.logs = logs
        yield world
    for sock in world.sockets:
        sock.close()
    for side in world.sides:
        side.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateSet:
    files = CertificateSet(tmp_path_factory.mktemp("certs"))
    list(make_certificates(files, dict.fromkeys("abc", "127.0.0.1"), days=1))
    return files


def keys(files: CertificateSet, node: str = "{node}") -> dict[str, str]:
    return {
        "certificate": str(files.certificate(node)),
        "key": str(files.key(node)),
        "authority": str(files.authority),
    }


@pytest.fixture(params=["secret", "tls"])
def way(request: pytest.FixtureRequest, world: World, certificates: CertificateSet) -> World:
    world.tls = keys(certificates) if request.param == "tls" else None
    return world


def up(side: Side) -> list[LinkUp]:
    return [event for event in side.happened if isinstance(event, LinkUp)]


def callers(side: Side) -> list[CallerIn]:
    return [event for event in side.happened if isinstance(event, CallerIn)]


def down(side: Side) -> list[LinkDown]:
    return [event for event in side.happened if isinstance(event, LinkDown)]


def meet(world: World) -> tuple[Side, Side]:
    a, b = world.side("a"), world.side("b")
    world.until(lambda: all(up(side) and callers(side) for side in (a, b)))
    return a, b


# --- friends


def test_two_nodes_meet_each_with_a_link_of_its_own(way: World) -> None:
    a, b = meet(way)
    [link], [caller] = up(a), callers(a)
    assert (link.node, link.protocol, link.incarnation) == ("b", 2, "b-1")
    assert (caller.node, caller.protocol, caller.incarnation) == ("b", 2, "b-1")
    assert link.software == caller.software == a.links.software("b")
    assert a.passed == b.passed == []


def test_frames_of_those_who_were_let_in_are_passed_on(way: World) -> None:
    a, b = meet(way)
    a.hub.send(up(a)[0].peer, SCORE, b"question")
    way.until(lambda: b.passed)
    assert b.passed == [Arrived(callers(b)[0].peer, Frame(SCORE, b"question"))]
    b.hub.send(callers(b)[0].peer, SCORE, b"answer")
    way.until(lambda: a.passed)
    assert a.passed == [Arrived(up(a)[0].peer, Frame(SCORE, b"answer"))]


def test_frames_of_those_who_were_let_in_may_be_large(way: World) -> None:
    a, b = meet(way)
    payload = os.urandom(5_000_000)
    a.hub.send(up(a)[0].peer, SCORE, payload)
    b.hub.send(callers(b)[0].peer, SCORE, payload)
    way.until(lambda: a.passed and b.passed)
    assert a.passed == [Arrived(up(a)[0].peer, Frame(SCORE, payload))]
    assert b.passed == [Arrived(callers(b)[0].peer, Frame(SCORE, payload))]


def test_a_node_that_takes_nothing_holds_nobody_up_and_loses_nothing(
    way: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "OUTBOX_LIMIT", 1_000_000)
    a, b = meet(way)
    for _ in range(20):
        b.hub.send(callers(b)[0].peer, SCORE, bytes(1_000_000))
    a.hub.send(up(a)[0].peer, SCORE, b"question")
    a.hub.flush()
    b.go_on()
    assert b.passed == []  # what it was sent before must be taken first
    way.until(lambda: len(a.passed) == 20 and b.passed)


def test_three_nodes_all_meet(way: World) -> None:
    config = way.config("abc")
    sides = [way.side(node, config) for node in "abc"]
    way.until(lambda: all(len(up(side)) == len(callers(side)) == 2 for side in sides))
    assert {link.node for link in up(sides[0])} == {"b", "c"}


def test_a_node_that_comes_later_is_found(world: World) -> None:
    a = world.side("a")
    world.until(lambda: world.told("Connection refused"))
    world.side("b")
    world.until(lambda: up(a) and callers(a))
    assert len(world.told("Connection refused")) == 1


def test_a_lost_link_is_told_and_made_anew(way: World) -> None:
    a, b = meet(way)
    way.sides.remove(b)
    b.close()
    way.until(lambda: down(a))
    assert down(a) == [LinkDown("b", up(a)[0].peer, "closed by the peer")]
    assert a.passed == [Closed(callers(a)[0].peer, "closed by the peer")]
    way.side("b", incarnation="2")
    way.until(lambda: len(up(a)) == 2)
    assert up(a)[1].incarnation == "b-2"


def test_a_link_can_be_dropped_and_comes_back(way: World) -> None:
    a, b = meet(way)
    a.links.drop("b", "it does not answer")
    way.until(lambda: len(up(a)) == 2 and len(callers(b)) == 2)
    assert down(a) == [LinkDown("b", up(a)[0].peer, "it does not answer")]


def test_a_second_connection_of_a_node_takes_the_place_of_the_first(world: World) -> None:
    a, _ = meet(world)
    sock = world.stranger()
    first = callers(a)[0].peer
    prove(world, sock, "b")
    world.until(lambda: len(callers(a)) == 2 and a.passed)
    assert a.passed == [Closed(first, "its node has connected anew")]


def test_other_events_are_not_the_links_business(world: World, tmp_path: Path) -> None:
    a, _ = meet(world)
    a.hub.listen(tmp_path / "door")
    sock = socket.socket(socket.AF_UNIX)
    world.sockets.append(sock)
    sock.connect(str(tmp_path / "door"))
    sock.sendall(encode_frame(SCORE, b"local"))
    world.until(lambda: len(a.passed) == 2)
    assert [type(event) for event in a.passed] == [Connected, Arrived]


def test_a_door_that_cannot_be_opened_is_told_by_its_key(world: World) -> None:
    world.side("a")
    with pytest.raises(ConfigError, match=r"nodes\.a\.door_port: cannot listen on .* in use"):
        world.side("a")


def test_a_node_whose_own_door_is_not_open_calls_others_all_the_same(world: World) -> None:
    caller = Side(world.config(), "a")
    world.sides.append(caller)
    world.side("b")
    world.until(lambda: any(isinstance(each, LinkUp) for each in caller.happened))


def test_hosts_may_have_names(world: World) -> None:
    config = world.config()
    b = config.nodes["b"].model_copy(update={"host": "localhost"})
    config = config.model_copy(update={"nodes": {**config.nodes, "b": b}})
    a, b_side = world.side("a", config), world.side("b", config)
    world.until(lambda: up(a) and up(b_side))


def test_a_name_that_nobody_knows_is_told(world: World) -> None:
    config = world.config()
    b = config.nodes["b"].model_copy(update={"host": "no.such.host.invalid"})
    world.side("a", config.model_copy(update={"nodes": {**config.nodes, "b": b}}))
    world.until(lambda: world.told("no.such.host.invalid: "))


# --- strangers


def speaks(sock: socket.socket) -> list[Frame]:
    """Return the frames that have come by now."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        return list(FrameReader().feed(sock.recv(1_000_000)))
    return []


def heard(world: World, sock: socket.socket) -> list[Frame]:
    """Wait until frames come, and return them."""
    frames: list[Frame] = []

    def came() -> bool:
        frames.extend(speaks(sock))
        return bool(frames)

    world.until(came)
    return frames


def challenged(world: World, sock: socket.socket) -> bytes:
    """Wait for the challenge of node a; return its payload."""
    frames = heard(world, sock)
    assert frames[0].envelope.kind == Envelope.CHALLENGE
    return frames[0].payload


def identity(world: World, node: str, **changes: Any) -> Identity:
    config, secret = world.config("abc"), changes.get("secret", SECRET.encode())
    return Identity(
        node=node,
        incarnation="forged",
        software="0",
        secret=secret,
        nodes=frozenset("abc"),
        agreement=agreement(config, secret),
    )


def prove(world: World, sock: socket.socket, node: str, **changes: Any) -> bytes:
    """Say HELLO to node a as some node; return what was said."""
    caller = Caller(identity(world, node, **changes), "a")
    hello = caller.hello(challenged(world, sock))
    sock.sendall(encode_frame(Envelope(kind=Envelope.HELLO), hello))
    return hello


def refusal(world: World, sock: socket.socket) -> str:
    """Return why node a closed the connection, as it says itself."""
    frames = heard(world, sock)
    assert [frame.envelope.kind for frame in frames] == [Envelope.FAILURE]
    world.until(lambda: is_over(sock))
    return Failure.FromString(frames[0].payload).message


def is_untouched(side: Side) -> bool:
    """Tell whether nothing of what strangers did came out of a node's links."""
    return not side.happened and not side.passed


def is_over(sock: socket.socket) -> bool:
    try:
        return sock.recv(100) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.fixture
def a(world: World) -> Side:
    return world.side("a")


def test_who_knows_another_secret_is_refused(world: World, a: Side) -> None:
    for _ in range(2):
        sock = world.stranger()
        prove(world, sock, "b", secret=b"another secret, as long")
        assert refusal(world, sock) == "node b does not know the cluster's secret"
    world.until(lambda: world.told("does not know"))
    assert [each["who"] for each in world.told("does not know")] == ["127.0.0.1"]
    assert is_untouched(a)


def test_a_hello_that_was_listened_to_is_refused(world: World, a: Side) -> None:
    hello = prove(world, world.stranger(), "b")
    world.until(lambda: callers(a))
    sock = world.stranger()
    challenged(world, sock)
    sock.sendall(encode_frame(Envelope(kind=Envelope.HELLO), hello))
    assert refusal(world, sock) == "node b does not know the cluster's secret"
    assert len(callers(a)) == 1


def test_a_node_does_not_answer_its_own_challenge_for_a_stranger(world: World, a: Side) -> None:
    """At b's address sits one who gives a's own challenge back to it, and a's answer to a."""
    with socket.create_server((world.host("b"), world.port)) as listener:
        listener.settimeout(10)
        sock = world.stranger()
        challenge = Challenge.FromString(challenged(world, sock))
        world.until(lambda: True)
        trap, _ = listener.accept()
        world.sockets.append(trap)
        challenge.node = "b"
        said = challenge.SerializeToString()
        trap.sendall(encode_frame(Envelope(kind=Envelope.CHALLENGE), said))
        frames = heard(world, trap)
        sock.sendall(encode_frame(Envelope(kind=Envelope.HELLO), frames[0].payload))
        assert refusal(world, sock) == "node a does not know the cluster's secret"


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("data_types__features", ["alcohol"], "data_types.wine.features differs from node "),
        ("cluster__down_ms", 9000, "cluster.down_ms differs from node "),
        ("cluster__secret", "another secret, as long", " does not know the cluster's secret"),
    ],
)
def test_nodes_that_disagree_refuse_each_other_and_both_tell(
    way: World, place: str, value: Any, words: str
) -> None:
    a, b = way.side("a"), way.side("b", way.config(**{place: value}))
    way.until(lambda: len(way.told("it refuses us: ")) == 2)
    assert len(way.told(words)) == 4  # each tells whom it refuses, and who refuses it
    assert a.happened == b.happened == []


def test_a_node_that_our_file_does_not_name_is_refused(way: World) -> None:
    a, c = way.side("a"), way.side("c", way.config("abc"))
    way.until(lambda: way.told("it refuses us: node c is not in node a's cluster.yaml"))
    assert a.happened == c.happened == []


def test_a_node_with_another_nodes_certificate_is_refused(
    world: World, certificates: CertificateSet
) -> None:
    world.tls = keys(certificates)
    a = world.side("a")
    world.tls = keys(certificates, "c")
    b = world.side("b")
    world.until(lambda: world.told("its certificate is c's, not b's"))
    world.until(lambda: world.told("it refuses us: it says that it is node b, but its certificate"))
    assert a.happened == b.happened == []


def test_a_node_without_tls_and_one_with_it_do_not_meet(
    world: World, certificates: CertificateSet
) -> None:
    a = world.side("a")
    world.tls = keys(certificates)
    b = world.side("b")
    world.until(lambda: len(world.told("TLS failed")) >= 1 and world.told("a frame of"))
    assert a.happened == b.happened == []


def test_a_plain_client_at_a_door_with_tls_hears_nothing(
    world: World, certificates: CertificateSet
) -> None:
    world.tls = keys(certificates)
    a = world.side("a")
    sock = world.stranger()
    sock.sendall(encode_frame(Envelope(kind=Envelope.HELLO), b"hello?"))
    world.until(lambda: world.told("TLS failed: "))
    assert is_untouched(a)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        encode_frame(Envelope(kind=Envelope.HELLO), b"\xff\xff"),
        encode_frame(SCORE, b"score this"),
        encode_frame(SCORE, b"score this") * 1000,
        encode_frame(Envelope(kind=Envelope.ASK, subject="status"), b"{}"),
        encode_frame(Envelope(kind=Envelope.TELL, subject="beat"), b"{}"),
        encode_frame(Envelope(kind=Envelope.HELLO), bytes(2_000_000)),
        bytes(range(256)) * 100,
    ],
)
def test_garbage_gets_no_further_and_is_told(world: World, a: Side, data: bytes) -> None:
    sock = world.stranger()
    challenged(world, sock)
    sock.setblocking(True)
    with contextlib.suppress(OSError):  # it may be closed before all of it is sent
        sock.settimeout(0.2)
        sock.sendall(data)
    sock.setblocking(False)
    world.until(lambda: [each for each in world.logs if "refused" in each["event"]])
    assert is_untouched(a)


def test_who_says_nothing_or_little_by_little_is_sent_away(
    world: World, a: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers_module, "STRANGER_SECONDS", 0.2)
    sock = world.stranger()
    challenged(world, sock)
    hello = iter(encode_frame(Envelope(kind=Envelope.HELLO), bytes(100_000)))

    def is_sent_away() -> bool:
        with contextlib.suppress(OSError):
            sock.send(bytes([next(hello)]))
        return bool(world.told("it did not prove within"))

    world.until(is_sent_away)
    assert is_untouched(a)


def test_a_host_that_does_not_answer_is_given_up(
    world: World, a: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "HANDSHAKE_SECONDS", 0.1)
    with socket.create_server((world.host("b"), world.port)):
        world.until(lambda: world.told("it did not let us in within 0.1 s"))
    assert a.happened == []


def test_what_a_stranger_at_a_nodes_address_says_is_not_believed(world: World, a: Side) -> None:
    with socket.create_server((world.host("b"), world.port)) as listener:
        listener.settimeout(10)
        a.go_on()
        trap, _ = listener.accept()
        world.sockets.append(trap)
        failure = Failure(message="\x1b[2J" + "long " * 1000).SerializeToString()
        trap.sendall(encode_frame(Envelope(kind=Envelope.FAILURE), failure))
        trap.sendall(encode_frame(SCORE, b"score this"))
        world.until(lambda: world.told("it refuses us: ?[2Jlong "))
    assert len(world.told("it refuses us")[0]["why"]) < 600
    assert is_untouched(a)
