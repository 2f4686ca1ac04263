"""A steady flow of records while things happen, and what became of it."""

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from repertory.protos.results_pb2 import ScoredRecord

_NOT_YET = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
PAUSE_SECONDS = 0.02
PARTITIONS = range(4)


class Flow:
    """Writes a record to each partition of a topic, again and again, until it is left.

    `count` is how many each has got. `backwards` are the commits of `group` that were lower than
    the one before, as far as they were seen.
    """

    def __init__(
        self, bootstrap_servers: str, topic: str, group: str, make: Callable[[int], bytes]
    ) -> None:
        self._servers, self._topic, self._make = bootstrap_servers, topic, make
        self._consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group})
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 1})
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._write, self._watch)]
        self.count = 0
        self.backwards: list[tuple[int, int, int]] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._consumer.close()
        assert self._producer.flush(20) == 0

    def _write(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            for partition in PARTITIONS:
                self._producer.produce(self._topic, self._make(self.count), partition=partition)
            self._producer.poll(0)
            self.count += 1

    def _watch(self) -> None:
        seen = dict.fromkeys(PARTITIONS, -1)
        places = [TopicPartition(self._topic, partition) for partition in PARTITIONS]
        while not self._stop.wait(PAUSE_SECONDS):
            for place in _committed(self._consumer, places):
                if 0 <= place.offset < seen[place.partition]:
                    self.backwards.append((place.partition, seen[place.partition], place.offset))
                seen[place.partition] = place.offset


def _committed(consumer: Consumer, places: list[TopicPartition]) -> list[TopicPartition]:
    try:
        return consumer.committed(places, timeout=0.5)
    except KafkaException:  # a transaction holds some
        return []


def members(bootstrap_servers: str, group: str) -> dict[str, int]:
    """Return the members of a group by their static name, with how many partitions each has.

    None are told when the broker cannot say: its coordinator takes a while to load the first group.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    [found] = admin.describe_consumer_groups([group]).values()
    try:
        described = found.result()
    except KafkaException as error:
        if error.args[0].code() not in _NOT_YET:
            raise
        return {}
    return {
        str(each.group_instance_id): len(each.assignment.topic_partitions)
        for each in described.members
    }


def longest_gap(results: Iterable[ScoredRecord]) -> float:
    """Return the longest time in seconds that a partition's records went without a result."""
    scored: defaultdict[int, list[int]] = defaultdict(list)
    for each in results:
        scored[each.source.partition].append(each.scored_ms)
    return max(
        (after - before) / 1000
        for times in map(sorted, scored.values())
        for before, after in itertools.pairwise(times)
    )
