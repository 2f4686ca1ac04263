"""Reading the topic of dead letters: all that is on it now, or one message of a place."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from repertory.config import Kafka
from repertory.errors import NotFound, Unavailable
from repertory.streams.dead_letters import DeadLetter, Place
from repertory.streams.replayed import Replayed

ANSWER_SECONDS = 5.0  # of patience with one question, and with brokers that send nothing
POLL_SECONDS = 0.2
READ_AT_MOST = 1000  # messages at a time

_NO_ANSWER = "no broker answers at {}; start it, or mend kafka.bootstrap_servers"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant; None: it does not matter."""

    topic: str | None = None  # of their records
    data_type: str | None = None
    code: str | None = None
    since_ms: int | None = None  # when they failed, at the earliest

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant. What is no dead letter of Repertory's never is."""
        return (
            letter.source is not None
            and self.topic in (None, letter.source.topic)
            and self.data_type in (None, letter.data_type)
            and self.code in (None, letter.code)
            and (self.since_ms is None or letter.failed_ms >= self.since_ms)
        )


class DeadLetterTopic:
    """The topic of dead letters as it is when this is opened: what comes later is not seen.

    Only what is committed is read. No consumer group is joined. All methods block, and raise
    Unavailable when the brokers do not answer. For one thread.
    """

    def __init__(self, kafka: Kafka, *, to: str | None = None) -> None:
        """Open it. Raises NotFound when there is no such topic.

        What was replayed is told and stored apart for each topic `to` that it is sent to; None:
        the one that each record came from.
        """
        self.name = kafka.dead_letters_topic
        self.servers = kafka.bootstrap_servers or ""
        self._trouble, self._down = "", False
        self._properties: dict[str, Any] = {
            "log_level": 0,  # the exceptions tell
            "queued.max.messages.kbytes": 16 * 1024,
            **kafka.client_properties(),
            # Only to store what was replayed; it has no members.
            "group.id": f"{kafka.group_id}-dead-letters-replay{f'-{to}' if to else ''}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # for which the next place would have to wait, too
            "error_cb": self._note_trouble,
        }
        self._consumer = Consumer(self._properties)
        self._single: Consumer | None = None
        self.topics = self._list_topics()
        """The number of partitions of every topic there is."""
        if self.name not in self.topics:
            raise NotFound(
                f"there is no topic {self.name!r} at {self.servers}: no node was ever started"
                " there, or kafka.dead_letters_topic is not its name"
            )
        self.ends = {
            number: self._watermarks(self._consumer, self._place(number, 0))
            for number in range(self.topics[self.name])
        }
        """The first offset of each partition, and the one after the last."""

    def scan(self, begin: Mapping[int, int] | None = None) -> Iterator[list[Message]]:
        """Yield all messages from the offsets `begin` on (without: all), some at a time.

        Those of a partition come in order. An empty list is yielded while there is nothing.
        """
        starts = {number: (begin or {}).get(number, low) for number, (low, _) in self.ends.items()}
        left = {number for number, (_, high) in self.ends.items() if starts[number] < high}
        self._consumer.assign([self._place(number, starts[number]) for number in left])
        heard = time.monotonic()
        while left:
            messages = [
                message for message in self._read(self._consumer) if self._is_new(message, left)
            ]
            yield messages
            heard = time.monotonic() if messages else heard
            if time.monotonic() - heard > ANSWER_SECONDS:
                raise self._unavailable("the brokers send no more dead letters")

    def read(self, place: Place) -> Message | None:
        """Return the message of a place on any topic; None when there is none (any more)."""
        if self._single is None:
            self._single = Consumer(self._properties)
        low, high = self._watermarks(self._single, TopicPartition(*place))
        if not low <= place.offset < high:
            return None
        self._single.assign([TopicPartition(*place)])
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            message = self._single.poll(POLL_SECONDS)
            if message is None:
                continue
            error = message.error()
            if error is None:
                return message if message.offset() == place.offset else None
            if error.code() == KafkaError._PARTITION_EOF or not error.retriable():
                return None
        raise self._unavailable(f"{place} cannot be read")

    def replayed(self) -> dict[int, Replayed]:
        """Return what is stored about each partition: which of its letters were replayed."""
        places = [self._place(number, 0) for number in self.ends]
        try:
            stored = self._consumer.committed(places, timeout=ANSWER_SECONDS)
        except KafkaException as error:
            raise self._unavailable("what was replayed cannot be told", error) from error
        return {each.partition: self._known(each) for each in stored}

    def store(self, replayed: Mapping[int, Replayed]) -> None:
        """Store what was replayed, until `offsets.retention.minutes` have passed without another."""
        places = [
            TopicPartition(self.name, number, each.position, each.note())
            for number, each in replayed.items()
        ]
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            raise self._unavailable("what was replayed cannot be stored", error) from error

    def close(self) -> None:
        """End."""
        self._consumer.close()
        if self._single is not None:
            self._single.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _known(self, stored: TopicPartition) -> Replayed:
        low, high = self.ends[stored.partition]
        if (
            stored.offset < 0 or stored.offset > high
        ):  # nothing is stored, or the topic is a new one
            return Replayed(low)
        return Replayed(stored.offset, stored.metadata or "", first=low)

    def _is_new(self, message: Message, left: set[int]) -> bool:
        """Whether a message is wanted; takes partitions that are at their end from `left`."""
        number, error = message.partition() or 0, message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                left.discard(number)
            elif not error.retriable():
                raise self._unavailable(error.str())
            return False
        _, high = self.ends[number]
        offset = message.offset() or 0
        if offset >= high - 1 and number in left:
            left.discard(number)
            self._consumer.pause([self._place(number, offset)])
        return offset < high

    def _read(self, consumer: Consumer) -> Iterable[Message]:
        # consume() with a timeout would wait for all the messages it may return.
        first = consumer.poll(POLL_SECONDS)
        return [] if first is None else [first, *consumer.consume(READ_AT_MOST - 1, 0)]

    def _list_topics(self) -> dict[str, int]:
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                topics = self._consumer.list_topics(timeout=POLL_SECONDS).topics
                break
            except KafkaException as error:
                self._consumer.poll(0)
                if self._down or time.monotonic() > deadline:
                    raise self._unavailable(_NO_ANSWER.format(self.servers), error) from error
        return {name: len(topic.partitions) for name, topic in topics.items() if topic.partitions}

    def _watermarks(self, consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
        try:
            found = consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)
        except KafkaException as error:
            raise self._unavailable(f"topic {place.topic!r} cannot be read", error) from error
        return found if found is not None else (0, 0)

    def _place(self, number: int, offset: int) -> TopicPartition:
        return TopicPartition(self.name, number, offset)

    def _note_trouble(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._down = True
        else:
            self._trouble = error.str()

    def _unavailable(self, what: str, error: KafkaException | None = None) -> Unavailable:
        self._consumer.poll(0)  # librdkafka tells the cause by a callback
        why = self._trouble or (error.args[0].str() if error is not None else "")
        return Unavailable(f"{what}: {why}" if why else what)
