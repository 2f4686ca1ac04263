"""Records that stream in at a steady rate, and the results that come of them, one by one.

A process of its own: see load_process.py. The records of a partition are numbered, and only this
process writes to it; so from the results can be told which records were lost, which have several
results, and in which order they came.
"""

import asyncio
import itertools
import threading
import time
from array import array
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from tests.cluster.load_process import run, say_running
from tests.cluster.timeline import Timeline

from repertory.protos.results_pb2 import ScoredRecord
from repertory.protos.winerecord_pb2 import WineRecord

_TICK = 0.02  # seconds between two handfuls of records
_WINE = WineRecord(fixed_acidity=7.4, pH=3.5, density=0.99, alcohol=9.4).SerializeToString()
_NONE = -1


class Partition:
    """The records of one partition, by their number, and what became of each."""

    def __init__(self, first: int) -> None:
        self.first = first  # offset of number 0
        self.sent = array("d")  # epoch seconds
        self.delivered = 0
        self.counts = bytearray()  # results
        self.versions = array("q")  # of the first result
        self.strange = 0  # results that are not of the record at their offset
        self.disorder = 0  # first results that came after one of a later record
        self.stepped_back = 0  # results of a lower version than one before them, as they came
        self.slowest = 0.0
        self.times = Timeline()
        self._newest = self._highest = _NONE

    def number(self, now: float) -> int:
        """Return the number of one more record."""
        self.sent.append(now)
        self.counts.append(0)
        self.versions.append(_NONE)
        return len(self.sent) - 1

    def result(self, result: ScoredRecord, now: float) -> None:
        """Note a result of a record of this partition."""
        number, version = result.source.offset - self.first, result.model.version
        if number < 0:
            return  # of what was there before
        if number >= len(self.sent) or WineRecord.FromString(result.record).ts != number:
            self.strange += 1
            return
        self.counts[number] = min(self.counts[number] + 1, 255)
        self.stepped_back += version < self._highest
        self._highest = max(version, self._highest)
        if self.counts[number] == 1:
            self.versions[number] = version
            self.disorder += number < self._newest
            self._newest = max(number, self._newest)
            self.slowest = max(self.slowest, now - self.sent[number])
            self.times.note(now)

    @property
    def missing(self) -> int:
        """How many records have no result."""
        return self.counts.count(0)

    def report(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        known = [version for version in self.versions if version != _NONE]
        lower = sum(later < earlier for earlier, later in itertools.pairwise(known))
        lost = [number for number, count in enumerate(self.counts) if not count]
        return {
            "records": len(self.sent),
            "undelivered": len(self.sent) - self.delivered,
            "missing": len(lost),
            "lost": [(self.first + number, self.sent[number]) for number in lost[:5]],
            "doubled": len(self.counts) - len(lost) - self.counts.count(1),
            "strange": self.strange,
            "disorder": self.disorder,
            "backwards": lower,
            "steppedBack": self.stepped_back,
            "slowest": self.slowest,
            "pauses": self.times.pauses,
        }


Place = tuple[str, int]


class StreamLoad:
    """Produces records of all data types, and reads their results."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._brokers = {"bootstrap.servers": settings["brokers"]}
        self._rate: int = settings["rate"]
        self.topics: dict[str, str] = settings["topics"]  # data types by topic
        # Of which results are read although a transaction with them may be aborted yet.
        self._at_least_once = {each.encode() for each in settings["atLeastOnce"]}
        self.partitions: dict[Place, Partition] = {}
        self.times = {data_type: Timeline() for data_type in self.topics.values()}
        self.dead_letters: list[str] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._readers = [
            threading.Thread(target=self._read, args=(isolation,))
            for isolation in ("read_uncommitted", "read_committed")
        ]

    def prepare(self) -> None:
        """Find the ends of all topics, so that what was there before does not count."""
        consumer = self._consumer("read_uncommitted")
        for topic in self.topics:
            for place in _places(consumer, topic):
                _, end = consumer.get_watermark_offsets(place, timeout=20)
                self.partitions[place.topic, place.partition] = Partition(end)
        consumer.close()
        for reader in self._readers:
            reader.start()

    def _consumer(self, isolation: str) -> Consumer:
        own = {"group.id": "of the tests", "isolation.level": isolation, "fetch.wait.max.ms": 50}
        return Consumer({**self._brokers, **own, "enable.auto.commit": False})

    def _read(self, isolation: str) -> None:
        """Read the results of the data types whose promise is of this isolation, from now on."""
        consumer = self._consumer(isolation)
        committed = isolation == "read_committed"
        topics = ("results", "dead-letters") if committed else ("results",)
        places = [place for topic in topics for place in _places(consumer, topic)]
        for place in places:
            place.offset = consumer.get_watermark_offsets(place, timeout=20)[1]
        consumer.assign(places)
        while not self._stop.is_set():
            for message in consumer.consume(1000, timeout=0.05):
                self._note(message, committed)
        consumer.close()

    def _note(self, message: Message, committed: bool) -> None:
        if message.error() is not None:
            if message.error().fatal():  # type: ignore[union-attr]
                raise RuntimeError(f"results cannot be read: {message.error()}")
            return
        headers = dict(message.headers() or ())
        if message.topic() == "dead-letters":
            self.dead_letters.append(str(headers))
        elif (headers["data-type"] in self._at_least_once) != committed:
            result, now = ScoredRecord.FromString(message.value() or b""), time.time()
            place = (result.source.topic, result.source.partition)
            with self._lock:
                self.partitions[place].result(result, now)
                self.times[self.topics[place[0]]].note(now)

    def produce(self, stop: threading.Event) -> None:
        """Produce at the rate until `stop`, and wait until the broker has everything."""
        idempotent = {"enable.idempotence": True, "linger.ms": 10}
        producer = Producer({**self._brokers, **idempotent})
        places, at, due = list(self.partitions), 0, time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            due += _TICK
            for _ in range(round(self._rate * _TICK)):
                at = (at + 1) % len(places)
                self._send(producer, places[at])
            producer.poll(0)
        producer.flush()

    def _send(self, producer: Producer, place: Place) -> None:
        partition = self.partitions[place]
        with self._lock:
            number = partition.number(time.time())
        value = _WINE + WineRecord(ts=number).SerializeToString()
        producer.produce(place[0], value, partition=place[1], on_delivery=self._delivered)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            topic, partition = message.topic(), message.partition()
            assert topic is not None
            assert partition is not None
            self.partitions[topic, partition].delivered += 1

    @property
    def running(self) -> bool:
        """Whether there is a result of every partition."""
        return all(each.times.last for each in self.partitions.values())

    @property
    def missing(self) -> int:
        """How many records have no result yet."""
        return sum(each.missing for each in self.partitions.values())

    def close(self) -> None:
        """Read no more."""
        self._stop.set()
        for reader in self._readers:
            reader.join()

    def report(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        found: dict[str, Any] = {
            name: {"pauses": times.pauses, "partitions": []} for name, times in self.times.items()
        }
        for (topic, _), partition in self.partitions.items():
            found[self.topics[topic]]["partitions"].append(partition.report())
        return {"data_types": found, "deadLetters": self.dead_letters[:5]}


def _places(consumer: Consumer, topic: str) -> list[TopicPartition]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = consumer.list_topics(topic, timeout=20).topics[topic]
        if found.error is None and found.partitions:
            return [TopicPartition(topic, each) for each in found.partitions]
        time.sleep(0.1)
    raise TimeoutError(f"there is no topic {topic!r}")


async def body(settings: dict[str, Any], stop: asyncio.Event) -> dict[str, Any]:
    """Make load until `stop`; then wait for the results of all, for so many seconds at most."""
    load, no_more = StreamLoad(settings), threading.Event()
    await asyncio.to_thread(load.prepare)
    producing = asyncio.create_task(asyncio.to_thread(load.produce, no_more))
    while not load.running and not stop.is_set():
        await asyncio.sleep(0.05)
    say_running()
    await stop.wait()
    no_more.set()
    await producing
    deadline = time.monotonic() + settings["patience"]
    while load.missing and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    await asyncio.sleep(settings["linger"])  # for results that come twice
    await asyncio.to_thread(load.close)
    return load.report()


if __name__ == "__main__":
    run(body)
