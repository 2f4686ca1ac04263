"""Parts of requests that wait to be scored together: at once while nothing is being scored. Pure."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from repertory.actors.batch import ScoredRecords
from repertory.errors import RequestFailed

# A batch travels in one frame of a door, which holds 128 MiB; what is on its way for long delays
# all others.
BATCH_BYTES = 4 * 1024 * 1024


@dataclass(eq=False, slots=True)
class Part:
    """Records of one request that are scored together, and where their outcomes go.

    `deadline`, and the time at which they are `due`, though others might still come, are times of
    the loop.
    """

    records: Sequence[bytes]
    deadline: float
    due: float
    reply: asyncio.Future[ScoredRecords]
    batch: "Batch | None" = None  # None: it waits
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.records))

    def answer(self, reply: ScoredRecords) -> None:
        """Tell the outcomes, unless the part is answered, or given up, already."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, why: Exception) -> None:
        """Tell why there are no outcomes, unless the part is answered, or given up, already."""
        if not self.reply.done():
            self.reply.set_exception(why)


@dataclass(eq=False, slots=True)
class Batch:
    """Parts that are scored together, by a task; and what kept them from being sent so far."""

    parts: Sequence[Part]
    task: asyncio.Task[None]
    obstacle: type[RequestFailed] | None = None
    _left: int = 0

    def __post_init__(self) -> None:
        for part in self.parts:
            part.batch = self

    def leave(self) -> None:
        """Have one of the parts go, answered or not; with the last one there is no more to do."""
        self._left += 1
        if self._left == len(self.parts):
            self.task.cancel()


class Lane:
    """Parts of one kind, in the order in which they came.

    `in_flight` are the batches that are being scored, one of which, while `starting`, is about to
    take its parts. While `apart`, no part shares its batch.
    """

    def __init__(self, max_batch: int) -> None:
        self.in_flight = 0
        self.starting = self.apart = False
        self._max_batch = max_batch
        self._waiting: dict[Part, None] = {}
        self._records = self._bytes = 0
        self._due = math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, part: Part) -> None:
        """Have a part wait."""
        self._waiting[part] = None
        self._records += len(part.records)
        self._bytes += part.size
        self._due = min(self._due, part.due)

    def discard(self, part: Part) -> None:
        """Remove a part, if it waits."""
        if part in self._waiting:
            del self._waiting[part]
            self._records -= len(part.records)
            self._bytes -= part.size

    @property
    def due(self) -> float:
        """The time at which a batch is to be sent; infinite while there is nothing to send.

        It is in the past when nothing is in flight, a batch is full, or waiting is of no use.
        """
        if not self._waiting or self.starting:
            return math.inf
        is_full = self._records >= self._max_batch or self._bytes >= BATCH_BYTES
        return -math.inf if is_full or self.apart or not self.in_flight else self._due

    def take(self) -> list[Part]:
        """Remove and return the next batch: at least one part if there is any."""
        batch: list[Part] = []
        records = size = 0
        for part in self._waiting:
            records += len(part.records)
            size += part.size
            too_much = records > self._max_batch or size > BATCH_BYTES
            if batch and (too_much or self.apart):
                break
            batch.append(part)
        for part in batch:
            self.discard(part)
        self._due = min((part.due for part in self._waiting), default=math.inf)
        return batch
