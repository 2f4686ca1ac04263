"""Wrong frames at the doors: those of a host, and the one between hosts, before and after the proof."""

import contextlib
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
from benchmarks.fuzz_mutations import Mutator

from repertory.actors.agreement import agreement
from repertory.actors.batch import JSON, encode_records
from repertory.actors.frames import PROTOCOL_VERSION, FrameReader, encode_frame
from repertory.actors.handshake import Caller, Identity
from repertory.config import ClusterConfig
from repertory.protos.door_pb2 import Envelope, Hello, ScoredBatch

# What is answered comes at once; silence is allowed, too.
_LISTEN_SECONDS = 0.01
_SECONDS = 10.0
_QUESTIONS = ("status", "models", "state", "versions", "cluster", "processors", "policy", "nothing")
_SAYINGS = ("status", "metrics", "adopt", "verdict", "gone", "nothing")


def frames(mutator: Mutator, wine: dict[str, float]) -> Sequence[tuple[Envelope, bytes]]:
    """Return frames that are as they should be, or whose parts are wrong, each by itself."""
    record = orjson.dumps(wine)
    hello = Hello(protocol=PROTOCOL_VERSION, role="http", name="fuzz", pid=1).SerializeToString()
    scored = ScoredBatch(model_name="m", model_version=1, values=b"\0" * 16).SerializeToString()
    number = mutator.random.getrandbits(mutator.random.choice((4, 64)))
    score = Envelope(
        kind=Envelope.SCORE, data_type="wine", count=2, encoding=JSON, correlation_id=number
    )
    said = mutator.random.choice(_SAYINGS)
    found = [
        (Envelope(kind=Envelope.HELLO), hello),
        (score, encode_records([record, record])),
        (
            Envelope(
                kind=Envelope.ASK,
                subject=mutator.random.choice(_QUESTIONS),
                data_type="wine",
                correlation_id=number,
            ),
            mutator.document({"data_type": "wine", "slot": None, "local": True, "merging": True}),
        ),
        (
            Envelope(kind=Envelope.TELL, subject=said),
            mutator.document(
                {"url": "http://x", "exposition": "a 1\n", "ready": {}, "workers": [], "pid": 1}
            ),
        ),
        (Envelope(kind=Envelope.SCORED, correlation_id=number), scored),
        (Envelope(kind=Envelope.ANSWER, correlation_id=number), b"{}"),
        (Envelope(kind=Envelope.FAILURE, correlation_id=number), b"\x0a\x01x"),
        (Envelope(kind=Envelope.WELCOME), b""),
        (Envelope(kind=Envelope.CHALLENGE), b""),
    ]
    chosen = mutator.random.choices(found, k=mutator.random.randrange(1, 6))
    return [(envelope, _wrong(mutator, payload)) for envelope, payload in chosen]


def _wrong(mutator: Mutator, data: bytes) -> bytes:
    return mutator.bytes(data) if mutator.random.random() < 0.5 else data


def stream(mutator: Mutator, wine: dict[str, float]) -> bytes:
    """Return what is sent over one connection."""
    data = b"".join(encode_frame(*each) for each in frames(mutator, wine))
    return _wrong(mutator, data)


def at_unix_door(mutator: Mutator, door: Path, wine: dict[str, float]) -> bytes:
    """Come in at a door of this host; return what was sent. Raises OSError when nobody is there."""
    sent = stream(mutator, wine)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_SECONDS)
        sock.connect(str(door))
        _say(sock, sent)
    return sent


def at_tcp_door(mutator: Mutator, address: tuple[str, int], wine: dict[str, float]) -> bytes:
    """Come in from another host without a proof; return what was sent."""
    sent = stream(mutator, wine)
    if mutator.random.random() < 0.5:
        hello = Hello(protocol=2, role="peer", name="b", nonce=b"n" * 32, proof=b"p" * 32)
        told = mutator.bytes(hello.SerializeToString())
        sent = encode_frame(Envelope(kind=Envelope.HELLO), told) + sent
    with socket.create_connection(address, _SECONDS) as sock:
        _say(sock, sent)
    return sent


def as_peer(mutator: Mutator, config: ClusterConfig, wine: dict[str, float]) -> bytes:
    """Come in as node b, which knows the secret, and then talk nonsense; return what was sent."""
    own, node = _identity(config), config.nodes["a"]
    caller, reader = Caller(own, "a"), FrameReader()
    sent = stream(mutator, wine)
    if mutator.random.random() < 0.3:
        beat = {"node": "b", "incarnation": own.incarnation, "ready": {}, "out": {}, "about": {}}
        tell = Envelope(kind=Envelope.TELL, subject="beat")
        sent = encode_frame(tell, mutator.document(beat)) + sent
    with socket.create_connection((node.host, node.door_port), _SECONDS) as sock:
        challenge = _next(sock, reader)
        sock.sendall(encode_frame(Envelope(kind=Envelope.HELLO), caller.hello(challenge)))
        caller.welcomed(_next(sock, reader))
        _say(sock, sent)
    return sent


def _identity(config: ClusterConfig) -> Identity:
    assert config.cluster.secret is not None
    secret = config.cluster.secret.get_secret_value().encode()
    incarnation = f"fuzz-{time.monotonic_ns()}"
    return Identity(
        "b", incarnation, "fuzz", secret, frozenset(config.nodes), agreement(config, secret)
    )


def _next(sock: socket.socket, reader: FrameReader) -> bytes:
    while data := sock.recv(65536):
        for frame in list(reader.feed(data)):
            return frame.payload
    raise ConnectionError("closed by the node")


def _say(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(data)
        sock.settimeout(_LISTEN_SECONDS)
        with contextlib.suppress(TimeoutError):
            while sock.recv(65536):
                pass
