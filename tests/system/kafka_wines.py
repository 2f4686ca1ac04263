"""Wines that stream through Kafka at a steady rate, and the results that come of them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from confluent_kafka import Consumer, Producer, TopicPartition

from repertory.actors.local_node import wait_until
from repertory.protos.results_pb2 import Decision, ScoredRecord
from repertory.protos.winerecord_pb2 import WineRecord

RATE = 1000  # records a second


class Stream:
    """Produces wines at a steady rate, and knows which of them have results."""

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._consumer = Consumer({"bootstrap.servers": brokers, "group.id": "the test"})
        self.produced: Counter[tuple[int, int]] = Counter()
        self.results: Counter[tuple[int, int]] = Counter()
        self.decisions: list[Decision] = []  # of the results that have one

    def produce(self, stop: Event) -> None:
        producer = Producer({"bootstrap.servers": self._brokers, "linger.ms": 5})
        value = WineRecord(pH=3.3, alcohol=10, density=0.99).SerializeToString()
        while not stop.is_set():
            for number in range(RATE // 20):
                producer.produce("mdata", value, str(number), on_delivery=self._delivered)
            producer.poll(0)
            stop.wait(0.05)
        producer.flush()

    def _delivered(self, error: object, message: object) -> None:
        assert error is None
        self.produced[message.partition(), message.offset()] += 1  # type: ignore[attr-defined]

    def read(self, stop: Event) -> None:
        partitions = [TopicPartition("results", number, 0) for number in range(4)]
        self._consumer.assign(partitions)
        while not stop.is_set():
            for message in self._consumer.consume(500, timeout=0.1):
                assert message.error() is None
                result = ScoredRecord.FromString(message.value() or b"")
                self.results[result.source.partition, result.source.offset] += 1
                if result.HasField("decision"):
                    self.decisions.append(result.decision)
        self._consumer.close()


@contextmanager
def flowing(brokers: str) -> Iterator[Stream]:
    """Stream wines in the background of a `with` block; at its end each record has a result."""
    stream, no_more, stop = Stream(brokers), Event(), Event()
    threads = [
        Thread(target=stream.produce, args=(no_more,)),
        Thread(target=stream.read, args=(stop,)),
    ]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: stream.results, "the first result")
        yield stream
        no_more.set()
        threads[0].join()
        wait_until(lambda: set(stream.produced) <= set(stream.results), "each has a result", 60)
    finally:
        no_more.set()
        stop.set()
        for thread in threads:
            thread.join()
