"""From outcomes to the messages of the results and dead-letters topics. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple

from repertory.actors.batch import RecordFailed
from repertory.config import Kafka
from repertory.errors import FailureCode
from repertory.streams.dead_letters import KEY_BYTES, Place, letter_headers, letter_value
from repertory.streams.record import Headers, Record
from repertory.streams.results import Scored, encoder, headers_of_each
from repertory.streams.topics import Topic

# What a key and headers may have without being looked at: the overhead has room for it.
EXTRA_BYTES = 512
# What a message has beside key, value and headers, in the broker's count of its size.
OVERHEAD_BYTES = 2048


class Outgoing(NamedTuple):
    """A message to be written, for a record."""

    record: Record
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Output:
    """Makes the messages of records that were scored.

    A message goes to the partition whose number is that of its record's partition, modulo the
    number of partitions of the topic, so that the order of an input partition is kept. It has the
    record's key, headers and timestamp.
    """

    def __init__(self, kafka: Kafka, topics: Mapping[str, Topic]) -> None:
        self._results, self._dead_letters = kafka.results_topic, kafka.dead_letters_topic
        self._result_partitions = topics[self._results].partitions
        self._letter_partitions = topics[self._dead_letters].partitions
        self._result_limit = topics[self._results].max_bytes - OVERHEAD_BYTES
        self._letter_limit = topics[self._dead_letters].max_bytes - OVERHEAD_BYTES
        self._encode = encoder(kafka.result_format)

    def messages(self, pieces: Sequence[Scored]) -> list[Outgoing]:
        """Return a message for each record, in the order of the records of each partition."""
        messages = [message for piece in pieces for message in self._of(piece)]
        if len(pieces) > 1:  # of several data types, perhaps
            messages.sort(key=_offset)
        return messages

    def _of(self, scored: Scored) -> Iterator[Outgoing]:
        failures = scored.failures
        if scored.columns is None:
            values: Iterable[bytes] = repeat(b"")
        else:
            values = self._encode(scored, self._result_limit)
        for index, (record, value, headers) in enumerate(
            zip(scored.records, values, headers_of_each(scored), strict=False)
        ):
            if failures and (failed := failures.get(index)) is not None:
                yield self._letter(scored, index, failed)
                continue
            extra = _extra_bytes(record)
            if extra > EXTRA_BYTES and extra + len(value) > self._result_limit:
                yield self._letter(scored, index, self._too_large(extra + len(value)))
                continue
            yield Outgoing(
                record,
                self._results,
                record.claim.partition % self._result_partitions,
                record.key,
                value,
                headers if record.headers is None else [*record.headers, *headers],
            )

    def _letter(self, scored: Scored, index: int, failed: RecordFailed) -> Outgoing:
        record, choices = scored.records[index], scored.choices
        headers = letter_headers(
            record.headers,
            code=failed.code,
            reason=failed.message,
            source=Place(record.claim.topic, record.claim.partition, record.offset),
            data_type=scored.data_type,
            model=scored.model_of(index),
            policy=None if choices is None else choices.policy,
            failed_ms=scored.scored_ms,
        )
        key, limit = record.key, self._letter_limit
        if key is not None and 2 * len(key) > limit:
            headers.append((KEY_BYTES, b"%d" % len(key)))
            key = None
        value, headers = letter_value(record.value, headers, limit=limit, key=key)
        partition = record.claim.partition % self._letter_partitions
        return Outgoing(record, self._dead_letters, partition, key, value, headers)

    def _too_large(self, size: int) -> RecordFailed:
        reason = f"the result, with the record's key and headers, has {size} bytes; topic"
        reason += f" {self._results!r} takes {self._result_limit}: raise its max.message.bytes"
        return RecordFailed(FailureCode.SCORING_FAILED, reason)


def _extra_bytes(record: Record) -> int:
    """Return what a result has of its record beside the value."""
    size = len(record.key or b"")
    if record.headers is not None:
        size += sum(len(name) + len(value or b"") + 8 for name, value in record.headers)
    return size


_offset = attrgetter("record.offset")
