"""At least once: a record is done when the brokers have acknowledged what it came to."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from repertory.config import Kafka
from repertory.journal.clock import epoch_ms
from repertory.streams.claims import Claim
from repertory.streams.outgoing import Outgoing, Output
from repertory.streams.results import Scored
from repertory.streams.sink import (
    MOST_OUTSTANDING,
    MOST_OUTSTANDING_BYTES,
    DeliveryFailed,
    count_written,
    ends,
    floors_of,
    latencies_ms,
    produce,
    producer_properties,
)
from repertory.streams.telemetry import StreamTelemetry
from repertory.streams.topics import Topic

# How often acknowledgements are looked for while some are due. Not on a thread of its own: each
# of them would have to wait for this one's lock.
POLL_SECONDS = 0.002
# How long a result may wait for the brokers. Whoever was frozen, or cut off, for longer writes none
# of what it had in hand: its partitions have new owners, which may have newer models.
PATIENCE_MS = 10_000

Secure = Callable[[Collection[Claim]], Awaitable[None]]


class _Flight:
    """Messages written at one time, until all are acknowledged."""

    __slots__ = ("error", "left", "messages", "size", "stream", "written")

    def __init__(self, stream: str, messages: Sequence[Outgoing]) -> None:
        self.stream = stream
        self.messages = messages
        self.written = time.monotonic()
        self.left = len(messages)
        self.size = sum(len(message.value or b"") for message in messages)
        self.error: KafkaError | None = None

    def delivered(self, error: KafkaError | None, _: Message) -> None:
        self.left -= 1
        if error is not None:
            self.error = error


class AcknowledgedSink:
    """The producer of at-least-once streams. Idempotent, acknowledged by all replicas.

    What was written together is finished together in its claims, in the order of writing;
    `acknowledged` is called then. `secure` returns when the brokers have the floors of claims; None
    if these are of no use to anybody. The producer waits for brokers that are away for as long as it
    takes.
    """

    def __init__(
        self,
        kafka: Kafka,
        topics: Mapping[str, Topic],
        telemetry: StreamTelemetry,
        *,
        secure: Secure | None,
        acknowledged: Callable[[], None],
    ) -> None:
        self._secure = secure
        self._output = Output(kafka, topics)
        self._telemetry = telemetry
        self._acknowledged = acknowledged
        properties = producer_properties(kafka, topics)
        # Among others, what was not taken in time may be another node's to write. Who is alone never
        # gives up: a result would have to be made again.
        patience = 0 if secure is None else PATIENCE_MS
        self._producer = Producer(properties | {"message.timeout.ms": patience})
        self._flights: deque[_Flight] = deque()
        self._written = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._bytes = 0
        self.outstanding = 0
        self._failure: str | None = None

    async def begin(self) -> None:
        """Get ready: there is nothing to be done."""

    async def ready_for(self, pieces: Sequence[Scored]) -> None:
        """Wait until not too much is outstanding, and the brokers have the floors of these.

        A result is seen as soon as it is written. Should this face vanish then, its successor
        writes what was not committed once more, and must not do so by an older model.
        """
        await self._room.wait()
        if self._secure is None:
            return
        higher = floors_of(pieces)
        for claim, floors in higher.items():
            for data_type, position in floors.items():
                claim.raise_floor(data_type, position)
        await self._secure(higher)

    def write(self, stream: str, pieces: Sequence[Scored]) -> None:
        """Write a message for each record, but those whose partition is lost meanwhile."""
        messages = [m for m in self._output.messages(pieces) if not m.record.claim.released]
        if not messages:
            return
        count_written(self._telemetry, pieces)
        flight = _Flight(stream, messages)
        try:
            produce(self._producer, messages, flight.delivered)
        except (KafkaException, BufferError) as error:
            self._failure = str(error)
        self._flights.append(flight)
        self.outstanding += len(messages)
        self._bytes += flight.size
        if self.outstanding >= MOST_OUTSTANDING or self._bytes >= MOST_OUTSTANDING_BYTES:
            self._room.clear()
        self._written.set()

    async def run(self) -> None:
        """Take acknowledgements until cancelled. Raises DeliveryFailed."""
        while True:
            await self._written.wait()
            self._producer.poll(0)
            self._land()
            if self._failure is not None:
                raise DeliveryFailed(f"the broker refuses a result: {self._failure}")
            if self._flights:
                await asyncio.sleep(POLL_SECONDS)
            else:
                self._written.clear()

    async def close(self) -> None:
        """Stop. What is outstanding is not waited for."""
        self._producer.purge()

    def _land(self) -> None:
        landed = False
        while self._flights and not self._flights[0].left:
            flight = self._flights.popleft()
            if flight.error is not None:
                self._failure = flight.error.str()
                return
            self._finish(flight)
            landed = True
        if landed:
            self._acknowledged()
        if 2 * self.outstanding <= MOST_OUTSTANDING and 2 * self._bytes <= MOST_OUTSTANDING_BYTES:
            self._room.set()

    def _finish(self, flight: _Flight) -> None:
        for claim, (position, count) in ends(flight.messages).items():
            claim.finish(position, count)
        self.outstanding -= len(flight.messages)
        self._bytes -= flight.size
        self._telemetry.acknowledged(
            flight.stream,
            produce=time.monotonic() - flight.written,
            latencies_ms=latencies_ms(flight.messages, epoch_ms()),
        )
