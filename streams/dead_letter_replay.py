"""Sending the records of dead letters back to where they came from."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from repertory.config import Kafka
from repertory.errors import NotFound, Unavailable
from repertory.streams.dead_letter_topic import Choice, DeadLetterTopic
from repertory.streams.dead_letters import (
    DeadLetter,
    Place,
    headers_of,
    read_letter,
    replay_headers,
)
from repertory.streams.record import Headers

PATIENCE_MS = 30_000
FLUSH_SECONDS = 0.2
LARGEST_MESSAGE = 1_000_000_000  # librdkafka's limit


@dataclass(slots=True)
class Report:
    """What a replay did, or would do."""

    scanned: int = 0  # letters looked at
    sent: Counter[str] = field(default_factory=Counter)
    """By topic; the brokers have acknowledged them."""
    known: int = 0
    """Letters that were chosen, but had been replayed before."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Letters that cannot be replayed, by id, and why."""
    forgotten: bool = False
    """Whether some that were sent could not be stored as replayed."""


@dataclass(frozen=True, slots=True)
class How:
    """How letters are replayed."""

    to: str | None = None
    """The topic to send to; None: the one that a record came from."""
    again: bool = False
    """Whether to send also what was replayed before."""
    dry_run: bool = False
    """Whether to send nothing, and only count."""
    now: bool = False
    """Whether records get the time of now instead of their own."""


class LetterReplay:
    """Sends the records of letters again: acknowledged by all replicas, idempotent.

    A record has the bytes, the key, the headers and the timestamp that it had, and goes to the
    partition that it was in, so that it keeps its order with its neighbours whatever partitioner
    its producer has; to another topic (or if there are fewer partitions now), by its key.

    What was acknowledged is stored, after each thousand: a replay that ends by a crash sends at
    most the last thousand again.
    """

    def __init__(self, letters: DeadLetterTopic, kafka: Kafka, how: How) -> None:
        """Raises NotFound when there is no topic `how.to`."""
        if how.to is not None and how.to not in letters.topics:
            raise NotFound(f"there is no topic {how.to!r} at {letters.servers}")
        self.report = Report()
        self._letters = letters
        self._how = how
        self._failure = ""
        self._sent: Counter[str] = Counter()  # and not acknowledged yet
        self._replayed = letters.replayed()
        self._producer = Producer(
            {
                "log_level": 0,
                "linger.ms": 2,
                "compression.type": "lz4",
                "message.timeout.ms": PATIENCE_MS,
                **kafka.client_properties(),
                "message.max.bytes": LARGEST_MESSAGE,  # the broker says what is too large
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",  # as Java's
            }
        )

    def chosen(
        self, choice: Choice, *, progress: Callable[[int], None], stop: Callable[[], bool]
    ) -> None:
        """Replay what a choice takes, until `stop` says so; `progress` is told what was scanned.

        Raises Unavailable when the brokers do not take it.
        """
        begin = {number: each.position for number, each in self._replayed.items()}
        for messages in self._letters.scan(None if self._how.again else begin):
            if stop():
                break
            touched = self._take(messages, choice)
            self._finish(touched)
            self.report.scanned += len(messages)
            progress(len(messages))

    def some(self, ids: Iterable[tuple[int, int]]) -> None:
        """Replay the letters of these places. Raises NotFound, before any is sent, for what is none."""
        letters = [self.find(*each) for each in ids]
        for letter in letters:
            known = self._replayed[letter.partition].has(letter)
            if known and not self._how.again:
                self.report.known += 1
            elif self._send(letter):
                self._replayed[letter.partition].add(letter)
        self._finish({letter.partition for letter in letters})

    def find(self, partition: int, offset: int) -> DeadLetter:
        """Return a letter. Raises NotFound."""
        return find_letter(self._letters, partition, offset)

    def _take(self, messages: Iterable[Message], choice: Choice) -> set[int]:
        touched = set()
        for letter in map(read_letter, messages):
            if letter.source is None:
                continue
            touched.add(letter.partition)
            replayed = self._replayed[letter.partition]
            done = replayed.has(letter)
            if choice.takes(letter):
                if done and not self._how.again:
                    self.report.known += 1
                else:
                    done = self._send(letter) or done
            (replayed.sent if done else replayed.passed)(letter)
        return touched

    def _send(self, letter: DeadLetter) -> bool:
        """Send a letter's record; return False, and say why, when that cannot be."""
        topic = self._how.to or (letter.source.topic if letter.source else "")
        value: bytes | None = None
        headers: Headers = []
        if topic and topic not in self._letters.topics:
            why = f"there is no topic {topic!r} any more; --to names another"
        else:
            value, headers, why = whole(self._letters, letter)
        if why:
            self.report.refused.append((letter.id, why))
            return False
        self._sent[topic] += 1
        if not self._how.dry_run:
            self._produce(letter, topic, value, replay_headers(letter, headers))
        return True

    def _produce(
        self, letter: DeadLetter, topic: str, value: bytes | None, headers: Headers
    ) -> None:
        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                self._failure = self._failure or f"{letter.id} was not sent: {error.str()}"

        while True:
            try:
                self._producer.produce(
                    topic,
                    value,
                    letter.key,
                    partition=self._partition(letter.source, topic),
                    timestamp=0 if self._how.now else letter.timestamp_ms,
                    headers=headers,
                    on_delivery=delivered,
                )
            except BufferError:
                self._producer.poll(FLUSH_SECONDS)  # there is room at the latest when it times out
            except KafkaException as error:
                raise Unavailable(f"{letter.id} cannot be sent: {error.args[0].str()}") from error
            else:
                return

    def _partition(self, source: Place | None, topic: str) -> int:
        there = source is not None and source.topic == topic
        if source is None or not there or source.partition >= self._letters.topics[topic]:
            return -1  # by the key
        return source.partition

    def _finish(self, touched: set[int]) -> None:
        """Wait for what was sent, and store that."""
        while self._producer.flush(FLUSH_SECONDS):
            pass
        if self._failure:
            raise Unavailable(self._failure)
        self.report.sent.update(self._sent)
        self._sent.clear()
        if touched and not self._how.dry_run:
            self._letters.store({number: self._replayed[number] for number in touched})
            self.report.forgotten |= any(each.forgotten for each in self._replayed.values())


def find_letter(letters: DeadLetterTopic, partition: int, offset: int) -> DeadLetter:
    """Return a letter. Raises NotFound, and says what there is."""
    name = letters.name
    if partition not in letters.ends:
        raise NotFound(
            f"{partition}/{offset}: {name} has the partitions 0 to {len(letters.ends) - 1}"
        )
    low, high = letters.ends[partition]
    message = letters.read(Place(name, partition, offset)) if low <= offset < high else None
    if message is None:
        there = f"offsets {low} to {high - 1}" if low < high else "nothing"
        raise NotFound(f"{partition}/{offset}: no such dead letter; the partition has {there}")
    return read_letter(message)


def whole(letters: DeadLetterTopic, letter: DeadLetter) -> tuple[bytes | None, Headers, str]:
    """Return a record's value and headers, and why they cannot be had (empty when they can).

    What was left out is read where the record came from.
    """
    if letter.source is None:
        return letter.value, letter.headers, "it is no dead letter of Repertory's"
    if letter.value_bytes is None and not letter.headers_left_out:
        return letter.value, letter.headers, ""
    gone = f"its value was too large for {letters.name}, and is not at {letter.source} any more"
    message = None
    if letter.source.topic in letters.topics:
        message = letters.read(letter.source)
    if message is None or message.key() != letter.key:
        return None, [], gone
    value: bytes | None = message.value()
    if letter.value_bytes is not None and len(value or b"") != letter.value_bytes:
        return None, [], gone  # the topic was made anew, and has another record there
    return value, headers_of(message), ""
