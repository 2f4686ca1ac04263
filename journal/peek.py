"""Short questions about one Kafka partition: where it begins and ends, what is at an offset."""

import logging
import time
from collections.abc import Mapping
from typing import Any, cast

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from repertory.errors import JournalError

ASK_SECONDS = 1.0  # how long a broker may take for one answer; then it is asked again
_RETRY_SECONDS = 0.1  # pause before it is asked again, when it fails at once

CONSUMER = {
    "group.id": "repertory-journal",  # required, though no group is joined, nor offset committed
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "auto.offset.reset": "error",
}


class Peek:
    """Asks about partition 0 of a topic; sees committed messages only.

    It has a connection of its own, since a broker answers nothing else on the one on which a
    reader waits for messages to come. `patience` is how long a call waits for an answer, in
    seconds.
    """

    def __init__(self, properties: Mapping[str, Any], topic: str, *, patience: float) -> None:
        self._where = f"topic {topic!r} at {properties['bootstrap.servers']}"
        self._topic = topic
        self._patience = patience
        self._properties = dict(properties)
        self._silent_since: float | None = None  # when a broker first did not answer
        self._trouble = ""  # what librdkafka said last
        self._consumer = Consumer(
            {**properties, **CONSUMER, "fetch.wait.max.ms": 10, "error_cb": self._note},
            logger=logging.getLogger(__name__),
        )

    def ends(self) -> tuple[int, int] | None:
        """Return the offset of the first message, and the one after the last.

        None when no broker answers just now: see `silence`.
        """
        partition = TopicPartition(self._topic, 0)
        try:
            ends = self._consumer.get_watermark_offsets(partition, timeout=ASK_SECONDS)
        except KafkaException as error:
            self._note(error.args[0])
            self._consumer.poll(0)  # lets librdkafka tell the cause: refused, not authorised, …
            self._silent_since = self._silent_since or time.monotonic()
            return None
        self._silent_since = None
        return ends

    def silence(self) -> float:
        """Return for how many seconds no broker has answered; 0 when the last question was."""
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since

    def silent(self) -> JournalError:
        """Return the error that says so."""
        return JournalError(
            f"{self._where}: no answer for {self.silence():.0f} s ({self._trouble}); start the"
            " brokers, or mend kafka.bootstrap_servers"
        )

    def message(self, offset: int) -> Message | None:
        """Return the message at `offset`, or None when there is none. Raises JournalError."""
        deadline = time.monotonic() + self._patience
        while (ends := self.ends()) is None:
            if time.monotonic() > deadline:
                raise self.silent()
            time.sleep(_RETRY_SECONDS)
        low, high = ends
        if not low <= offset < high:
            return None
        self._consumer.assign([TopicPartition(self._topic, 0, offset)])
        try:
            message = self._first_message()
        finally:
            self._consumer.unassign()
        return message if message is not None and offset_of(message) == offset else None

    def newest(self) -> int:
        """Return the offset after the last message, committed or not. Raises JournalError."""
        partition = TopicPartition(self._topic, 0)
        admin = AdminClient(self._properties, logger=logging.getLogger(__name__))
        future = admin.list_offsets(
            {partition: OffsetSpec.latest()},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=self._patience,
        )[partition]
        try:
            return int(future.result().offset)
        except KafkaException as error:
            raise JournalError(f"{self._where}: {error.args[0].str()}") from error

    def close(self) -> None:
        """Leave the brokers. Idempotent."""
        self._consumer.close()

    def _first_message(self) -> Message | None:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            message = self._consumer.poll(ASK_SECONDS)
            if message is None:  # `not message` would be true of a message without a value
                continue
            error = message.error()
            if error is None:
                return message
            if error.code() == KafkaError._PARTITION_EOF:
                return None
            self._note(error)
        raise JournalError(
            f"{self._where}: a message does not come ({self._trouble}); see the brokers' logs"
        )

    def _note(self, error: KafkaError) -> None:
        self._trouble = error.str()


def offset_of(message: Message) -> int:
    """Return the offset of a message that came from a broker."""
    return cast(int, message.offset())
