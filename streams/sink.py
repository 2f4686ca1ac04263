"""Results and dead letters out: what both guarantees have in common."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol

from confluent_kafka import KafkaError, Message, Producer

from repertory.config import Kafka
from repertory.errors import RepertoryError
from repertory.streams.claims import Claim
from repertory.streams.outgoing import OVERHEAD_BYTES, Outgoing
from repertory.streams.results import Scored
from repertory.streams.telemetry import StreamTelemetry
from repertory.streams.topics import Topic

# Written and not yet acknowledged; more than a broker's round trip holds at full speed.
MOST_OUTSTANDING = 20_000
MOST_OUTSTANDING_BYTES = 64 * 1024 * 1024

OnDelivery = Callable[[KafkaError | None, Message], None]


class DeliveryFailed(RepertoryError):
    """A broker refuses a result for good. The face ends, and its successor reads the record again."""


class Sink(Protocol):
    """Writes results and dead letters, in order, and finishes records when the brokers have them."""

    @property
    def outstanding(self) -> int:
        """Messages that are written and not yet acknowledged."""

    async def begin(self) -> None:
        """Get ready; to be called before the first record is read."""

    async def ready_for(self, pieces: Sequence[Scored]) -> None:
        """Wait until `pieces` may be written; to be awaited before each write.

        Memory is bounded thus, and no result can be read whose floor the brokers do not have.
        """

    def write(self, stream: str, pieces: Sequence[Scored]) -> None:
        """Write a message for each record, but those whose partition is lost meanwhile."""

    async def run(self) -> None:
        """Work until cancelled. Raises DeliveryFailed when a message is refused for good."""

    async def close(self) -> None:
        """Stop. What is outstanding is not waited for."""


def producer_properties(kafka: Kafka, topics: Mapping[str, Topic]) -> dict[str, Any]:
    """Return the properties of a producer whose messages are written once each, in order."""
    limits = [topics[name].max_bytes for name in (kafka.results_topic, kafka.dead_letters_topic)]
    return {
        "compression.type": "lz4",
        "linger.ms": 5,
        "reconnect.backoff.max.ms": 1000,
        "log_level": 2,  # the source tells when brokers come and go
        **kafka.client_properties(),
        "message.max.bytes": max(*limits, 1000),
        # What a broker limits is the batch, in which many small messages travel together.
        "batch.size": max(1, min(*limits, 1_000_000) - OVERHEAD_BYTES),
        "enable.idempotence": True,
        "acks": "all",
        "queue.buffering.max.messages": 0,  # whoever writes waits for room
    }


def produce(
    producer: Producer, messages: Iterable[Outgoing], on_delivery: OnDelivery | None = None
) -> None:
    """Hand messages to a producer, in order. Raises KafkaException or BufferError."""
    for message in messages:
        producer.produce(
            message.topic,
            message.value,
            message.key,
            message.partition,
            on_delivery=on_delivery,
            timestamp=message.record.timestamp_ms,
            headers=message.headers,
        )


def ends(messages: Collection[Outgoing]) -> dict[Claim, tuple[int, int]]:
    """Return the position after the last of these, and how many there are, of each claim."""
    found: dict[Claim, tuple[int, int]] = {}
    for claim, several in groupby(map(_record, messages), _claim):
        records = list(several)
        _, count = found.get(claim, (0, 0))
        found[claim] = records[-1].offset + 1, count + len(records)
    return found


def floors_of(pieces: Sequence[Scored]) -> dict[Claim, dict[str, int]]:
    """Return the journal positions of the models that scored records of each claim, by data type."""
    floors: defaultdict[Claim, dict[str, int]] = defaultdict(dict)
    for piece in pieces:
        if piece.columns is None or not piece.columns.position:
            continue
        for claim in set(map(_claim, piece.records)):
            known = floors[claim].get(piece.data_type, 0)
            floors[claim][piece.data_type] = max(known, piece.columns.position)
    return floors


def count_written(telemetry: StreamTelemetry, pieces: Sequence[Scored]) -> None:
    """Count results and dead letters."""
    for piece in pieces:
        for index, failed in piece.failures.items():
            telemetry.failed(piece.data_type, piece.model_of(index), failed.code)
        for model, records in piece.scores_by_model().items():
            telemetry.scored(piece.data_type, model, records)


def latencies_ms(messages: Collection[Outgoing], now_ms: int) -> list[int]:
    """Return the milliseconds from the timestamp of each record to now."""
    return [
        now_ms - (record.timestamp_ms or record.received_ms) for record in map(_record, messages)
    ]


_record = attrgetter("record")
_claim = attrgetter("claim")
