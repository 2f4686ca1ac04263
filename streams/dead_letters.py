"""Dead letters: what a record that could not be scored becomes, and how that is read again. Pure.

A dead letter is the record as it was (key, value, headers, timestamp), and behind its own headers
those of this module, which say what happened. The first of them is always `dead-letter-code`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol, cast

from repertory.actors.batch import ModelRef
from repertory.streams.record import Headers

PREFIX = (
    "dead-letter-"  # of all headers here; a record is not to bring any, and loses them on replay
)
CODE = "dead-letter-code"
REASON = "dead-letter-reason"
TOPIC = "dead-letter-topic"
PARTITION = "dead-letter-partition"
OFFSET = "dead-letter-offset"
DATA_TYPE = "dead-letter-data-type"
MODEL = "dead-letter-model"
MODEL_VERSION = "dead-letter-model-version"
MODEL_SHA256 = "dead-letter-model-sha256"
POLICY = "dead-letter-policy"
POLICY_VERSION = "dead-letter-policy-version"
TIME = "dead-letter-time"
VALUE_BYTES = "dead-letter-value-bytes"
HEADERS_BYTES = "dead-letter-headers-bytes"
KEY_BYTES = "dead-letter-key-bytes"
ATTEMPTS = "dead-letter-attempts"

# Reasons quote what was wrong, which a record can make as long as it likes.
REASON_BYTES = 1000
# What Kafka adds to a header: the lengths of name and value, as varints.
HEADER_OVERHEAD = 6


class Place(NamedTuple):
    """Where a record is."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


def letter_headers(
    headers: Headers | None,
    *,
    code: str,
    reason: str,
    source: Place,
    data_type: str,
    model: ModelRef | None,
    failed_ms: int,
    policy: tuple[str, int] | None = None,
) -> Headers:
    """Return the headers of a dead letter: those of the record, in order, and then why it is one.

    `source` is where the record is. An empty `data_type` was not known;
    `model` is None when no model saw the record; `policy` are the kind and the version of the one
    in force. The reason is cut to 1,000 bytes.
    """
    chosen_by = [] if policy is None else _chosen_by(*policy)
    return [
        *(headers or ()),
        (CODE, code.encode()),
        (REASON, cut(reason, REASON_BYTES)),
        (TOPIC, source.topic.encode()),
        (PARTITION, b"%d" % source.partition),
        (OFFSET, b"%d" % source.offset),
        *_served_by(data_type, model),
        *chosen_by,
        (TIME, b"%d" % failed_ms),
    ]


def letter_value(
    value: bytes | None, headers: Headers, *, limit: int, key: bytes | None = None
) -> tuple[bytes | None, Headers]:
    """Return the value and headers of a dead letter that, with its key, has at most `limit` bytes.

    `headers` are those of `letter_headers`. Where there is too much, the value is left out, and
    `dead-letter-value-bytes` says how large it is; if that is not enough, the record's own headers
    are, too, and `dead-letter-headers-bytes` says so. The key is never left out.
    """
    room = limit - len(key or b"") - sum(map(_size, headers))
    if len(value or b"") <= room:
        return value, headers
    headers = list(headers)
    if value is not None:
        headers.append((VALUE_BYTES, b"%d" % len(value)))
    if room < _size((VALUE_BYTES, b"9999999999")):
        own, ours = split(headers)
        headers = [*ours, (HEADERS_BYTES, b"%d" % sum(map(_size, own)))]
    return None, headers


def cut(text: str, size: int) -> bytes:
    """Return the UTF-8 of `text`, cut between two characters to at most `size` bytes."""
    data = text.encode(errors="replace")
    return data if len(data) <= size else data[:size].decode(errors="ignore").encode()


@lru_cache(maxsize=64)  # a flood of dead letters has few of them
def _served_by(data_type: str, model: ModelRef | None) -> tuple[tuple[str, bytes], ...]:
    known = ((DATA_TYPE, data_type.encode()),) if data_type else ()
    if model is None:
        return known
    return (
        *known,
        (MODEL, model.name.encode()),
        (MODEL_VERSION, b"%d" % model.version),
        (MODEL_SHA256, model.sha256.encode()),
    )


def _chosen_by(policy: str, version: int) -> Headers:
    return [(POLICY, policy.encode()), (POLICY_VERSION, b"%d" % version)]


def _size(header: tuple[str, str | bytes | None]) -> int:
    name, value = header
    return len(name) + len(value or b"") + HEADER_OVERHEAD


class Message(Protocol):
    """What is read of a message of confluent_kafka."""

    def partition(self) -> int | None: ...
    def offset(self) -> int | None: ...
    def timestamp(self) -> tuple[int, int]: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def headers(self) -> dict[str, str | bytes | None] | Headers | None: ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter, read again."""

    partition: int
    offset: int
    timestamp_ms: int  # the record's own; 0 when it has none
    key: bytes | None
    value: bytes | None
    headers: Headers
    """The record's own."""
    code: str
    """Empty for a message that is no dead letter of Repertory's."""
    reason: str
    source: Place | None
    """Where the record was read; None for what is no dead letter."""
    data_type: str
    """Empty when it could not be told."""
    model: ModelRef | None
    failed_ms: int  # 0 when it is not said
    value_bytes: int | None
    """The size of a value that was left out; None when it was not."""
    headers_left_out: bool
    attempts: int
    """How often the record had been replayed before."""

    @property
    def id(self) -> str:
        """Its place on the topic of dead letters, `PARTITION/OFFSET`."""
        return f"{self.partition}/{self.offset}"


def read_letter(message: Message) -> DeadLetter:
    """Read a message of the topic of dead letters. Never fails: what is not said is empty or 0."""
    own, ours = split(headers_of(message))
    said = {name: text(value) for name, value in ours}
    return DeadLetter(
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=max(0, message.timestamp()[1]),
        key=message.key(),
        value=message.value(),
        headers=own,
        code=said.get(CODE, ""),
        reason=said.get(REASON, ""),
        source=_source(said),
        data_type=said.get(DATA_TYPE, ""),
        model=_model(said),
        failed_ms=_number(said.get(TIME)) or 0,
        value_bytes=_number(said.get(VALUE_BYTES)),
        headers_left_out=HEADERS_BYTES in said,
        attempts=_attempts(own),
    )


def headers_of(message: Message) -> Headers:
    """Return the headers of a message; none at all when a name among them is not UTF-8.

    confluent_kafka raises then, and when it is asked once more returns what crashes the process:
    so no header of a message from outside is to be had in any other way, or twice.
    """
    try:
        return cast(Headers, message.headers() or [])
    except (SystemError, UnicodeDecodeError):
        return []


def replay_headers(letter: DeadLetter, headers: Headers | None = None) -> Headers:
    """Return the headers with which the record of a letter is sent again.

    They are the record's own (or `headers` if they were left out) without any of this module, and
    `dead-letter-attempts`, one more than before.
    """
    own = letter.headers if headers is None else headers
    kept = [header for header in own if not header[0].startswith(PREFIX)]
    return [*kept, (ATTEMPTS, b"%d" % (_attempts(own) + 1))]


def split(headers: Headers) -> tuple[Headers, Headers]:
    """Return the record's own headers and those that make it a dead letter.

    A record may itself have been a dead letter's copy: the last `dead-letter-code` counts.
    """
    for at in range(len(headers) - 1, -1, -1):
        if headers[at][0] == CODE:
            return headers[:at], headers[at:]
    return headers, []


def text(value: str | bytes | None) -> str:
    """Return a header's value as text, whatever it is."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _source(said: dict[str, str]) -> Place | None:
    partition, offset = _number(said.get(PARTITION)), _number(said.get(OFFSET))
    topic = said.get(TOPIC)
    if not topic or partition is None or offset is None:
        return None
    return Place(topic, partition, offset)


def _model(said: dict[str, str]) -> ModelRef | None:
    if MODEL_VERSION not in said:
        return None
    version = _number(said[MODEL_VERSION]) or 0
    return ModelRef(said.get(MODEL, ""), version, said.get(MODEL_SHA256, ""))


def _attempts(headers: Iterable[tuple[str, str | bytes | None]]) -> int:
    said = [_number(text(value)) for name, value in headers if name == ATTEMPTS]
    return (said[-1] or 0) if said else 0


def _number(text: str | None) -> int | None:
    # A foreign header may hold digits that int() does not take, or takes for minutes.
    return int(text) if text and len(text) < 20 and text.isascii() and text.isdigit() else None
