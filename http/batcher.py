"""Has the records of several requests scored together, within credit and deadlines."""

import asyncio
import math
from collections.abc import Coroutine, Sequence
from typing import Any

from repertory.actors.batch import RecordBatch, ScoredRecords
from repertory.actors.client import RouterClient
from repertory.config import DataType
from repertory.errors import (
    DeadlineExceeded,
    NoModel,
    Overloaded,
    Unavailable,
    UnknownDataType,
    request_failure,
)
from repertory.http.asking import wait_for_router
from repertory.http.lane import Batch, Lane, Part
from repertory.http.shared_reply import cut, mixes
from repertory.protos.door_pb2 import Envelope

# Parts of requests that may wait for credit. At a millisecond each that is a second of work, after
# which most clients have given up; more would only grow the queue.
MOST_WAITING = 1000
# Soon enough to lose little, seldom enough to cost little: the router still counts a batch whose
# client went away, until the batch is done.
CREDIT_PAUSE = 0.005
# What fails one part of a batch in these ways would fail the others as well.
FOR_ALL = (UnknownDataType, NoModel, Overloaded, DeadlineExceeded, Unavailable)

Kind = tuple[Envelope.Encoding, bool, str]
"""The encoding of records, whether their scores are to be explained, and the slot that is asked."""


class Batcher:
    """Has records of one data type scored, by at most `credit` batches at a time."""

    def __init__(
        self,
        data_type: str,
        limits: DataType,
        router: RouterClient,
        *,
        credit: int,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._data_type = data_type
        self._max_batch = limits.max_batch
        self._max_delay = limits.max_delay_ms / 1000
        self._router = router
        self._free = credit
        self._most_waiting = most_waiting
        self._lanes: dict[Kind, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._rings = math.inf

    async def score(
        self,
        records: Sequence[bytes],
        encoding: Envelope.Encoding,
        *,
        deadline: float,
        explain: bool = False,
        slot: str = "",
    ) -> ScoredRecords:
        """Return one outcome for each of some records, all made by one version.

        They are sent at once while no others of their kind are in flight. Otherwise they wait
        `max_delay_ms` at most for others that share their batch, and in any case for credit.
        `deadline` is a time of the loop. Raises a RequestFailed; who is cancelled disturbs no
        others.
        """
        if not self._free:
            self._check_room()
        kind = (encoding, explain, slot)
        if (lane := self._lanes.get(kind)) is None:
            lane = self._lanes[kind] = Lane(self._max_batch)
        loop = asyncio.get_running_loop()
        now = loop.time()
        # Who has little time gives no more than half of it to waiting.
        due = now + min(self._max_delay, (deadline - now) / 2)
        part = Part(records, deadline, due, loop.create_future())
        leads = self._free and not lane.in_flight and not lane
        lane.add(part)
        if leads:
            return await self._lead(kind, lane, part)
        self._send_due()
        return await self._follow(lane, part)

    async def _lead(self, kind: Kind, lane: Lane, part: Part) -> ScoredRecords:
        """Have a part scored for which nobody has to be waited; as a rule it is alone.

        Then it needs no task, nor a clock beside the client's: it is its own batch.
        """
        self._reserve(lane)
        try:
            await asyncio.sleep(0)  # for those who come in the same turn
        except asyncio.CancelledError:
            lane.discard(part)
            self._begin(self._carry(kind, lane))  # of the others, if any
            raise
        if len(lane) > 1:
            self._begin(self._carry(kind, lane))
            return await self._follow(lane, part)
        lane.starting = False
        batch = Batch(lane.take(), _current_task())
        try:
            _, reply = await self._send(kind, batch)
            lane.apart = mixes(reply)
            return reply
        finally:
            self._release(lane)

    async def _follow(self, lane: Lane, part: Part) -> ScoredRecords:
        """Wait for what becomes of a part."""
        timer = asyncio.get_running_loop().call_at(part.deadline, self._expire, part)
        try:
            return await part.reply
        finally:
            timer.cancel()
            lane.discard(part)
            if part.batch is not None:
                part.batch.leave()

    def _check_room(self) -> None:
        waiting = sum(map(len, self._lanes.values()))
        if waiting >= self._most_waiting:
            raise Overloaded(f"{waiting} requests of {self._data_type!r} are waiting already")

    def _expire(self, part: Part) -> None:
        obstacle = Overloaded if part.batch is None else part.batch.obstacle
        if obstacle is Overloaded:
            part.fail(
                Overloaded(f"no batch of {self._data_type!r} could be sent in the time allowed")
            )
        elif obstacle is not None:
            part.fail(Unavailable("the router of this node cannot be reached just now"))
        else:
            part.fail(DeadlineExceeded("no answer came within the time allowed"))

    # --- when

    def _send_due(self) -> None:
        """Begin batches, the longest due first, while there is credit; look again when one is due."""
        loop = asyncio.get_running_loop()
        while self._free:
            kind, lane = min(self._lanes.items(), key=lambda each: each[1].due)
            due = lane.due
            if due > loop.time():
                self._look_again(due)
                return
            self._reserve(lane)
            self._begin(self._carry(kind, lane))

    def _reserve(self, lane: Lane) -> None:
        self._free -= 1
        lane.in_flight += 1
        lane.starting = True

    def _release(self, lane: Lane) -> None:
        self._free += 1
        lane.in_flight -= 1
        self._send_due()

    def _look_again(self, due: float) -> None:
        if due == math.inf:
            return
        if self._timer is not None:
            if self._rings <= due:
                return  # to look in vain once costs less than a timer for each request
            self._timer.cancel()
        self._rings = due
        self._timer = asyncio.get_running_loop().call_at(due, self._rung)

    def _rung(self) -> None:
        self._timer = None
        self._send_due()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _carry(self, kind: Kind, lane: Lane) -> None:
        """Have a batch scored: of what waits by now, so that who came in the same turn is there."""
        lane.starting = False
        batch = Batch(lane.take(), _current_task())
        try:
            self._send_due()  # if there is more than one batch
            await self._score(kind, lane, batch)
        finally:
            self._release(lane)

    # --- what

    async def _score(self, kind: Kind, lane: Lane, batch: Batch) -> None:
        """Have a batch scored; its parts one by one where they cannot be together."""
        try:
            sent, reply = await self._send(kind, batch)
        except FOR_ALL as error:
            for part in batch.parts:
                part.fail(request_failure(error.code, str(error)))
            return
        except Exception as error:  # noqa: BLE001 - the border of a request; the asker is told
            if len(batch.parts) == 1:
                batch.parts[0].fail(error)
                return
        else:
            lane.apart = mixes(reply)
            if len(sent) == 1 or not lane.apart:
                _hand_out(reply, sent)
                return
        for part in batch.parts:
            if not part.reply.done():
                # As a task, for its asker to end when that one leaves.
                await asyncio.wait([self._begin(self._score_alone(kind, lane, part))])

    async def _score_alone(self, kind: Kind, lane: Lane, part: Part) -> None:
        await self._score(kind, lane, Batch([part], _current_task()))

    async def _send(self, kind: Kind, batch: Batch) -> tuple[Sequence[Part], ScoredRecords]:
        """Return which parts were sent, those that nobody had given up, and the reply."""
        encoding, explain, slot = kind
        while True:
            parts = [part for part in batch.parts if not part.reply.done()]
            deadline = max((part.deadline for part in parts), default=-math.inf)
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise DeadlineExceeded("the time allowed was over before all was scored")
            if not self._router.connected.is_set():
                batch.obstacle = Unavailable
                await wait_for_router(self._router, deadline)
                continue  # some may have left
            batch.obstacle = None
            records = [record for part in parts for record in part.records]
            together = RecordBatch(self._data_type, records, encoding, slot)
            try:
                return parts, await self._router.score(together, timeout=left, explain=explain)
            except Overloaded:
                batch.obstacle = Overloaded
                if left <= CREDIT_PAUSE:
                    raise
            await asyncio.sleep(CREDIT_PAUSE)


def _current_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _hand_out(reply: ScoredRecords, parts: Sequence[Part]) -> None:
    if len(parts) == 1:
        parts[0].answer(reply)
        return
    start = 0
    for part in parts:
        stop = start + len(part.records)
        part.answer(cut(reply, slice(start, stop)))
        start = stop
