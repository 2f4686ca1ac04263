"""A hub talks to those of other hosts over real TCP and TLS, and strangers can do little."""

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from repertory.actors import hub as hub_module
from repertory.actors import strangers as strangers_module
from repertory.actors import tcp as tcp_module
from repertory.actors.frames import Frame, encode_frame
from repertory.actors.hub import Arrived, Closed, Connected, Event, Hub, Opened
from repertory.actors.tls import TlsContexts
from repertory.certificates import CertificateSet, make_certificates
from repertory.config import Tls
from repertory.protos.door_pb2 import Envelope

SCORE = Envelope(kind=Envelope.SCORE, data_type="wine")
HOST = "127.0.0.2"


class Pair:
    """Two hubs, the door of one of them, and what happened so far at both."""

    def __init__(
        self, server: TlsContexts | None = None, client: TlsContexts | None = None
    ) -> None:
        self.server, self.client = Hub(), Hub()
        self.server.listen_tcp(HOST, 0, tls=server.server if server else None)
        self.contexts = client
        self.events: dict[Hub, list[Event]] = {self.server: [], self.client: []}
        self.sockets: list[socket.socket] = []

    def connect(self, name: str | None = None) -> int:
        tls = self.contexts.client if self.contexts else None
        return self.client.connect_tcp(HOST, self.server.tcp_address[1], tls=tls, server_name=name)

    def plain(self) -> socket.socket:
        sock = socket.create_connection((HOST, self.server.tcp_address[1]), timeout=10)
        self.sockets.append(sock)
        return sock

    def until(self, hub: Hub, kind: type[Event], count: int = 1) -> list[Event]:
        """Let both go on until `count` events of a kind came at one; return all of these."""
        for _ in range(10_000):
            found = [event for event in self.events[hub] if isinstance(event, kind)]
            if len(found) >= count:
                return found
            for each in (self.server, self.client):
                each.flush()
                self.events[each] += each.poll(0.001)
        raise AssertionError(f"{kind.__name__} does not come: {self.events!r:.500}")

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.server.close()
        self.client.close()


MakePair = Callable[..., Pair]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateSet:
    files = CertificateSet(tmp_path_factory.mktemp("certs"))
    list(make_certificates(files, {"a": HOST, "b": HOST}, days=1))
    return files


def contexts(files: CertificateSet, node: str) -> TlsContexts:
    certificate, key = files.certificate("{node}"), files.key("{node}")
    return TlsContexts(Tls(certificate=certificate, key=key, authority=files.authority), node)


@pytest.fixture
def pair_of() -> Iterator[MakePair]:
    pairs: list[Pair] = []

    def make(*tls: TlsContexts) -> Pair:
        pairs.append(Pair(*tls))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


@pytest.fixture(params=["tcp", "tls"])
def pair(request: pytest.FixtureRequest, pair_of: MakePair, certificates: CertificateSet) -> Pair:
    if request.param == "tcp":
        return pair_of()
    return pair_of(contexts(certificates, "a"), contexts(certificates, "b"))


def meet(pair: Pair) -> tuple[int, int]:
    """Connect; return the numbers of the client at the server, and the other way round."""
    peer = pair.connect("a" if pair.contexts else None)
    assert pair.until(pair.client, Opened) == [Opened(peer)]
    return pair.until(pair.server, Connected)[0].peer, peer


def test_frames_go_both_ways(pair: Pair) -> None:
    guest, host = meet(pair)
    pair.client.send(host, SCORE, b"question")
    assert pair.until(pair.server, Arrived) == [Arrived(guest, Frame(SCORE, b"question"))]
    pair.server.send(guest, SCORE, b"answer")
    assert pair.until(pair.client, Arrived) == [Arrived(host, Frame(SCORE, b"answer"))]


def test_who_comes_in_is_told_with_its_address(pair: Pair) -> None:
    meet(pair)
    [connected] = pair.until(pair.server, Connected)
    assert isinstance(connected, Connected)
    assert connected.remote is not None
    assert connected.remote.startswith("127.0.0.")


def test_what_is_sent_before_it_is_open_follows_when_it_is(pair: Pair) -> None:
    peer = pair.connect()
    pair.client.send(peer, SCORE, b"early")
    pair.client.flush()
    assert len(pair.until(pair.server, Arrived)) == 1


def test_large_frames_go_both_ways_at_once(pair: Pair) -> None:
    guest, host = meet(pair)
    pair.server.trust(guest)
    pair.client.trust(host)
    payload = os.urandom(20_000_000)
    pair.client.send(host, SCORE, payload)
    pair.server.send(guest, SCORE, payload)
    assert pair.until(pair.server, Arrived) == [Arrived(guest, Frame(SCORE, payload))]
    assert pair.until(pair.client, Arrived) == [Arrived(host, Frame(SCORE, payload))]


def test_many_small_frames_arrive_in_order(pair: Pair) -> None:
    guest, host = meet(pair)
    for number in range(5000):
        pair.client.send(host, Envelope(correlation_id=number), bytes(number % 100))
    found = pair.until(pair.server, Arrived, 5000)
    numbers = [event.frame.envelope.correlation_id for event in found if isinstance(event, Arrived)]
    assert numbers == list(range(5000))
    assert {event.peer for event in found} == {guest}


def test_a_stranger_may_send_no_large_frame(pair: Pair) -> None:
    guest, host = meet(pair)
    pair.client.send(host, SCORE, bytes(tcp_module.STRANGER_FRAME_LIMIT))
    [closed] = pair.until(pair.server, Closed)
    assert isinstance(closed, Closed)
    assert closed.peer == guest
    assert "a frame of 10485" in closed.reason


def test_a_peer_that_takes_no_answers_is_not_read_from(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "OUTBOX_LIMIT", 1_000_000)
    guest, host = meet(pair)
    pair.server.send(guest, SCORE, bytes(20_000_000))
    pair.server.flush()
    pair.client.send(host, SCORE, b"question")
    pair.client.flush()
    assert pair.server.poll(0.1) == []
    pair.client.trust(host)
    assert len(pair.until(pair.server, Arrived)) == 1


def test_who_asked_reads_answers_even_if_its_questions_pile_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "OUTBOX_LIMIT", 1_000_000)
    guest, host = meet(pair)
    pair.client.send(host, SCORE, bytes(20_000_000))
    pair.client.flush()
    pair.server.send(guest, SCORE, b"answer")
    pair.server.flush()
    assert pair.client.poll(5) == [Arrived(host, Frame(SCORE, b"answer"))]


def test_both_are_told_when_one_closes(pair: Pair) -> None:
    guest, host = meet(pair)
    pair.server.disconnect(guest, "enough")
    assert pair.until(pair.server, Closed) == [Closed(guest, "enough")]
    assert pair.until(pair.client, Closed) == [Closed(host, "closed by the peer")]


def test_closing_outside_of_poll_makes_the_hub_readable(pair: Pair) -> None:
    guest, _ = meet(pair)
    pair.server.disconnect(guest, "enough")
    assert pair.server.poll(10) == [Closed(guest, "enough")]


def test_the_process_of_another_host_is_not_known(pair: Pair) -> None:
    guest, host = meet(pair)
    assert pair.server.pid(guest) is None
    assert pair.client.pid(host) is None


def test_connecting_where_nobody_listens_is_told(pair: Pair) -> None:
    port = pair.server.tcp_address[1]
    pair.server.close()
    pair.server = Hub()
    pair.events = {pair.server: [], pair.client: []}
    peer = pair.client.connect_tcp(HOST, port)
    assert pair.until(pair.client, Closed) == [Closed(peer, "Connection refused")]


def test_connecting_to_what_is_no_address_is_told() -> None:
    hub = Hub()
    try:
        peer = hub.connect_tcp("255.255.255.255", 1)
        [closed] = hub.poll(10)
        assert isinstance(closed, Closed)
        assert closed.peer == peer
    finally:
        hub.close()


def test_a_door_is_at_its_address_only(pair: Pair) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", pair.server.tcp_address[1]), timeout=10)


def test_a_port_that_is_taken_is_told(pair: Pair) -> None:
    other = Hub()
    with pytest.raises(OSError, match="in use"):
        other.listen_tcp(HOST, pair.server.tcp_address[1])
    other.close()


def test_a_connection_comes_from_the_address_that_is_asked_for(pair_of: MakePair) -> None:
    pair = pair_of()
    pair.client.connect_tcp(HOST, pair.server.tcp_address[1], source="127.0.0.3")
    [connected] = pair.until(pair.server, Connected)
    assert isinstance(connected, Connected)
    assert str(connected.remote).startswith("127.0.0.3:")


# --- strangers


def test_who_does_not_prove_himself_is_sent_away_in_time(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers_module, "STRANGER_SECONDS", 0.1)
    sock = pair.plain()
    with capture_logs() as logs:
        for _ in range(100):
            pair.server.poll(0.05)
            if is_over(sock):
                break
    assert is_over(sock)
    told = [each["why"] for each in logs]
    assert told == (["it did not prove within 5 s who it is"] if pair.contexts else [])


def is_over(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(100) == b""
    except BlockingIOError:
        return False


def test_whoever_is_trusted_may_stay(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers_module, "STRANGER_SECONDS", 0.1)
    guest, _ = meet(pair)
    pair.server.trust(guest)
    pair.plain()
    assert not [each for each in poll_for(pair.server, 0.3) if each == guest]


def poll_for(hub: Hub, seconds: float) -> list[int]:
    closed: list[int] = []
    for _ in range(3):
        closed += [each.peer for each in hub.poll(seconds / 3) if isinstance(each, Closed)]
    return closed


def test_of_too_many_strangers_the_oldest_goes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers_module, "STRANGERS", 3)
    guest, _ = meet(pair)
    pair.server.trust(guest)
    socks = [pair.plain() for _ in range(5)]
    for _ in range(10):
        pair.server.poll(0.01)
    assert [is_over(sock) for sock in socks] == [True, True, False, False, False]


# --- TLS


@pytest.fixture
def secured(pair_of: MakePair, certificates: CertificateSet) -> Pair:
    return pair_of(contexts(certificates, "a"), contexts(certificates, "b"))


def test_a_peer_is_known_by_its_certificate(secured: Pair) -> None:
    guest, host = meet(secured)
    assert secured.server.certified(guest) == frozenset({"b"})
    assert secured.client.certified(host) == frozenset({"a"})


def test_a_server_with_another_name_is_refused(secured: Pair) -> None:
    peer = secured.connect("b")
    assert secured.until(secured.client, Closed) == [
        Closed(peer, "its certificate is a's, not b's")
    ]


def test_a_certificate_of_another_authority_is_refused_by_both(
    pair_of: MakePair, certificates: CertificateSet, tmp_path: Path
) -> None:
    foreign = CertificateSet(tmp_path)
    list(make_certificates(foreign, {"b": HOST}, days=1))
    pair = pair_of(contexts(certificates, "a"), contexts(foreign, "b"))
    with capture_logs() as logs:
        pair.connect("a")
        [closed] = pair.until(pair.client, Closed)
        for _ in range(3):
            pair.server.poll(0.01)
    assert isinstance(closed, Closed)
    assert "its certificate is refused: " in closed.reason
    assert [each["who"] for each in logs] == ["127.0.0.1"]
    assert pair.events[pair.server] == []


def test_who_has_no_certificate_is_refused_and_told_of_once(secured: Pair) -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    with capture_logs() as logs:
        for _ in range(2):
            peer = secured.client.connect_tcp(HOST, secured.server.tcp_address[1], tls=bare)
            secured.until(secured.client, Opened)
            secured.until(secured.client, Closed)
            assert secured.events[secured.client] == [
                Opened(peer),
                Closed(peer, "TLS failed: tlsv13 alert certificate required"),
            ]
            secured.events[secured.client].clear()
    assert [(each["who"], each["why"]) for each in logs] == [
        ("127.0.0.1", "TLS failed: peer did not return a certificate")
    ]
    assert secured.events[secured.server] == []


@pytest.mark.parametrize("data", [encode_frame(SCORE, b"plain"), b"GET / HTTP/1.1\r\n\r\n"])
def test_who_speaks_no_tls_is_refused(secured: Pair, data: bytes) -> None:
    sock = secured.plain()
    sock.sendall(data)
    with capture_logs() as logs:
        for _ in range(3):
            assert secured.server.poll(0.05) == []
    assert len(logs) == 1
    assert "TLS failed" in logs[0]["why"]


def test_a_door_without_tls_is_none_for_who_speaks_it(
    pair_of: MakePair, certificates: CertificateSet
) -> None:
    pair = pair_of()
    pair.contexts = contexts(certificates, "b")
    peer = pair.connect("a")
    [closed] = pair.until(pair.server, Closed)
    assert isinstance(closed, Closed)
    assert "a frame of" in closed.reason
    assert pair.until(pair.client, Closed)[0].peer == peer
