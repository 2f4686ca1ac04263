"""Having records scored whatever happens, at a door that does what the test says."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from repertory.actors.batch import decode_records
from repertory.actors.client import RouterClient
from repertory.actors.frames import Frame, FrameReader, encode_frame
from repertory.errors import FailureCode
from repertory.protos.door_pb2 import Envelope, Failure, ScoredBatch, Welcome
from repertory.streams.claims import Claim
from repertory.streams.record import Record
from repertory.streams.results import Scored
from repertory.streams.scorer import Scorer
from repertory.streams.telemetry import StreamTelemetry

Judge = Callable[[Sequence[bytes]], FailureCode | None]  # why a batch fails; None: it does not


class Door:
    """A router's door. A batch's outcome is the number that each of its records is the text of."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.batches: list[list[bytes]] = []
        self.explained: list[bool] = []
        """Whether it was asked, batch by batch, what each slot says."""
        self.unanswered = 0
        """For so many batches, no slot has an answer to the first record in time."""
        self.there = 0
        """Batches that are being scored."""
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def open_at(self, path: Path) -> AsyncIterator[None]:
        """Listen, and hang up in the end."""
        server = await asyncio.start_unix_server(self._serve, path)
        yield
        server.close()
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        frames = FrameReader()
        while data := await reader.read(65536):
            for frame in frames.feed(data):
                self._tasks.append(asyncio.create_task(self._answer(frame, writer)))

    async def _answer(self, frame: Frame, writer: asyncio.StreamWriter) -> None:
        kind, number = frame.envelope.kind, frame.envelope.correlation_id
        if kind == Envelope.HELLO:
            reply = Envelope(kind=Envelope.WELCOME)
            writer.write(encode_frame(reply, Welcome(credit=64).SerializeToString()))
            return
        records = decode_records(frame.payload, frame.envelope.count)
        self.batches.append(records)
        self.explained.append(frame.envelope.explain)
        self.there += 1
        await asyncio.sleep(0.001)  # others may come meanwhile
        writer.write(self._reply(number, records))
        self.there -= 1

    def _reply(self, number: int, records: Sequence[bytes]) -> bytes:
        if (code := self._judge(records)) is not None:
            envelope = Envelope(kind=Envelope.FAILURE, correlation_id=number)
            return encode_frame(envelope, Failure(code=code, message=code).SerializeToString())
        scored = ScoredBatch(model_name="m", model_version=1)
        scored.values = struct.pack(f"<{len(records)}d", *map(float, records))
        if self.unanswered:
            self.unanswered -= 1
            scored.failures.add(index=0, code=FailureCode.DEADLINE_EXCEEDED, message="late")
        envelope = Envelope(kind=Envelope.SCORED, correlation_id=number)
        return encode_frame(envelope, scored.SerializeToString())


def scorer_of(client: RouterClient, **more: Any) -> Scorer:
    """Return a scorer of wines."""
    telemetry = StreamTelemetry()
    return Scorer(client, "wine", value_format="protobuf", deadline=5, telemetry=telemetry, **more)


@asynccontextmanager
async def scorer_at(door: Door, folder: Path, **more: Any) -> AsyncIterator[Scorer]:
    """Connect a scorer to a door."""
    path = folder / "door.sock"
    async with door.open_at(path), RouterClient(path, role="test") as client:
        async with asyncio.timeout(5):
            await client.connected.wait()
        yield scorer_of(client, **more)


def records(*numbers: int) -> list[Record]:
    claim = Claim("t", 0)
    return [Record(claim, number, None, str(number).encode(), 0, 0) for number in numbers]


async def outcomes(scorer: Scorer, batch: list[Record]) -> list[float | str]:
    """Score, and return values, and the codes of failures."""
    pieces = await scorer.score(batch)
    assert [record for piece in pieces for record in piece.records] == batch
    return [outcome for piece in pieces for outcome in of_piece(piece)]


def of_piece(piece: Scored) -> list[float | str]:
    """Return the values of a piece, and the codes of failures."""
    if piece.columns is None:
        return [piece.failures[index].code for index in range(len(piece.records))]
    assert piece.columns.values is not None
    return cast(list[float | str], piece.columns.values.tolist())


@pytest.mark.parametrize(
    "code",
    [
        FailureCode.NO_MODEL,
        FailureCode.OVERLOADED,
        FailureCode.UNAVAILABLE,
        FailureCode.UNKNOWN_DATA_TYPE,
        FailureCode.DEADLINE_EXCEEDED,
    ],
)
async def test_what_cannot_be_answered_now_is_asked_again(
    tmp_path: Path, code: FailureCode
) -> None:
    failures = iter([code, code])
    door = Door(lambda _: next(failures, None))
    async with scorer_at(door, tmp_path) as scorer:
        assert await outcomes(scorer, records(1)) == [1]
        assert door.batches == [[b"1"]] * 3
        assert scorer.waiting_for is None


async def test_a_batch_that_takes_too_long_is_halved(tmp_path: Path) -> None:
    door = Door(lambda batch: FailureCode.DEADLINE_EXCEEDED if len(batch) > 2 else None)
    async with scorer_at(door, tmp_path) as scorer:
        assert await outcomes(scorer, records(1, 2, 3, 4, 5)) == [1, 2, 3, 4, 5]


async def test_records_that_no_slot_answered_in_time_are_asked_for_again(tmp_path: Path) -> None:
    door = Door(lambda _: None)
    door.unanswered = 2
    async with scorer_at(door, tmp_path) as scorer:
        pieces = await scorer.score(records(1, 2))
        assert [dict(piece.failures) for piece in pieces] == [{}, {}]
        assert door.batches == [[b"1", b"2"], [b"1"], [b"1"], [b"2"]]


@pytest.mark.parametrize("explain", [False, True])
async def test_what_each_slot_says_is_asked_if_that_is_wanted(
    tmp_path: Path, explain: bool
) -> None:
    door = Door(lambda _: None)
    async with scorer_at(door, tmp_path, explain=explain) as scorer:
        await scorer.score(records(1))
    assert door.explained == [explain]


async def test_a_record_that_kills_its_actor_fails_alone(tmp_path: Path) -> None:
    door = Door(lambda batch: FailureCode.INTERNAL if b"3" in batch else None)
    async with scorer_at(door, tmp_path) as scorer:
        found = await outcomes(scorer, records(1, 2, 3, 4))
    assert found == [1, 2, FailureCode.INTERNAL, 4]


async def test_a_suspect_is_scored_while_nothing_else_is_under_way(tmp_path: Path) -> None:
    """Else the innocent would die with the culprit, and be taken for it."""
    at_once = []

    def judge(batch: Sequence[bytes]) -> FailureCode | None:
        if len(batch) == 1:
            at_once.append(door.there)
        return FailureCode.INTERNAL if b"0" in batch else None

    door = Door(judge)
    async with scorer_at(door, tmp_path) as scorer:
        batches = [records(10 * n, 10 * n + 1, 10 * n + 2) for n in range(4)]
        found = await asyncio.gather(*(outcomes(scorer, batch) for batch in batches))
    assert at_once == [1, 1, 1]
    assert [each for batch in found for each in batch if isinstance(each, str)] == ["internal"]


async def test_records_wait_for_a_router_that_is_not_there(tmp_path: Path) -> None:
    door = Door(lambda _: None)
    async with RouterClient(tmp_path / "door.sock", role="test") as client:
        scorer = scorer_of(client)
        scoring = asyncio.create_task(outcomes(scorer, records(1)))
        await asyncio.sleep(0)
        async with door.open_at(tmp_path / "door.sock"):
            async with asyncio.timeout(10):
                assert await scoring == [1]
