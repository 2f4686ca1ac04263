"""What became of each record of the delivery tests: read back from the topics, and compared."""

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from threading import Event

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from tests.system.wine_input import headers_of, poison_code, value_of

from repertory.protos.results_pb2 import ScoredRecord
from repertory.streams.dead_letters import read_letter

INPUT, RESULTS, LETTERS = "mdata", "results", "dead-letters"
_MOST_FAULTS = 20
_Numbers = Mapping[int, list[int]]  # by partition and offset of the input


def read_input(brokers: str) -> dict[int, list[int]]:
    """Return the numbers of the records, by partition and offset. There must be no gaps."""
    numbers: defaultdict[int, list[int]] = defaultdict(list)
    for message in read_topic(brokers, INPUT):
        of_partition = numbers[message.partition() or 0]
        assert message.offset() == len(of_partition), "the input has gaps"
        of_partition.append(_number(message))
    return dict(numbers)


@dataclass
class Outcomes:
    """The offsets of the records that came to results and to dead letters, in the order of these.

    By partition of the input, which must be that of the output. `faults` are messages that are not
    as they should be.
    """

    results: dict[int, list[int]] = field(default_factory=dict)
    letters: dict[int, list[int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    aborted: int = 0
    """Messages that were written in transactions which were aborted."""

    @property
    def doubled(self) -> int:
        """Messages beyond the first of each record."""
        topics = (self.results, self.letters)
        return sum(len(each) - len(set(each)) for topic in topics for each in topic.values())

    def compare(self, numbers: _Numbers, *, once: bool) -> list[str]:
        """Return what is wrong; nothing when each record has its outcome, in the order of offsets.

        Without `once`, further outcomes of a record are passed over: what was not committed is
        read again, from a record on whose predecessors all have theirs, so that the first outcomes
        are in order nevertheless.
        """
        wrong = list(self.faults)
        for partition, several in numbers.items():
            good = [at for at, number in enumerate(several) if poison_code(number) is None]
            bad = [at for at, number in enumerate(several) if poison_code(number) is not None]
            for topic, found, wanted in (
                (RESULTS, self.results.get(partition, []), good),
                (LETTERS, self.letters.get(partition, []), bad),
            ):
                if not once:
                    found = list(dict.fromkeys(found))
                if found != wanted:
                    wrong.append(f"{topic}/{partition}: {_difference(found, wanted)}")
        return wrong


def read_outcomes(brokers: str, numbers: _Numbers) -> Outcomes:
    """Read results and dead letters as a read_committed consumer sees them."""
    outcomes = Outcomes()
    committed = 0
    for topic, place, by_partition in (
        (RESULTS, _result, outcomes.results),
        (LETTERS, _letter, outcomes.letters),
    ):
        for message in read_topic(brokers, topic):
            committed += 1
            try:
                partition, offset = place(message, numbers)
                by_partition.setdefault(partition, []).append(offset)
            except (AssertionError, IndexError, KeyError) as error:
                if len(outcomes.faults) < _MOST_FAULTS:
                    at = f"{topic}/{message.partition()}/{message.offset()}"
                    outcomes.faults.append(f"{at}: {error!r}")
    every = sum(
        1
        for topic in (RESULTS, LETTERS)
        for _ in read_topic(brokers, topic, isolation="read_uncommitted")
    )
    outcomes.aborted = every - committed
    return outcomes


def _result(message: Message, numbers: _Numbers) -> tuple[int, int]:
    result = ScoredRecord.FromString(message.value() or b"")
    source = result.source
    number = numbers[source.partition][source.offset]
    assert poison_code(number) is None, f"poison {number} has a result"
    assert source.topic == INPUT
    assert message.partition() == source.partition
    assert message.timestamp()[1] == source.timestamp_ms
    assert _number(message) == number
    assert result.record == value_of(number)
    assert result.WhichOneof("score"), "it has no score"
    headers = dict(message.headers() or [])
    assert headers.pop("model-sha256") == result.model.sha256.encode()
    assert headers == {
        **dict(headers_of(number)),
        "data-type": b"wine",
        "model": b"05-mlp",
        "model-version": b"1",
    }
    return source.partition, source.offset


def _letter(message: Message, numbers: _Numbers) -> tuple[int, int]:
    letter = read_letter(message)
    assert letter.source is not None
    topic, partition, offset = letter.source
    number = numbers[partition][offset]
    assert letter.code == poison_code(number)
    assert topic == INPUT
    assert message.partition() == partition
    assert _number(message) == number
    assert letter.value == value_of(number)
    assert letter.headers == headers_of(number)
    return partition, offset


def _number(message: Message) -> int:
    return int(message.key() or b"-1")


def _difference(found: list[int], wanted: list[int]) -> str:
    missing = sorted(set(wanted) - set(found))
    doubled = len(found) - len(set(found))
    strangers = sorted(set(found) - set(wanted))
    back = [(one, two) for one, two in itertools.pairwise(found) if two <= one]
    return (
        f"{len(found):,} records of {len(wanted):,}; missing {len(missing)} {missing[:5]},"
        f" doubled {doubled}, strangers {strangers[:5]},"
        f" {len(back)} times not in order {back[:5]}"
    )


def read_topic(brokers: str, topic: str, *, isolation: str = "read_committed") -> Iterator[Message]:
    """Yield the messages of a topic up to its end; those of each partition in order."""
    consumer = _reader(brokers, isolation, **{"enable.partition.eof": True})
    try:
        left = _assign(consumer, topic)
        while left:
            for message in consumer.consume(2000, timeout=0.5):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard((topic, message.partition() or 0))
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()


def _reader(brokers: str, isolation: str, **properties: object) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "the test",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,
            **properties,
        }
    )


def _assign(consumer: Consumer, *topics: str) -> set[tuple[str, int]]:
    known = consumer.list_topics(timeout=10).topics
    places = {(topic, number) for topic in topics for number in known[topic].partitions}
    consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
    return places


class Progress:
    """Follows results and dead letters while the test runs: how many records have theirs."""

    def __init__(self, brokers: str) -> None:
        self._consumer = _reader(brokers, "read_committed", **{"fetch.wait.max.ms": 50})
        self._seen = bytearray()
        self.done = 0
        self.slowest = 0.0
        """The longest time without any outcome, seconds."""

    def run(self, stop: Event) -> None:
        """Follow until `stop` is set."""
        _assign(self._consumer, RESULTS, LETTERS)
        last = None
        while not stop.is_set():
            messages = self._consumer.consume(1000, timeout=0.05)
            numbers = [_number(each) for each in messages if each.error() is None]
            if numbers:
                now = time.monotonic()
                self.slowest = max(self.slowest, now - (last or now))
                last = now
                self._note(numbers)
        self._consumer.close()

    def _note(self, numbers: list[int]) -> None:
        if (missing := max(numbers) + 1 - len(self._seen)) > 0:
            self._seen.extend(bytes(max(missing, len(self._seen))))
        for number in numbers:
            if not self._seen[number]:
                self._seen[number] = 1
                self.done += 1
