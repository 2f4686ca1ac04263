"""Results and dead letters out: written in order, and known when the broker has them."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from repertory.actors.batch import RecordFailed
from repertory.config import Kafka
from repertory.errors import RepertoryError
from repertory.journal.clock import epoch_ms
from repertory.streams.record import Record
from repertory.streams.results import (
    Headers,
    Scored,
    common_part,
    dead_letter,
    dead_letter_headers,
    result_headers,
    scored_record,
)
from repertory.streams.statistics import StreamStatistics
from repertory.streams.topics import Topic

# Written and not yet acknowledged; more than a broker's round trip holds at full speed.
MOST_OUTSTANDING = 20_000
MOST_OUTSTANDING_BYTES = 64 * 1024 * 1024
# What a message has beside its value, in the broker's count of its size: head, headers, batch.
OVERHEAD_BYTES = 2048
POLL_SECONDS = 0.1

log = structlog.get_logger(__name__)


class DeliveryFailed(RepertoryError):
    """A broker refuses a result for good. The face ends, and its successor reads the record again."""


class Sink:
    """The producer of results and dead letters. Idempotent, acknowledged by all replicas.

    A message goes to the partition whose number is that of its record's partition, modulo the
    number of partitions of the topic, so that the order of an input partition is kept. Its record
    is finished in its claim when the broker has acknowledged it; `acknowledged` is called then.
    The producer waits for brokers that are away for as long as it takes.
    """

    def __init__(
        self,
        kafka: Kafka,
        topics: Mapping[str, Topic],
        statistics: StreamStatistics,
        *,
        acknowledged: Callable[[], None],
    ) -> None:
        self._results, self._dead_letters = kafka.results_topic, kafka.dead_letters_topic
        self._topics = topics
        self._statistics = statistics
        self._acknowledged = acknowledged
        self._loop = asyncio.get_running_loop()
        self._producer = Producer(_properties(kafka, topics))
        self._reports: deque[tuple[Record, int, KafkaError | None]] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self.outstanding = 0
        """Messages that are written and not yet acknowledged."""
        self._outstanding_bytes = 0
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._poll, name="deliveries", daemon=True)
        self._thread.start()

    async def room(self) -> None:
        """Wait until not too much is outstanding. Memory is bounded if this precedes each write."""
        await self._room.wait()

    def write(self, data_type: str, scored: Scored) -> None:
        """Write a message for each record, but those whose partition is lost meanwhile."""
        headers: Headers = [] if scored.model is None else result_headers(data_type, scored.model)
        common = common_part(data_type, scored)
        result_limit = self._topics[self._results].max_bytes - OVERHEAD_BYTES
        letter_limit = self._topics[self._dead_letters].max_bytes - OVERHEAD_BYTES
        for record, outcome in zip(scored.records, scored.outcomes, strict=True):
            if record.claim.released:
                continue
            if isinstance(outcome, RecordFailed):
                self._statistics.count_failure(outcome.code)
                letter = dead_letter(
                    record, outcome, scored, data_type=data_type, limit=letter_limit
                )
                why = dead_letter_headers(data_type, outcome.code, outcome.message)
                self._produce(self._dead_letters, record, letter, why)
            else:
                self._statistics.scored += 1
                result = scored_record(common, record, outcome, limit=result_limit)
                self._produce(self._results, record, result, headers)

    async def watch(self) -> None:
        """Raise DeliveryFailed when the broker refuses a message for good."""
        await self._failed

    def close(self) -> None:
        """Stop. What is outstanding is not waited for."""
        self._closed = True

    def _produce(self, topic: str, record: Record, value: bytes, headers: Headers) -> None:
        try:
            self._producer.produce(
                topic,
                value,
                record.key,
                partition=record.claim.partition % self._topics[topic].partitions,
                timestamp=record.timestamp_ms,
                headers=headers,
                on_delivery=partial(self._delivered, record, len(value)),
            )
        except (KafkaException, BufferError) as error:
            self._fail(str(error))
            return
        self.outstanding += 1
        self._outstanding_bytes += len(value)
        if (
            self.outstanding >= MOST_OUTSTANDING
            or self._outstanding_bytes >= MOST_OUTSTANDING_BYTES
        ):
            self._room.clear()

    # --- on the thread

    def _poll(self) -> None:
        while not self._closed:
            self._producer.poll(POLL_SECONDS)
            if self._reports and not self._closed:
                with contextlib.suppress(RuntimeError):  # the loop is closed: all is over
                    self._loop.call_soon_threadsafe(self._take_reports)

    def _delivered(self, record: Record, size: int, error: KafkaError | None, _: Message) -> None:
        self._reports.append((record, size, error))

    # --- in the loop

    def _take_reports(self) -> None:
        latencies = []
        now = epoch_ms()
        while self._reports:
            record, size, error = self._reports.popleft()
            self.outstanding -= 1
            self._outstanding_bytes -= size
            if error is not None:
                self._fail(error.str())
                continue
            record.claim.finish(record.offset)
            latencies.append(now - (record.timestamp_ms or record.received_ms))
        if (
            2 * self.outstanding <= MOST_OUTSTANDING
            and 2 * self._outstanding_bytes <= MOST_OUTSTANDING_BYTES
        ):
            self._room.set()
        self._statistics.acknowledged(latencies)
        self._acknowledged()

    def _fail(self, why: str) -> None:
        if not self._failed.done():
            self._failed.set_exception(DeliveryFailed(f"the broker refuses a result: {why}"))


def _properties(kafka: Kafka, topics: Mapping[str, Topic]) -> dict[str, Any]:
    limits = [topics[name].max_bytes for name in (kafka.results_topic, kafka.dead_letters_topic)]
    return {
        "compression.type": "lz4",
        "linger.ms": 2,
        "reconnect.backoff.max.ms": 1000,
        "log_level": 2,  # the source tells when brokers come and go
        **kafka.client_properties(),
        "message.max.bytes": max(*limits, 1000),
        # What a broker limits is the batch, in which many small messages travel together.
        "batch.size": max(1, min(*limits, 1_000_000) - OVERHEAD_BYTES),
        "enable.idempotence": True,
        "acks": "all",
        "message.timeout.ms": 0,  # never: a result that is given up would have to be made again
        "queue.buffering.max.messages": 2 * MOST_OUTSTANDING,
    }
