"""Exactly once: results, dead letters and the offsets of their records in one Kafka transaction.

Transactions follow one another; what is written while one is committed goes into the next. One
that is aborted is written again, but for records whose partition was lost meanwhile: scoring is
pure, and the outcomes in hand say which model version made them.

Why nothing is done twice. A face that was killed or cut off left its transaction open; its
successor, of the same transactional ids, aborts it, and a zombie that wakes up is refused. A
partition that goes to another face: that one asks for committed offsets (and waits while a
transaction holds such of them, KIP-447); the offsets of this face are sent with the group
generation that was in force before the first message was written, so that brokers refuse them once
the group has moved on.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog

from repertory.config import Kafka
from repertory.journal.clock import epoch_ms
from repertory.streams.claims import Claim
from repertory.streams.commits import offset
from repertory.streams.outgoing import Outgoing, Output
from repertory.streams.results import Scored
from repertory.streams.sink import (
    MOST_OUTSTANDING,
    MOST_OUTSTANDING_BYTES,
    count_written,
    ends,
    floors_of,
    latencies_ms,
    producer_properties,
)
from repertory.streams.telemetry import StreamTelemetry
from repertory.streams.topics import Topic
from repertory.streams.transactor import Aborted, Transactor

# Brokers finish a transaction some milliseconds after they said that it is committed, and refuse
# the next one of the same producer until then; librdkafka tries again only after 100 ms.
PRODUCERS = 2
# A face that vanished holds up its successors on other nodes for as long as this.
TRANSACTION_MS = 15_000
# A transaction costs the brokers much, however few records it has. So there is a rest after each one,
# as long as it took: longer ones have more records, and the busier the brokers are, the longer.
SHORTEST_REST, LONGEST_REST = 0.01, 0.1
FIRST_BACKOFF, LAST_BACKOFF = 0.05, 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Round:
    """What goes into one transaction."""

    by_stream: dict[str, list[Outgoing]] = field(default_factory=dict)
    floors: dict[Claim, dict[str, int]] = field(default_factory=dict)
    size: int = 0
    since: float = field(default_factory=time.monotonic)

    def add(self, stream: str, messages: Sequence[Outgoing]) -> None:
        self.by_stream.setdefault(stream, []).extend(messages)
        self.size += sum(len(message.value or b"") for message in messages)

    def raise_floors(self, floors: Mapping[Claim, Mapping[str, int]]) -> None:
        for claim, positions in floors.items():
            own = self.floors.setdefault(claim, {})
            for data_type, position in positions.items():
                own[data_type] = max(own.get(data_type, 0), position)

    def floors_after(self, claim: Claim) -> dict[str, int]:
        """Return the floors of a claim when this is committed."""
        own = self.floors.get(claim, {})
        return {
            name: max(claim.floors.get(name, 0), own.get(name, 0)) for name in {*claim.floors, *own}
        }

    def messages(self) -> list[Outgoing]:
        return [message for several in self.by_stream.values() for message in several]

    def drop_released(self) -> None:
        for stream, messages in self.by_stream.items():
            self.by_stream[stream] = [m for m in messages if not m.record.claim.released]


class TransactionalSink:
    """The producers of exactly-once streams, which take turns; only one is at work at a time.

    `instance` names the consumer; `node` signs the notes beside offsets, unless it is None.
    `group_metadata` returns what the consumer is in its group; it may block. The records of a
    round are finished in their claims when it is committed; `acknowledged` is called then.
    """

    def __init__(
        self,
        kafka: Kafka,
        topics: Mapping[str, Topic],
        telemetry: StreamTelemetry,
        *,
        instance: str,
        node: str | None,
        group_metadata: Callable[[], Any],
        acknowledged: Callable[[], None],
    ) -> None:
        self._output = Output(kafka, topics)
        self._telemetry = telemetry
        self._node = node
        self._group_metadata = group_metadata
        self._acknowledged = acknowledged
        properties = producer_properties(kafka, topics) | {
            "transaction.timeout.ms": TRANSACTION_MS,
            "message.timeout.ms": TRANSACTION_MS,
            "delivery.report.only.error": True,  # a commit succeeds when all messages did
        }
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transactions")
        self._transactors = [
            Transactor(properties | {"transactional.id": each}, self._thread)
            for each in transactional_ids(instance)
        ]
        self._turns = itertools.cycle(self._transactors)
        self._next = _Round()
        self._due = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.outstanding = 0
        self._bytes = 0

    async def begin(self) -> None:
        """Take over from a predecessor."""
        for transactor in self._transactors:
            await transactor.take_over()

    async def ready_for(self, pieces: Sequence[Scored]) -> None:
        """Wait until not too much is outstanding; floors are committed with the results."""
        await self._room.wait()

    def write(self, stream: str, pieces: Sequence[Scored]) -> None:
        """Write a message for each record, but those whose partition is lost meanwhile."""
        messages = self._output.messages(pieces)
        count_written(self._telemetry, pieces)
        before = self._next.size
        self._next.add(stream, messages)
        self._next.raise_floors(floors_of(pieces))
        self.outstanding += len(messages)
        self._bytes += self._next.size - before
        if self.outstanding >= MOST_OUTSTANDING or self._bytes >= MOST_OUTSTANDING_BYTES:
            self._room.clear()
        self._due.set()

    async def run(self) -> None:
        """Commit transaction after transaction until cancelled. Raises DeliveryFailed."""
        while True:
            await self._due.wait()
            self._due.clear()
            began = time.monotonic()
            due, self._next = self._next, _Round()
            await self._finish(due)
            took = time.monotonic() - began
            await asyncio.sleep(min(max(took, SHORTEST_REST), LONGEST_REST))

    async def close(self) -> None:
        """Stop. A transaction that is open is aborted, if the brokers answer at once."""
        for transactor in self._transactors:
            await transactor.close()

    async def _finish(self, due: _Round) -> None:
        """Write and commit a round, again and again if need be."""
        count, backoff = len(due.messages()), FIRST_BACKOFF
        while True:
            due.drop_released()
            began = time.monotonic()
            try:
                if due.messages():
                    await self._transact(due)
                break
            except Aborted as error:
                self._telemetry.transaction(committed=False, seconds=time.monotonic() - began)
                log.warning(
                    "a transaction was aborted; its results are written again", why=str(error)
                )
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, LAST_BACKOFF)
        self._note_committed(due, time.monotonic() - began)
        self.outstanding -= count
        self._bytes -= due.size
        if 2 * self.outstanding <= MOST_OUTSTANDING and 2 * self._bytes <= MOST_OUTSTANDING_BYTES:
            self._room.set()
        self._acknowledged()

    def _note_committed(self, due: _Round, seconds: float) -> None:
        messages = due.messages()
        for claim, (position, count) in ends(messages).items():
            claim.finish(position, count)
            claim.committed = position
            claim.floors = claim.noted = due.floors_after(claim)
        if messages:
            self._telemetry.transaction(committed=True, seconds=seconds)
        now, produce = epoch_ms(), time.monotonic() - due.since
        for stream, several in due.by_stream.items():
            latencies = latencies_ms(several, now)
            self._telemetry.acknowledged(stream, produce=produce, latencies_ms=latencies)

    async def _transact(self, due: _Round) -> None:
        """Write a round and the offsets of its records in one transaction. Raises Aborted."""
        transactor = next(self._turns)
        metadata = await transactor.begin(self._group_metadata)
        # Only now: what was lost before that generation of the group must not go with it.
        due.drop_released()
        messages = due.messages()
        offsets = [
            offset(claim, position, node=self._node, floors=due.floors_after(claim))
            for claim, (position, _) in ends(messages).items()
        ]
        await transactor.commit(messages, offsets, metadata)


def transactional_ids(instance: str) -> list[str]:
    """Return the ids of the transactional producers of a face, by its consumer's instance id."""
    return [f"{instance}-streams-{number}" for number in range(PRODUCERS)]
