"""A router that scores numbers, as slowly and as badly as a test wants it to."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from repertory.actors.batch import ModelRef, PolicyReport, RecordBatch, ScoredRecords, Value
from repertory.actors.client import RouterClient
from repertory.errors import DeadlineExceeded, InvalidRequest, Overloaded

POISON = b"-1"


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch that came to the router, and when."""

    at: float
    records: list[int]


class NumbersRouter(RouterClient):
    """Answers each number with itself; a batch with POISON fails whole.

    A batch takes the next of `seconds`, the last for ever. `refusals` are the numbers of batches
    that are refused. `version` is that of the model, by the time of the loop.
    """

    def __init__(
        self,
        *seconds: float,
        refusals: Sequence[int] = (),
        version: Callable[[float], int] = lambda _: 1,
        policy: PolicyReport | None = None,
    ) -> None:
        super().__init__(Path("nowhere"), role="test")
        self.connected.set()
        self.sent: list[Sent] = []
        self.busy = self.busiest = 0
        self._seconds = seconds or (0.0,)
        self._refusals = refusals
        self._version = version
        self._policy = policy

    @property
    def batches(self) -> list[list[int]]:
        """The records of each batch."""
        return [each.records for each in self.sent]

    async def score(
        self, batch: RecordBatch, *, timeout: float, explain: bool = False
    ) -> ScoredRecords:
        number, now = len(self.sent), asyncio.get_running_loop().time()
        self.sent.append(Sent(now, [int(each) for each in batch.records]))
        if number in self._refusals:
            raise Overloaded("come again")
        seconds = self._seconds[min(number, len(self._seconds) - 1)]
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(min(seconds, timeout))
        finally:
            self.busy -= 1
        if seconds >= timeout:
            raise DeadlineExceeded("no answer came within the time allowed")
        if POISON in batch.records:
            raise InvalidRequest("this batch has a fault")
        model = ModelRef("numbers", self._version(now), "")
        return ScoredRecords(model, [Value(float(each)) for each in batch.records], self._policy)


NEVER = math.inf
