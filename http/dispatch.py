"""Sends the batches of a request to the router, within credit and deadline."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from repertory.actors.batch import ModelRef, Outcome, RecordBatch, ScoredRecords
from repertory.actors.client import RouterClient
from repertory.config import ClusterConfig
from repertory.errors import DeadlineExceeded, Overloaded, UnknownDataType
from repertory.http.asking import wait_for_router
from repertory.http.record_body import RecordBody

# Batches of a data type that may wait for credit. At a millisecond a batch that is a second of
# work, after which most clients have given up; more would only grow the queue.
MOST_WAITING = 1000
# Batches that one request may have in flight, so that a large one leaves credit to the others.
SHARE = 4
# Soon enough to lose little, seldom enough to cost little: the router still counts a batch whose
# client went away, until the batch is done.
CREDIT_PAUSE = 0.005


class Dispatcher:
    """Has the records of a request scored."""

    def __init__(self, config: ClusterConfig, router: RouterClient) -> None:
        # The router grants each connection the smallest credit of all data types.
        credit = min(each.credit for each in config.data_types.values())
        self._router = router
        self._max_batch = {name: each.max_batch for name, each in config.data_types.items()}
        self._gates = {name: CreditGate(name, credit) for name in config.data_types}

    def check(self, data_type: str) -> None:
        """Raise UnknownDataType when cluster.yaml declares no such data type."""
        if data_type not in self._gates:
            known = ", ".join(sorted(self._gates))
            raise UnknownDataType(
                f"no data type {data_type!r} is declared in cluster.yaml; there are: {known}"
            )

    async def score(self, data_type: str, body: RecordBody, *, deadline: float) -> ScoredRecords:
        """Return one outcome for each of at least one record, in order, all of one model version.

        1. Cut the records into batches. 2. Have them scored. 3. While the model changed in
        between, have those scored again that another version scored than the last one: scoring is
        pure. `deadline` is a time of the loop. Raises a RequestFailed when any batch fails whole.
        """
        size = self._max_batch[data_type]
        batches = [slice(start, start + size) for start in range(0, len(body.items), size)]
        replies: dict[int, ScoredRecords] = {}
        due = list(range(len(batches)))
        while due:
            parts = [batches[number] for number in due]
            replies |= zip(due, await self._several(data_type, body, parts, deadline), strict=True)
            model = replies[due[-1]].model
            due = [number for number, reply in replies.items() if reply.model != model]
        return _joined(model, [replies[number] for number in range(len(batches))])

    async def _several(
        self, data_type: str, body: RecordBody, parts: Sequence[slice], deadline: float
    ) -> list[ScoredRecords]:
        if len(parts) == 1:
            return [await self._batch(data_type, body, parts[0], deadline)]
        share = asyncio.Semaphore(SHARE)

        async def one(part: slice) -> ScoredRecords:
            async with share:
                return await self._batch(data_type, body, part, deadline)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(part)) for part in parts]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _batch(
        self, data_type: str, body: RecordBody, part: slice, deadline: float
    ) -> ScoredRecords:
        async with self._gates[data_type].admit(deadline):
            batch = RecordBatch(data_type, body.encoded(part), body.encoding)
            while True:
                await wait_for_router(self._router, deadline)
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    raise DeadlineExceeded("the time allowed was over before all was scored")
                try:
                    return await self._router.score(batch, timeout=left)
                except Overloaded:
                    if left <= CREDIT_PAUSE:
                        raise
                await asyncio.sleep(CREDIT_PAUSE)


class CreditGate:
    """Lets no more batches of a data type pass than there is credit; the others wait in line."""

    def __init__(self, data_type: str, credit: int, *, most_waiting: int = MOST_WAITING) -> None:
        self._data_type = data_type
        self._free = asyncio.Semaphore(credit)
        self._most_waiting = most_waiting
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def admit(self, deadline: float) -> AsyncIterator[None]:
        """Hold a credit. Raises Overloaded when too many wait, or none is free by `deadline`."""
        await self._take(deadline)
        try:
            yield
        finally:
            self._free.release()

    async def _take(self, deadline: float) -> None:
        if self._free.locked() and self._waiting >= self._most_waiting:
            raise Overloaded(f"{self._waiting} batches of {self._data_type!r} are waiting already")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._free.acquire()
        except TimeoutError:
            raise Overloaded(
                f"no batch of {self._data_type!r} could be sent in the time allowed"
            ) from None
        finally:
            self._waiting -= 1


def _joined(model: ModelRef, replies: Sequence[ScoredRecords]) -> ScoredRecords:
    outcomes: list[Outcome] = []
    for reply in replies:
        outcomes.extend(reply.outcomes)
    return ScoredRecords(model, outcomes)
