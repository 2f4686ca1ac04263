"""A lane writes in the order in which records came, and never an older model's scores after newer."""

import asyncio
from collections.abc import Sequence

import numpy as np

from repertory.actors.batch import ModelRef, ScoredColumns
from repertory.streams.batcher import Batcher
from repertory.streams.claims import Claim
from repertory.streams.lane import Lane
from repertory.streams.record import Record
from repertory.streams.results import Scored


class Scorer:
    """Answers batches when it is told to, by the model of the moment."""

    def __init__(self) -> None:
        self.position = 7
        self.asked: list[int] = []  # first offsets
        self.answers: dict[int, asyncio.Event] = {}

    async def score(self, records: list[Record]) -> list[Scored]:
        first = records[0].offset
        self.asked.append(first)
        position = self.position
        if (answer := self.answers.get(first)) is not None:
            await answer.wait()
            position = self.position  # it was swapped meanwhile
        ref = ModelRef("m", position, "0" * 64)
        values = np.zeros(len(records))
        columns = ScoredColumns(
            ref, len(records), values, (), None, None, {}, 0.0, 0.0, position=position
        )
        return [Scored("wine", records, columns, {}, 0)]


class Sink:
    """Keeps what is written."""

    outstanding = 0

    def __init__(self) -> None:
        self.written: list[tuple[int, int]] = []  # offset, position
        self.something = asyncio.Event()

    async def begin(self) -> None: ...

    async def ready_for(self, pieces: Sequence[Scored]) -> None: ...

    def write(self, stream: str, pieces: Sequence[Scored]) -> None:
        for piece in pieces:
            assert piece.columns is not None
            self.written += [(each.offset, piece.columns.position) for each in piece.records]
        self.something.set()

    async def run(self) -> None: ...

    async def close(self) -> None: ...


async def test_what_an_older_model_scored_is_scored_again_when_a_newer_one_is_written_before_it() -> (
    None
):
    scorer, sink = Scorer(), Sink()
    scorer.answers[0] = asyncio.Event()
    lane = Lane("wine", Batcher(1, 0), scorer, sink, in_flight=2)
    running = asyncio.create_task(lane.run())
    claim = Claim("t", 0)
    lane.put([Record(claim, offset, None, b"", 0, 0) for offset in range(2)])
    while scorer.asked != [0, 1]:  # the second is scored by the old model, at once
        await asyncio.sleep(0)
    scorer.position = 9
    scorer.answers[0].set()  # the first by the new one
    while len(sink.written) < 2:
        async with asyncio.timeout(5):
            await sink.something.wait()
        sink.something.clear()
    running.cancel()
    assert sink.written == [(0, 9), (1, 9)]
    assert scorer.asked == [0, 1, 1]
