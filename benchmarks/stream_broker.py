"""The broker that all contenders share, and its topics."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from repertory.streams.devbroker.process import BrokerProcess

PARTITIONS = 4
_PATIENCE = 120.0  # seconds, for what a broker does
_ANSWER = 20.0
# A run writes gigabytes: what is deleted is to leave the disk at once.
_APACHE = {"log.segment.delete.delay.ms": "1000"}

Progress = Callable[[int], None]


class Broker:
    """A broker that runs, as its administrator sees it. `pid` is None for one of somebody else."""

    def __init__(self, name: str, bootstrap: str, pid: int | None) -> None:
        self.name = name
        self.bootstrap = bootstrap
        self.pid = pid
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})

    def create(self, *topics: str) -> None:
        """Create topics of four partitions, and wait until they can be written."""
        for future in self._admin.create_topics(
            [NewTopic(t, PARTITIONS, 1) for t in topics]
        ).values():
            future.result(_ANSWER)
        deadline = time.monotonic() + _ANSWER
        while not set(topics) <= set(self._admin.list_topics(timeout=_ANSWER).topics):
            if time.monotonic() > deadline:
                raise TimeoutError(f"topics were created and are not there: {topics}")
            time.sleep(0.05)

    def delete(self, *topics: str) -> None:
        """Delete topics that may be there."""
        for future in self._admin.delete_topics(list(topics)).values():
            with suppress(KafkaException):
                future.result(_ANSWER)

    def watch(self, topic: str, group: str) -> "Watch":
        """Return what watches a topic, and what a group has committed of it."""
        return Watch(self.bootstrap, topic, group)


class Watch:
    """How far a topic goes, and how far a group has come with it. Does not join the group."""

    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        self._places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": group, "log_level": 2}
        )

    def end(self) -> int:
        """Return the sum of the ends of the partitions: all that was ever written."""
        ask = self._consumer.get_watermark_offsets
        ends = [_answer(partial(ask, place, timeout=_ANSWER)) for place in self._places]
        return sum(high for _, high in ends)

    def committed(self) -> int:
        """Return the sum of the offsets that the group has committed."""
        places = _answer(partial(self._consumer.committed, self._places, timeout=_ANSWER))
        return sum(max(0, place.offset) for place in places)

    def close(self) -> None:
        """End."""
        self._consumer.close()


def _answer(ask: Callable[[], Any]) -> Any:
    """Ask until there is an answer: of a topic that is new, a broker may know nothing yet."""
    deadline = time.monotonic() + _ANSWER
    while True:
        try:
            return ask()
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def fill(bootstrap: str, topic: str, records: list[bytes], count: int, progress: Progress) -> None:
    """Write `count` records, over and over, evenly to the partitions; a key each."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": "lz4",
            "linger.ms": 20,
            "queue.buffering.max.kbytes": 256 * 1024,
            "delivery.report.only.error": True,
        }
    )
    for number in range(count):
        value = records[number % len(records)]
        while not _produced(producer, topic, value, number):
            producer.poll(0.05)
        if number % 10_000 == 0:
            producer.poll(0)
            progress(number)
    if left := producer.flush(_PATIENCE):
        raise TimeoutError(f"{left} records were not taken by the broker")


def _produced(producer: Any, topic: str, value: bytes, number: int) -> bool:
    try:
        producer.produce(topic, value, b"%d" % number, number % PARTITIONS)
    except BufferError:
        return False
    return True


@contextmanager
def running_broker(choice: str) -> Iterator[Broker]:
    """Start the broker that is asked for: `apache`, `embedded`, or one that runs, HOST:PORT."""
    if choice == "embedded":
        with BrokerProcess(options=["--partitions", "0"]) as embedded:
            yield Broker("the embedded broker", embedded.bootstrap_servers, embedded.pid)
    elif choice == "apache":
        from tests.apache_kafka.jars import version
        from tests.apache_kafka.server import ApacheKafka

        with ApacheKafka(settings=_APACHE, heap_mb=1024, jvm_options=()) as apache:
            yield Broker(f"Apache Kafka {version()}", apache.bootstrap_servers, apache.pid)
    else:
        yield Broker(choice, choice, None)
