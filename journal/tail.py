"""Reading one Kafka partition in order, and knowing for certain when its end is reached."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from repertory.errors import JournalError
from repertory.journal.peek import ASK_SECONDS, CONSUMER, Peek, offset_of

_NOWHERE = -1


class Tail:
    """A reader of partition 0 of a topic. Sees committed messages only, and joins no group."""

    def __init__(
        self, properties: Mapping[str, Any], topic: str, *, peek: Peek, patience: float
    ) -> None:
        self._where = f"topic {topic!r} at {properties['bootstrap.servers']}"
        self._topic = topic
        self._peek = peek
        self._patience = patience
        self._offset = _NOWHERE  # of the next message that the consumer may give
        self._empty_to = _NOWHERE  # no message is between `_offset` and here
        self._end: int | None = None  # where the messages end, as a broker last told
        self._consumer = Consumer({**properties, **CONSUMER}, logger=logging.getLogger(__name__))

    def next(self, offset: int, *, timeout: float) -> Message | None:
        """Return the first message at or over `offset`; None when there is none.

        Waits up to `timeout` seconds for one to be published, and longer, up to the patience, for
        one that exists: None means that a broker said so. Once all that a broker told of was read,
        silent brokers are waited for like a quiet topic. Raises JournalError when, at the end, they
        have been silent for longer than the patience, and when the topic ends before `offset`.
        """
        if offset != self._offset:
            self._assign(offset)
        start = time.monotonic()
        message = self.at_hand()
        while message is None:
            self._learn_ends(offset)
            now = time.monotonic()
            behind = self._end is None or self._end > self._empty_to
            remaining = start + timeout - now
            if remaining <= 0 and self._peek.silence() > self._patience:
                raise self._peek.silent()
            if not behind and remaining <= 0:
                return None
            if behind and now > start + self._patience:
                raise JournalError(
                    f"{self._where}: the message at offset {self._offset} is there, but does not"
                    " come; see the brokers' logs"
                )
            message = self._poll(_slice(remaining, behind=behind))
        return message

    def at_hand(self) -> Message | None:
        """Return the next message if it has already come from the broker. Does not wait."""
        return self._poll(0)

    def close(self) -> None:
        """Leave the brokers. Idempotent."""
        self._consumer.close()

    def _assign(self, offset: int) -> None:
        self._consumer.assign([TopicPartition(self._topic, 0, offset)])
        self._offset = self._empty_to = offset

    def _poll(self, seconds: float) -> Message | None:
        message = self._consumer.poll(seconds)
        if message is None:  # `not message` would be true of a message without a value
            return None
        error = message.error()
        if error is None:
            self._offset = self._empty_to = offset_of(message) + 1
            return message
        if error.code() == KafkaError._PARTITION_EOF:
            self._empty_to = offset_of(message)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._assign(self._offset)  # the partition's ends changed: they are about to be asked
        return None  # librdkafka mends other errors by itself, or the patience ends

    def _learn_ends(self, offset: int) -> None:
        ends = self._peek.ends()
        if ends is None:
            return
        low, self._end = ends
        if self._end < offset and self._peek.newest() < offset:
            raise JournalError(
                f"{self._where}: ends at offset {self._end}, but was read up to {offset} before:"
                " the topic was made anew, or the brokers lost messages; restore it, or start over"
                " with another data_dir"
            )
        if self._offset < low:  # somebody removed the first messages
            self._assign(low)


def _slice(remaining: float, *, behind: bool) -> float:
    """Return for how long to wait for a message before the partition's ends are asked again."""
    return ASK_SECONDS if behind else min(remaining, ASK_SECONDS)
