"""How a face talks to its router: a small asyncio client of the router's door.

One connection, many requests in flight, futures by correlation id. When the router dies, what was
in flight is sent again to the next one: scoring is pure, and questions are idempotent.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
import structlog

from repertory.actors.batch import (
    PROBE,
    RecordBatch,
    ScoredColumns,
    ScoredRecords,
    decode_columns,
    encode_records,
)
from repertory.actors.frames import PROTOCOL_VERSION, Frame, FrameReader, encode_frame
from repertory.errors import (
    DeadlineExceeded,
    InternalError,
    Overloaded,
    ProtocolError,
    RequestFailed,
    Unavailable,
    request_failure,
)
from repertory.protos.door_pb2 import Envelope, Failure, Hello, ScoredBatch, Welcome

Answerer = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]

_NOBODY = "nobody is at this door just now"

RECONNECT_SECONDS = 0.02  # a local socket: trying is cheap, and a dead router is back in 0.2 s

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Pending:
    envelope: Envelope
    payload: bytes
    deadline: float  # monotonic seconds
    future: asyncio.Future[Frame] = field(repr=False)


class RouterClient:
    """A connection to a router's door, which comes back by itself.

    `role` says what this process is (`http`, `streams`, `keeper`, `supervisor`). `answer` serves
    what the router asks of this process, if anything. Used within one event loop.

    Unless it `waits`, what is asked while there is no connection, or is in flight when it is lost,
    fails with Unavailable.
    """

    def __init__(
        self,
        door: Path,
        *,
        role: str,
        name: str = "",
        answer: Answerer | None = None,
        waits: bool = True,
    ) -> None:
        self._door = door
        self._waits = waits
        self._hello = Hello(
            protocol=PROTOCOL_VERSION, role=role, name=name or role, pid=os.getpid()
        ).SerializeToString()
        self._answer = answer
        self._pending: dict[int, _Pending] = {}
        self._numbers = itertools.count(1)
        self._in_flight: dict[str, int] = {}
        self._transport: asyncio.Transport | None = None
        self._runner: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._out: list[bytes] = []
        self._floors: dict[str, int] = {}
        self.welcome: Welcome | None = None
        self.connected = asyncio.Event()
        self.lost = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Start connecting, without waiting for it: requests wait by themselves."""
        return self.begin()

    def begin(self) -> Self:
        """Start connecting, where no `async with` can be; `__aexit__` ends it."""
        self._runner = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect; what is in flight fails with Unavailable."""
        if self._runner is not None:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
        self._give_up("this process is shutting down")

    @property
    def router_pid(self) -> int | None:
        """The router's process, as the kernel knows it; None while there is no connection."""
        if self._transport is None:
            return None
        peer: socket.socket = self._transport.get_extra_info("socket")
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[0])

    def in_flight(self, data_type: str) -> int:
        """Return how many batches of a data type are waiting for their reply."""
        return self._in_flight.get(data_type, 0)

    async def score(
        self, batch: RecordBatch, *, timeout: float, explain: bool = False
    ) -> ScoredRecords:
        """Have a batch scored: one outcome for each record, in order. Raises as `score_columns`."""
        scored = await self.score_columns(batch, timeout=timeout, explain=explain)
        return ScoredRecords(scored.model, scored.outcomes(), scored.policy)

    async def score_columns(
        self,
        batch: RecordBatch,
        *,
        timeout: float,
        explain: bool = False,
        probe: bool = False,
    ) -> ScoredColumns:
        """Have a batch scored, and return the outcomes by column.

        With `explain`, a policy's report holds what each slot said. A `probe`, of a serving actor's
        own door, does not count in its statistics.

        Raises a RequestFailed when the batch failed whole: UnknownDataType, NoModel, Overloaded
        (the credit for this data type is used up: nothing was sent), DeadlineExceeded after
        `timeout` seconds.
        """
        credit = self.welcome.credit if self.welcome else 1
        if (flying := self._in_flight.get(batch.data_type, 0)) >= max(credit, 1):
            raise Overloaded(f"{flying} batches of {batch.data_type!r} are in flight already")
        envelope = Envelope(
            kind=Envelope.SCORE,
            data_type=batch.data_type,
            count=len(batch.records),
            encoding=batch.encoding,
            explain=explain,
            slot=batch.slot,
            subject=PROBE if probe else "",
        )
        self._in_flight[batch.data_type] = flying + 1
        try:
            frame = await self._request(envelope, encode_records(batch.records), timeout)
        finally:
            self._in_flight[batch.data_type] -= 1
        if frame.envelope.kind != Envelope.SCORED:
            raise InternalError(f"a SCORE was answered by a frame of kind {frame.envelope.kind}")
        scored = ScoredBatch.FromString(frame.payload)
        return decode_columns(scored, len(batch.records), position=frame.envelope.position)

    async def ask(self, subject: str, *, timeout: float = 5.0, **data: Any) -> dict[str, Any]:
        """Ask the router a question. Raises a RequestFailed when there is no answer."""
        envelope = Envelope(
            kind=Envelope.ASK, subject=subject, data_type=str(data.get("data_type") or "")
        )
        frame = await self._request(envelope, orjson.dumps(data), timeout)
        answer: dict[str, Any] = orjson.loads(frame.payload)
        return answer

    def tell(self, subject: str, **data: Any) -> None:
        """Tell the router something that wants no answer; lost when there is no connection."""
        if self._transport is not None:
            envelope = Envelope(kind=Envelope.TELL, subject=subject)
            self._write(encode_frame(envelope, orjson.dumps(data)))

    def raise_floor(self, positions: Mapping[str, int]) -> None:
        """Have nothing scored by models of a lower journal position than these, by data type.

        The router is told, and any later one, too, before anything else.
        """
        higher = {
            name: position
            for name, position in positions.items()
            if position > self._floors.get(name, 0)
        }
        self._floors |= higher
        if higher and self.welcome is not None:
            self.tell("floor", positions=higher)

    async def _request(self, envelope: Envelope, payload: bytes, timeout: float) -> Frame:
        if self.welcome is None and not self._waits:
            raise Unavailable(_NOBODY)
        number = envelope.correlation_id = next(self._numbers)
        loop = asyncio.get_running_loop()
        pending = _Pending(envelope, payload, time.monotonic() + timeout, loop.create_future())
        self._pending[number] = pending
        timer = loop.call_later(timeout, _expire, pending.future)
        try:
            if self.welcome is not None:
                self._send(pending)
            frame = await pending.future
        finally:
            timer.cancel()
            del self._pending[number]
        if frame.envelope.kind == Envelope.FAILURE:
            failure = Failure.FromString(frame.payload)
            raise request_failure(failure.code, failure.message)
        return frame

    def _send(self, pending: _Pending) -> None:
        left = pending.deadline - time.monotonic()
        pending.envelope.budget_ms = max(1, int(left * 1000))
        self._write(encode_frame(pending.envelope, pending.payload))

    def _write(self, data: bytes) -> None:
        # Frames of one turn of the loop leave in one write.
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        data, self._out = b"".join(self._out), []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                transport, link = await loop.create_unix_connection(
                    lambda: _Link(self._arrived), str(self._door)
                )
            except OSError:
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            self._transport = transport
            self._write(encode_frame(Envelope(kind=Envelope.HELLO), self._hello))
            try:
                await link.closed
            finally:
                transport.abort()
                self._transport, self.welcome = None, None
                self._out.clear()
                self.connected.clear()
                self.lost.set()
                self._disconnected()

    def _disconnected(self) -> None:
        if not self._waits:
            self._give_up(_NOBODY)

    def _give_up(self, why: str) -> None:
        for pending in self._pending.values():
            if not pending.future.done():
                pending.future.set_exception(Unavailable(why))

    def _told(self, subject: str, payload: bytes) -> None:
        """Take what this process is told; it is for others to overrule."""

    def _arrived(self, frame: Frame) -> None:
        kind = frame.envelope.kind
        if kind == Envelope.WELCOME:
            self._welcomed(Welcome.FromString(frame.payload))
        elif kind == Envelope.TELL:
            self._told(frame.envelope.subject, frame.payload)
        elif kind == Envelope.ASK:
            task = asyncio.get_running_loop().create_task(self._reply(frame))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        else:
            pending = self._pending.get(frame.envelope.correlation_id)
            # A late first answer to what was sent twice finds nobody, and is ignored.
            if pending is not None and not pending.future.done():
                pending.future.set_result(frame)

    def _welcomed(self, welcome: Welcome) -> None:
        self.welcome = welcome
        self.lost.clear()
        self.connected.set()
        if self._floors:
            self.tell("floor", positions=self._floors)
        for pending in self._pending.values():
            if not pending.future.done():
                self._send(pending)

    async def _reply(self, frame: Frame) -> None:
        question = frame.envelope
        reply = Envelope(kind=Envelope.ANSWER, correlation_id=question.correlation_id)
        try:
            if self._answer is None:
                raise InternalError(f"nobody here answers {question.subject!r}")
            payload = orjson.dumps(
                await self._answer(question.subject, orjson.loads(frame.payload))
            )
        except Exception as error:  # the border of a request; the asker is told
            if not isinstance(error, RequestFailed):
                log.exception("a question failed", subject=question.subject)
                error = InternalError(f"{type(error).__name__}: {error}")
            reply.kind = Envelope.FAILURE
            payload = Failure(code=error.code, message=str(error)).SerializeToString()
        if self._transport is not None:
            self._write(encode_frame(reply, payload))


def _expire(future: asyncio.Future[Frame]) -> None:
    if not future.done():
        future.set_exception(DeadlineExceeded("no answer came within the time allowed"))


class _Link(asyncio.Protocol):
    def __init__(self, arrived: Callable[[Frame], None]) -> None:
        self._arrived = arrived
        self._reader = FrameReader()
        self._transport: asyncio.BaseTransport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._arrived(frame)
        except ProtocolError as error:
            log.error("the router speaks garbage", error=str(error))
            assert isinstance(self._transport, asyncio.Transport)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
