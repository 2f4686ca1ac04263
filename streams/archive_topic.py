"""An archive that is a Kafka topic: a message for each record, its bytes as the models saw them.

Header `dataType` says what a record is, and `repertory-decoy` (an ArchivedAnswer) all else, the
answer included. The records of a batch lie in one partition, in order. A segment whose writing is
interrupted is written again: messages may be there twice, with the same batch and row. A record that
is too large for the topic has a message without a value.
"""

import time
from collections.abc import Iterator
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from repertory.actors.decoy_rows import Rows
from repertory.config import Kafka
from repertory.protos.decoy_pb2 import ArchivedAnswer
from repertory.streams.archive_place import ArchiveFailed, Piece
from repertory.streams.outgoing import OVERHEAD_BYTES
from repertory.streams.topics import NewTopicSpec, TopicsNotReady, prepare_topics

DATA_TYPE, ANSWER = "dataType", "repertory-decoy"
PARTITIONS = 4
LARGEST_BYTES = 2 * 1024 * 1024  # a record that fits Kafka's default, and its answer
DELIVERY_MS = 20_000
ANSWER_SECONDS = 10.0
AT_ONCE = 1000  # messages

log = structlog.get_logger(__name__)


class TopicArchive:
    """The topic `decoy.topic`. Made when it is missing, if `kafka.create_topics`."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._kafka, self._topic = kafka, topic
        self._producer: Producer | None = None
        self._limit = 0  # bytes of a message

    def write(self, piece: Piece, rows: Rows) -> None:
        """Write a message for each record, and wait until the brokers have them."""
        producer = self._ready_producer()
        failures: list[str] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error.str())

        try:
            for batch in rows.by_batch():
                for place in range(len(batch)):
                    self._produce(producer, batch, place, delivered)
        except KafkaException as error:
            failures.append(error.args[0].str())
        left = producer.flush(2 * DELIVERY_MS / 1000)
        if failures or left:
            self._producer = None
            why = failures[0] if failures else "no broker answers"
            raise ArchiveFailed(f"topic {self._topic!r} at {self._servers}: {why}")

    def read(self, data_type: str, *, since_us: int, until_us: int) -> Iterator[Rows]:
        """Yield the inputs of a time, batch by batch, and nothing twice."""
        try:
            yield from _Reading(self._kafka, self._topic, data_type).read(since_us, until_us)
        except KafkaException as error:
            why = error.args[0].str()
            raise ArchiveFailed(f"topic {self._topic!r} at {self._servers}: {why}") from error

    @property
    def _servers(self) -> str | None:
        return self._kafka.bootstrap_servers

    def _ready_producer(self) -> Producer:
        if self._producer is None:
            properties: dict[str, Any] = {"log_level": 2, **self._kafka.client_properties()}
            spec = NewTopicSpec(PARTITIONS, {"max.message.bytes": str(LARGEST_BYTES)})
            try:
                found = prepare_topics(AdminClient(properties), self._kafka, {self._topic: spec})
            except TopicsNotReady as error:
                raise ArchiveFailed(
                    f"topic {self._topic!r} of the archive at {self._servers}: {error}"
                ) from error
            largest = max(found[self._topic].max_bytes, 2 * OVERHEAD_BYTES)
            self._limit = largest - OVERHEAD_BYTES
            self._producer = Producer(
                {
                    **properties,
                    "enable.idempotence": True,
                    "compression.type": "lz4",
                    "linger.ms": 50,
                    "delivery.timeout.ms": DELIVERY_MS,
                    "message.max.bytes": largest,
                    # What a broker limits is the batch, in which many small messages travel.
                    "batch.size": min(self._limit, 1_000_000),
                }
            )
        return self._producer

    def _produce(self, producer: Producer, batch: Rows, place: int, delivered: Any) -> None:
        headers = {
            DATA_TYPE: batch.data_type[place].encode(),
            ANSWER: _answer(batch, place).SerializeToString(),
        }
        record: bytes | None = batch.record[place]
        if len(batch.record[place]) + len(headers[ANSWER]) > self._limit:
            log.error("a record is too large for the topic", topic=self._topic, limit=self._limit)
            record = None
        while True:
            try:
                producer.produce(
                    self._topic,
                    record,
                    batch.batch[place],
                    on_delivery=delivered,
                    timestamp=batch.archived_us[place] // 1000,
                    headers=list(headers.items()),
                )
            except BufferError:
                producer.poll(0.1)
            else:
                return


class _Reading:
    """The messages of a topic, from a time to what is there now, put together to batches."""

    def __init__(self, kafka: Kafka, topic: str, data_type: str) -> None:
        self._topic, self._data_type = topic, data_type
        self._consumer = Consumer(
            {
                "log_level": 2,
                **kafka.client_properties(),
                "group.id": "repertory-decoy-replay",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self._unfinished: dict[str, Rows] = {}
        self._given: set[str] = set()

    def read(self, since_us: int, until_us: int) -> Iterator[Rows]:
        try:
            ends = self._assign(since_us)
            silent = time.monotonic()
            while ends:
                messages = self._consumer.consume(AT_ONCE, timeout=1.0)
                for message in messages:
                    yield from self._take(message, since_us, until_us)
                for place in self._consumer.position(self._consumer.assignment()):
                    if place.offset >= ends.get(place.partition, place.offset + 1):
                        del ends[place.partition]
                silent = time.monotonic() if messages else silent
                if time.monotonic() - silent > ANSWER_SECONDS:
                    raise ArchiveFailed(f"topic {self._topic!r} of the archive cannot be read")
            yield from self._unfinished.values()  # their other records are not there any more
        finally:
            self._consumer.close()

    def _assign(self, since_us: int) -> dict[int, int]:
        """Begin to read; return the end of each partition that has something to be read."""
        known = self._consumer.list_topics(self._topic, timeout=ANSWER_SECONDS)
        found = known.topics[self._topic]
        if found.error is not None:
            raise KafkaException(found.error)
        asked = [TopicPartition(self._topic, each, since_us // 1000) for each in found.partitions]
        starts = self._consumer.offsets_for_times(asked, timeout=ANSWER_SECONDS)
        ends = {}
        for start in starts:
            _, end = self._consumer.get_watermark_offsets(start, timeout=ANSWER_SECONDS)
            if 0 <= start.offset < end:
                ends[start.partition] = end
        self._consumer.assign([start for start in starts if start.partition in ends])
        return ends

    def _take(self, message: Message, since_us: int, until_us: int) -> Iterator[Rows]:
        if (error := message.error()) is not None:
            raise KafkaException(error)
        headers: dict[str, Any] = dict(message.headers() or [])
        if headers.get(DATA_TYPE) != self._data_type.encode() or not headers.get(ANSWER):
            return
        answer = ArchivedAnswer.FromString(headers[ANSWER])
        if answer.batch in self._given or not since_us <= answer.archived_us <= until_us:
            return
        rows = self._unfinished.setdefault(answer.batch, Rows())
        if answer.row == len(rows):  # any other is there already
            rows.extend(_row(self._data_type, message, answer))
        if len(rows) == answer.rows:
            self._given.add(answer.batch)
            yield self._unfinished.pop(answer.batch)


def _answer(batch: Rows, place: int) -> ArchivedAnswer:
    return ArchivedAnswer(
        batch=batch.batch[place],
        row=batch.row[place],
        rows=len(batch),
        archived_us=batch.archived_us[place],
        encoding=batch.encoding[place],
        policy=batch.policy[place],
        policy_version=batch.policy_version[place],
        asked=batch.asked[place],
        slot=batch.slot[place],
        model_name=batch.model_name[place] or "",
        model_version=batch.model_version[place] or 0,
        model_sha256=batch.model_sha256[place] or "",
        value=batch.value[place],
        label=batch.label[place],
        labels=batch.labels[place],
        probabilities=batch.probabilities[place],
        error_code=batch.error_code[place] or "",
        error_message=batch.error_message[place] or "",
    )


def _row(data_type: str, message: Message, answer: ArchivedAnswer) -> Rows:
    record = message.value()
    if record is None:  # it was too large: nobody can be asked again
        answer.ClearField("asked")
        answer.ClearField("slot")
    return Rows(
        batch=[answer.batch],
        row=[answer.row],
        data_type=[data_type],
        archived_us=[answer.archived_us],
        encoding=[answer.encoding],
        record=[bytes(record or b"")],
        policy=[answer.policy],
        policy_version=[answer.policy_version],
        asked=[list(answer.asked)],
        slot=[answer.slot if answer.HasField("slot") else None],
        model_name=[answer.model_name or None],
        model_version=[answer.model_version or None],
        model_sha256=[answer.model_sha256 or None],
        value=[answer.value if answer.HasField("value") else None],
        label=[answer.label if answer.HasField("label") else None],
        labels=[list(answer.labels)],
        probabilities=[list(answer.probabilities)],
        error_code=[answer.error_code or None],
        error_message=[answer.error_message or None],
    )
