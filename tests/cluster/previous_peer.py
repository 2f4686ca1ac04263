"""A node that speaks the previous version of the protocol between routers, and nothing newer.

Its code is its own, but for handshake and frames, which have not changed since. So nothing that
becomes of ours becomes of it.
"""

import asyncio
import contextlib
import itertools
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Self

import orjson

from repertory.actors.agreement import agreement
from repertory.actors.frames import Frame, FrameReader, encode_frame
from repertory.actors.handshake import Acquaintance, Caller, Identity, Keeper, Refused
from repertory.config import ClusterConfig
from repertory.protos.door_pb2 import Envelope, Failure, Hello, ScoredBatch

PREVIOUS = 1  # what repertory.actors.handshake says that this is without, it is without
SOFTWARE = "0.0.9"
BEAT_SECONDS = 0.3
SECONDS = 20.0  # for whatever is waited for


class Stream:
    """A connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._cutter = FrameReader()

    def send(self, envelope: Envelope, payload: bytes = b"") -> None:
        self._writer.write(encode_frame(envelope, payload))

    async def frames(self) -> AsyncIterator[Frame]:
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(65536):
                for frame in self._cutter.feed(data):
                    yield frame

    def close(self) -> None:
        self._writer.close()


class PreviousPeer:
    """Node `b` for node `a`: it serves `ready`, and answers with the value `answer`.

    `beats` are those that it was sent, as they were written; `scored` the records that it scored.
    With `protocol` it speaks another version than the previous one.
    """

    def __init__(
        self, config: ClusterConfig, ready: dict[str, int], *, protocol: int = PREVIOUS
    ) -> None:
        assert config.cluster.secret is not None
        secret = config.cluster.secret.get_secret_value().encode()
        self._config = config
        self._identity = Identity(
            node="b",
            incarnation=f"b speaks {protocol}",
            software=SOFTWARE,
            secret=secret,
            nodes=frozenset(config.nodes),
            agreement=agreement(config, secret),
            newest=protocol,
            oldest=protocol,
        )
        self._ready = ready
        self.answer = 5.5
        self.beats: list[dict[str, Any]] = []
        self.scored = 0
        self.met: asyncio.Future[Acquaintance] = asyncio.get_running_loop().create_future()
        self._numbers = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Frame]] = {}
        self._visitors: list[Stream] = []

    async def __aenter__(self) -> Self:
        """Open the door, and call at node a's."""
        own = self._config.nodes["b"]
        self._server = await asyncio.start_server(self._receive, own.host, own.door_port)
        a = self._config.nodes["a"]
        self._link = Stream(*await asyncio.open_connection(a.host, a.door_port))
        self._calling = asyncio.create_task(self._call())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Say farewell, and be gone."""
        self._tell("gone", {})
        for stream in (self._link, *self._visitors):
            stream.close()
        self._server.close()
        self._calling.cancel()
        await asyncio.gather(self._calling, return_exceptions=True)

    async def score(self, data_type: str, record: bytes) -> Frame:
        """Have node a score a record, and return its reply."""
        number = next(self._numbers)
        self._replies[number] = asyncio.get_running_loop().create_future()
        envelope = Envelope(
            kind=Envelope.SCORE,
            correlation_id=number,
            data_type=data_type,
            count=1,
            budget_ms=int(SECONDS * 1000),
            forwarded=True,
        )
        self._link.send(envelope, struct.pack("<I", len(record)) + record)
        async with asyncio.timeout(SECONDS):
            return await self._replies[number]

    # --- our link to node a

    async def _call(self) -> None:
        # What is checked at our side is not what is tested: node a is to refuse us.
        caller, beating = Caller(replace(self._identity, oldest=PREVIOUS), "a"), None
        try:
            async for envelope, payload in self._link.frames():
                match envelope.kind:
                    case Envelope.CHALLENGE:
                        hello = self._hello(caller.hello(payload))
                        self._link.send(Envelope(kind=Envelope.HELLO), hello)
                    case Envelope.WELCOME:
                        self.met.set_result(caller.welcomed(payload))
                        beating = asyncio.create_task(self._beat())
                    case Envelope.FAILURE if not self.met.done():
                        self.met.set_exception(Refused(Failure.FromString(payload).message))
                    case _:
                        self._replies[envelope.correlation_id].set_result(Frame(envelope, payload))
        except Refused as error:
            self.met.set_exception(error)
        finally:
            if beating is not None:
                beating.cancel()

    def _hello(self, payload: bytes) -> bytes:
        hello = Hello.FromString(payload)
        hello.oldest_protocol = self._identity.oldest
        return hello.SerializeToString()

    async def _beat(self) -> None:
        about = {"software": SOFTWARE, "started": 1, "protocol": PREVIOUS}
        told = {"node": "b", "incarnation": self._identity.incarnation, "leaving": False}
        while True:
            self._tell("beat", {**told, "ready": self._ready, "out": {}, "about": about})
            await asyncio.sleep(BEAT_SECONDS)

    def _tell(self, subject: str, data: dict[str, Any]) -> None:
        self._link.send(Envelope(kind=Envelope.TELL, subject=subject), orjson.dumps(data))

    # --- node a at our door

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream, keeper = Stream(reader, writer), Keeper(self._identity)
        self._visitors.append(stream)
        stream.send(Envelope(kind=Envelope.CHALLENGE), keeper.challenge())
        async for envelope, payload in stream.frames():
            match envelope.kind:
                case Envelope.HELLO:
                    try:
                        stream.send(Envelope(kind=Envelope.WELCOME), keeper.welcome(payload)[1])
                    except Refused as error:
                        self._fail(stream, Envelope(), "rejected", str(error))
                        break
                case Envelope.TELL if envelope.subject == "beat":
                    self.beats.append(orjson.loads(payload))
                case Envelope.SCORE:
                    self._score(stream, envelope)
                case Envelope.ASK:
                    self._fail(stream, envelope, "unavailable", "of another version")
        stream.close()

    def _fail(self, stream: Stream, asked: Envelope, code: str, why: str) -> None:
        reply = Envelope(kind=Envelope.FAILURE, correlation_id=asked.correlation_id)
        stream.send(reply, Failure(code=code, message=why).SerializeToString())

    def _score(self, stream: Stream, envelope: Envelope) -> None:
        self.scored += envelope.count
        scored = ScoredBatch(
            model_name="previous",
            model_version=self._ready[envelope.data_type],
            model_sha256="0" * 64,
            values=struct.pack("<d", self.answer) * envelope.count,
        )
        reply = Envelope(kind=Envelope.SCORED, correlation_id=envelope.correlation_id)
        stream.send(reply, scored.SerializeToString())
