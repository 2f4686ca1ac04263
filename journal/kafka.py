"""The journal as a Kafka topic of one partition: the topic is the truth, and anybody may publish.

A message is an entry: its position is its offset + 1. Ours have the data type as key and in the
header `repertory-data-type`. A roll back has the header `repertory-rollback-to: VERSION`, and as
value a ModelDescriptor of which only dataType is set. A message without a value, anybody's, retires
the data type that is its key. One with the header `message-type: policy`, anybody's too, is a
policy, and one of these without a value says that there is none any more. All other messages are
models of other clients. The data type of others' messages is what the value says, or else the key.
"""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from google.protobuf.message import DecodeError

from repertory.errors import JournalError
from repertory.journal.journal import Entry, check_rollback
from repertory.journal.peek import Peek, offset_of
from repertory.journal.tail import Tail
from repertory.journal.topic import examine_topic, prepare_topic
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.protos.policy_pb2 import Policy

MEBIBYTE = 1024 * 1024
READ_BYTES = 64 * MEBIBYTE  # one `read` stops when it holds so much

# How soon it is noticed that somebody lets the topic lose messages, and that it was mended.
CHECK_SECONDS, MEND_SECONDS = 10.0, 1.0
QUIET_SECONDS = 2.0  # brokers that take longer for an answer are in trouble

MESSAGE_TYPE, POLICY = "message-type", "policy"  # a header, anybody's, and what it says
_DATA_TYPE = "repertory-data-type"
_ROLLBACK = "repertory-rollback-to"
_ORIGIN = "repertory-origin"

_ENVELOPE_BYTES = MEBIBYTE  # room for what surrounds a model's content in a message
_LARGEST_MESSAGE = 1_000_000_000  # that librdkafka can be configured for
_KEY = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # a key that may be a data type
_VERSION = re.compile(rb"[1-9][0-9]{0,18}")


class KafkaJournal:
    """A journal in `topic`, which is created when missing (unless `create_topic` is false).

    `properties` are further librdkafka properties (security, for example). `max_bytes` is the
    size of the largest model. `patience` is how many seconds of silence of all brokers are borne:
    an `append` fails after it; a `read` that has read all that was known waits like for a quiet
    topic, and fails after it; in both cases the instance can be used again.

    Unlike in other journals, `append` does not look for its `origin`: what came over this topic
    is in the journal already, so that there is nothing to append it for. It is kept as a header.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        properties: Mapping[str, Any] | None = None,
        *,
        create_topic: bool = True,
        max_bytes: int = 256 * MEBIBYTE,
        patience: float = 30.0,
    ) -> None:
        self._where = f"topic {topic!r} at {bootstrap_servers}"
        self._topic = topic
        self._patience = patience
        self._max_bytes = min(max_bytes + _ENVELOPE_BYTES, _LARGEST_MESSAGE)
        self._properties: dict[str, Any] = {
            "client.id": "repertory-journal",
            "reconnect.backoff.max.ms": 1000,  # by default, brokers that are back wait for 10 s
            **(properties or {}),
            "bootstrap.servers": bootstrap_servers,
        }
        self._properties["message.max.bytes"] = self._max_bytes
        self._producer: Producer | None = None
        prepare_topic(self._properties, topic, create=create_topic, max_bytes=self._max_bytes)
        self._examined = time.monotonic()
        self._fault: str | None = None  # what was wrong with the topic then
        # A fetch brings at least one message, however large: it must fit, with what surrounds it.
        fetching = self._properties | {
            "fetch.max.bytes": self._max_bytes,
            "receive.message.max.bytes": self._max_bytes + _ENVELOPE_BYTES,
        }
        self._peek = Peek(fetching, topic, patience=patience)
        self._tail = Tail(fetching, topic, peek=self._peek, patience=patience)

    def append(self, data_type: str, descriptor: bytes, *, origin: str | None = None) -> Entry:
        """Append a descriptor; see `Journal`. All replicas in sync have it when this returns.

        Raises JournalError. If that says that no broker acknowledged it, the entry may be in the
        journal all the same.
        """
        headers = {_DATA_TYPE: data_type} | ({_ORIGIN: origin} if origin is not None else {})
        appended = self._produce(data_type, descriptor, headers)
        return self._appended(appended, data_type, origin, descriptor=descriptor)

    def roll_back(self, data_type: str, version: int) -> Entry:
        """Append a roll back; see `Journal` and `append`."""
        check_rollback(self, data_type, version)
        value = ModelDescriptor(dataType=data_type).SerializeToString()
        headers = {_DATA_TYPE: data_type, _ROLLBACK: str(version)}
        appended = self._produce(data_type, value, headers)
        return self._appended(appended, data_type, rollback_to=version)

    def retire(self, data_type: str, *, origin: str | None = None) -> Entry:
        """Append a tombstone; see `Journal` and `append`."""
        headers = {_DATA_TYPE: data_type} | ({_ORIGIN: origin} if origin is not None else {})
        appended = self._produce(data_type, None, headers)
        return self._appended(appended, data_type, origin, retires=True)

    def set_policy(self, data_type: str, policy: bytes, *, origin: str | None = None) -> Entry:
        """Append a policy; see `Journal` and `append`."""
        headers = {_DATA_TYPE: data_type, MESSAGE_TYPE: POLICY}
        headers |= {_ORIGIN: origin} if origin is not None else {}
        appended = self._produce(data_type, policy, headers)
        return self._appended(appended, data_type, origin, policy=policy)

    def read(self, after: int, *, limit: int = 100, timeout: float = 0.0) -> Sequence[Entry]:
        """Return entries over `after`; see `Journal`.

        May return fewer than there are, but none only when a broker said that there is none.
        While brokers are silent this can take longer than `timeout`: see the class.
        """
        entries: list[Entry] = []
        size = 0
        message = self._tail.next(max(0, after), timeout=timeout)
        while message is not None:
            entries.append(_entry(message))
            size += len(message)
            more = len(entries) < limit and size < READ_BYTES
            message = self._tail.at_hand() if more else None
        return entries

    def get(self, position: int) -> Entry | None:
        """Return the entry at `position`, or None. Raises JournalError."""
        message = self._peek.message(position - 1)
        return None if message is None else _entry(message)

    def trouble(self) -> str | None:
        """Return what keeps the topic from being a journal, or silences its brokers, or None.

        Asks a broker every ten seconds; while there is trouble, or `read` found them silent, every
        second. Takes a few seconds when they are silent.
        """
        silent = self._peek.silence() > QUIET_SECONDS
        age = time.monotonic() - self._examined
        if age > (MEND_SECONDS if silent or self._fault else CHECK_SECONDS):
            try:
                examine_topic(self._properties, self._topic)
                self._fault = None
            except JournalError as error:
                self._fault = str(error)
            self._examined = time.monotonic()
        return self._fault or (str(self._peek.silent()) if silent else None)

    def close(self) -> None:
        """Leave the brokers. Idempotent."""
        self._tail.close()
        self._peek.close()
        self._producer = None

    def _produce(
        self, data_type: str, value: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, int]:
        """Return position and time of the new message."""
        size = len(value or b"")
        if self._producer is None:
            self._producer = self._new_producer()
        reports: list[tuple[KafkaError | None, Message]] = []
        try:
            self._producer.produce(
                self._topic,
                value,
                data_type,
                partition=0,
                headers=list(headers.items()),
                on_delivery=lambda error, message: reports.append((error, message)),
            )
        except KafkaException as error:
            raise self._not_appended(error.args[0], size) from error
        while not reports:  # there is a report at the latest when the delivery timeout is over
            self._producer.poll(0.1)
        failure, message = reports[0]
        if failure is not None:
            self._producer = None  # an idempotent producer may be useless after an error
            raise self._not_appended(failure, size)
        return offset_of(message) + 1, _published_ms(message)

    def _appended(
        self, appended: tuple[int, int], data_type: str, origin: str | None = None, **what: Any
    ) -> Entry:
        """Return what `_produce` appended, as it will be read."""
        position, published_ms = appended
        origin = origin or _place(self._topic, position)
        return Entry(position, data_type, published_ms, origin=origin, **what)

    def _new_producer(self) -> Producer:
        return Producer(
            self._properties
            | {
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 0,
                "delivery.timeout.ms": int(self._patience * 1000),
            },
            logger=logging.getLogger(__name__),
        )

    def _not_appended(self, error: KafkaError, size: int) -> JournalError:
        code = error.code()
        hint = _HINTS.get(code, "see the brokers' logs")
        if code == KafkaError._MSG_TIMED_OUT and size > _REQUEST_BYTES:
            hint += f"; {size} bytes may be over socket.request.max.bytes of the brokers"
        return JournalError(f"{self._where}: an append failed: {error.str()}; {hint}")


# What brokers take at most, if not configured; they cut the connection without a word.
_REQUEST_BYTES = 100 * MEBIBYTE

_HINTS = {
    KafkaError._MSG_TIMED_OUT: "no broker acknowledged it in time: start the brokers, or mend"
    " kafka.bootstrap_servers; look into the journal before trying again",
    KafkaError.MSG_SIZE_TOO_LARGE: "raise max.message.bytes of the topic, or models.max_mb",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "allow this user to write to the topic",
}


def _entry(message: Message) -> Entry:
    headers = _headers(message)
    value: bytes | None = message.value()
    is_policy = headers.get(MESSAGE_TYPE) == POLICY.encode()
    kind: type[ModelDescriptor | Policy] = Policy if is_policy else ModelDescriptor
    data_type = _data_type(headers, _described(kind, value or b""), message.key())
    position, published_ms = offset_of(message) + 1, _published_ms(message)
    said = (headers.get(_ORIGIN) or b"").decode(errors="replace")
    origin = said or _place(message.topic() or "", position)
    entry = Entry(position, data_type, published_ms, origin=origin)
    if is_policy:
        return replace(entry, policy=value or b"")
    if value is None:
        return replace(entry, retires=True)
    rollback = headers.get(_ROLLBACK) or b""
    if _VERSION.fullmatch(rollback):
        return replace(entry, rollback_to=int(rollback))
    return replace(entry, descriptor=value)


def _place(topic: str, position: int) -> str:
    return f"{topic}/0/{position - 1}"


def _headers(message: Message) -> dict[str, bytes | None]:
    try:
        return cast(dict[str, bytes | None], dict(message.headers() or ()))
    except (SystemError, UnicodeDecodeError):  # a name is not UTF-8: not one of ours
        return {}


def _data_type(headers: Mapping[str, bytes | None], described: str, key: bytes | None) -> str:
    """Return the data type of a message; empty when it cannot be told."""
    if ours := headers.get(_DATA_TYPE):
        return ours.decode(errors="replace")
    return described or (key.decode() if key and _KEY.fullmatch(key) else "")


def _described(kind: type[ModelDescriptor | Policy], value: bytes) -> str:
    """Return what a value says of its data type; empty when it is none of this kind."""
    try:
        return kind.FromString(value).dataType
    except DecodeError:
        return ""


def _published_ms(message: Message) -> int:
    _, timestamp_ms = message.timestamp()
    return max(0, timestamp_ms)  # -1: messages of very old clients have none
