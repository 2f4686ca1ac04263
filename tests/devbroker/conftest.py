"""What the tests of the development broker share: batches, a clock to set, a broker to talk to."""

import functools
import resource
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from tests.apache_kafka.fixtures import Broker

from repertory.streams.devbroker.batch import BatchHeader
from repertory.streams.devbroker.partition import Partition
from repertory.streams.devbroker.records import Record, rebuild, write_varint
from repertory.streams.devbroker.topic_config import TopicConfig

PATIENCE = 20.0
"""Seconds after which a test gives up waiting."""

Pair = tuple[bytes | None, bytes | None]
"""Key and value."""


class Clock:
    """Seconds since some time, moved by the test."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def record(pair: Pair, *, offset: int, timestamp: int) -> Record:
    """Return a record without headers."""
    fields = b""
    for field in pair:
        fields += write_varint(-1 if field is None else len(field)) + (field or b"")
    return Record(0, timestamp, offset, pair[0], pair[1] is None, fields + b"\x00")


def make_batch(
    pairs: Sequence[Pair],
    *,
    timestamps: Sequence[int] = (),
    producer: tuple[int, int, int] = (-1, -1, -1),
    attributes: int = 0,
) -> bytes:
    """Return a batch as a producer sends it; `producer` is id, epoch and first sequence number."""
    times = timestamps or [1000] * len(pairs)
    producer_id, epoch, sequence = producer
    header = BatchHeader(
        base_offset=0,
        length=0,
        leader_epoch=-1,
        magic=2,
        crc=0,
        attributes=attributes,
        last_offset_delta=len(pairs) - 1,
        base_timestamp=times[0],
        max_timestamp=max(times),
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
        records=len(pairs),
    )
    return rebuild(
        header,
        [record(pair, offset=i, timestamp=times[i]) for i, pair in enumerate(pairs)],
    )


def values(*texts: str) -> list[Pair]:
    """Return records with these values, and with keys."""
    return [(b"k", text.encode()) for text in texts]


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still until the test moves it."""
    return Clock()


@pytest.fixture
def open_partition(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Partition]]:
    """Return a function that opens the log in a folder of the test, again if it was open."""
    opened: list[Partition] = []

    def open_partition(**config: str) -> Partition:
        for former in opened:
            former.close()
        own = {name.replace("_", "."): value for name, value in config.items()}
        opened.append(Partition(tmp_path / "log", TopicConfig(own), clock=clock))
        return opened[-1]

    yield open_partition
    for partition in opened:
        partition.close()


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], None]]:
    """Return a function after which no file grows beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def until(done: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Return the first true value of `done`; fail when the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := done():
            return result
        time.sleep(0.02)
    pytest.fail(f"still not so after {seconds} s")


class Kafka:
    """Clients of one cluster, closed with the test."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._consumers: list[Any] = []

    def _config(self, defaults: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
        own = {name.replace("_", "."): value for name, value in config.items()}
        return {"bootstrap.servers": self.bootstrap_servers, **defaults, **own}

    @functools.cached_property
    def admin(self) -> Any:
        """A client for administration."""
        return AdminClient(self._config({}, {}))

    def producer(self, **config: Any) -> Any:
        """Return a producer; settings with _ instead of a dot."""
        return Producer(self._config({"linger.ms": 1}, config))

    def transactional(self, transactional_id: str | None = None, **config: Any) -> Any:
        """Return a producer that is ready to begin a transaction."""
        producer = self.producer(transactional_id=transactional_id or name("tx"), **config)
        producer.init_transactions(PATIENCE)
        return producer

    def consumer(self, **config: Any) -> Any:
        """Return a consumer that reads from the start, in a group of its own."""
        defaults = {
            "group.id": name("group"),
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 100,
        }
        self._consumers.append(Consumer(self._config(defaults, config)))
        return self._consumers[-1]

    def topic(self, partitions: int = 1, **config: str) -> str:
        """Create a topic and return its name; settings with _ instead of a dot."""
        topic = name("topic")
        own = {key.replace("_", "."): value for key, value in config.items()}
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=own)
        self.admin.create_topics([new])[topic].result(PATIENCE)
        return topic

    def send(self, topic: str, *texts: str | bytes | None, **more: Any) -> list[Any]:
        """Produce these values, wait until all are acknowledged, return the delivered messages."""
        config = {key: more.pop(key) for key in list(more) if key not in _RECORD_FIELDS}
        producer, outcomes = self.producer(**config), list[tuple[Any, Any]]()
        for text in texts:
            producer.produce(
                topic, text, on_delivery=lambda *outcome: outcomes.append(outcome), **more
            )
        assert producer.flush(PATIENCE) == 0
        assert [error for error, _ in outcomes if error] == []
        return [message for _, message in outcomes]

    def read(self, topic: str, *, partition: int = 0, offset: int = 0, **config: Any) -> list[Any]:
        """Return the messages of a partition, from an offset to the end."""
        consumer = self.consumer(**config)
        consumer.assign([TopicPartition(topic, partition, offset)])
        return read_to_end(consumer)

    def watermarks(self, topic: str, partition: int = 0) -> tuple[int, int]:
        """Return the first offset of a partition and the one after the last."""
        consumer = self.consumer()
        low, high = consumer.get_watermark_offsets(
            TopicPartition(topic, partition), timeout=PATIENCE
        )
        return low, high

    def close(self) -> None:
        """Close all consumers."""
        for consumer in self._consumers:
            consumer.close()


_RECORD_FIELDS = ("key", "partition", "timestamp", "headers")


def name(prefix: str) -> str:
    """Return a name that nothing else has."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def next_message(consumer: Any, seconds: float = PATIENCE) -> Any:
    """Return the next message that is no end of a partition; fail when the time is up."""

    def poll() -> Any:
        message = consumer.poll(0.1)
        # A tombstone is a message that is false in confluent-kafka, hence the tuple.
        return None if message is None or at_end(message) else (message,)

    (message,) = until(poll, seconds)
    return message


def read(consumer: Any, count: int) -> list[Any]:
    """Return the next messages, errors included."""
    return [next_message(consumer) for _ in range(count)]


def read_to_end(consumer: Any) -> list[Any]:
    """Return what one partition holds up to its end."""
    messages: list[Any] = []
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and at_end(message):
            return messages
        if message is not None:
            assert message.error() is None, message.error()
            messages.append(message)
    pytest.fail(f"no end after {PATIENCE} s")


def at_end(message: Any) -> bool:
    """Whether the message says that a partition's end is reached."""
    return bool(message.error() and message.error().code() == KafkaError._PARTITION_EOF)


def texts(messages: Sequence[Any]) -> list[str | None]:
    """Return the values."""
    return [None if m.value() is None else m.value().decode() for m in messages]


@pytest.fixture
def kafka(kafka_broker: Broker) -> Iterator[Kafka]:
    """Return clients of a cluster, of each kind."""
    clients = Kafka(kafka_broker.bootstrap_servers)
    yield clients
    clients.close()
