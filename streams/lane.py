"""One stream's way through the face: queue, batches in flight, results in order."""

import asyncio
from collections.abc import Collection, Sequence

from repertory.streams.batcher import Batcher
from repertory.streams.claims import Claim
from repertory.streams.record import Record
from repertory.streams.results import Scored
from repertory.streams.routing import BatchScorer
from repertory.streams.sink import Sink


class Lane:
    """Takes the records of one stream, and writes what became of them in the order they came.

    A stream is that of a data type, or that of the mixed topics. Lanes know nothing of each other:
    a slow one holds up its own partitions only.
    """

    def __init__(
        self, stream: str, queue: Batcher, scorer: BatchScorer, sink: Sink, *, in_flight: int
    ) -> None:
        self.stream = stream
        self._scorer = scorer
        self._sink = sink
        self._queue = queue
        self._most = in_flight
        self._sent: asyncio.Queue[asyncio.Task[list[Scored]]] = asyncio.Queue()
        self.in_flight = 0
        """Batches that are being scored, or wait for their turn to be written."""
        self.unanswered = 0
        """Batches that are being scored."""
        self._positions: dict[str, int] = {}  # of the newest models whose results were written
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._closing = False

    @property
    def outstanding(self) -> int:
        """Results and dead letters that the brokers have not acknowledged, of this and others."""
        return self._sink.outstanding

    @property
    def full(self) -> bool:
        """Whether its partitions are to be paused."""
        return self._queue.full

    @property
    def has_room(self) -> bool:
        """Whether its partitions may be resumed."""
        return self._queue.has_room

    @property
    def queued(self) -> int:
        """Records that wait for a batch."""
        return len(self._queue)

    def put(self, records: Sequence[Record]) -> None:
        """Take records, in order."""
        self._queue.add(records, asyncio.get_running_loop().time())
        self._changed.set()

    def discard(self, claims: Collection[Claim]) -> None:
        """Drop what waits of `claims`; what is in flight goes on."""
        self._queue.discard(claims)
        self._drained.set()

    def close(self) -> None:
        """Send no further batches."""
        self._closing = True
        self._changed.set()

    async def wait_for_room(self) -> None:
        """Wait until `has_room`."""
        while not self.has_room:
            self._drained.clear()
            await self._drained.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(tasks))
            tasks.create_task(self._write())

    async def _send(self, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = self._queue.due_in(loop.time(), idle=self.unanswered == 0)
            if self._closing or self.in_flight >= self._most:
                due = None
            if due == 0:
                self._sent.put_nowait(tasks.create_task(self._score(self._queue.take())))
                self.in_flight += 1
                self.unanswered += 1
                self._drained.set()
                continue
            timer = None if due is None else loop.call_later(due, self._changed.set)
            await self._changed.wait()
            self._changed.clear()
            if timer is not None:
                timer.cancel()

    async def _score(self, batch: list[Record]) -> list[Scored]:
        try:
            return await self._scorer.score(batch)
        finally:
            self.unanswered -= 1
            self._changed.set()

    async def _write(self) -> None:
        while True:
            pieces = await self._not_older(await (await self._sent.get()))
            await self._sink.ready_for(pieces)
            self._sink.write(self.stream, pieces)
            self.in_flight -= 1
            self._changed.set()

    async def _not_older(self, pieces: list[Scored]) -> list[Scored]:
        """Have scored again what an older model has scored than what is written before it.

        Batches are scored side by side: the later one may have been faster than the swap between.
        """
        newest = list[Scored]()
        for piece in pieces:
            is_older = 0 < _position(piece) < self._positions.get(piece.data_type, 0)
            newest += await self._scorer.score(piece.records) if is_older else [piece]
        for piece in newest:
            known = self._positions.get(piece.data_type, 0)
            self._positions[piece.data_type] = max(known, _position(piece))
        return newest


def _position(piece: Scored) -> int:
    return piece.columns.position if piece.columns is not None else 0
