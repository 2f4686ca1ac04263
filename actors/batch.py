"""Batches of records, and their outcomes, as they travel over doors.

A batch's payload is `count` little-endian uint32 lengths, then the records' bytes one after the
other: it is cut without being parsed, and copied by the router without being looked at.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.errors import FailureCode, ProtocolError
from repertory.protos.door_pb2 import Envelope, ScoredBatch

PROTOBUF = Envelope.Encoding.PROTOBUF
JSON = Envelope.Encoding.JSON


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records of one data type that travel and are scored together."""

    data_type: str
    records: Sequence[bytes]
    encoding: Envelope.Encoding = (
        PROTOBUF  # of every record: its protobuf message, or a JSON object
    )


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model version answered."""

    name: str
    version: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Value:
    """The outcome of a regression."""

    value: float


@dataclass(frozen=True, slots=True)
class Label:
    """The outcome of a classification; `probabilities` by label, empty when the model gives none."""

    label: str
    probabilities: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordFailed:
    """A record that has no score, and why."""

    code: FailureCode
    message: str


Outcome = Value | Label | RecordFailed


@dataclass(frozen=True, slots=True)
class ScoredRecords:
    """The reply to a batch: one outcome for each record, in order, and the model that made them."""

    model: ModelRef
    outcomes: Sequence[Outcome]


@dataclass(frozen=True, slots=True)
class ScoredColumns:
    """The reply to a batch, by column; see `ScoredRecords` for the same by record.

    Regression has `values` (float64[count]); classification has `chosen` (int32[count], index into
    `labels`), and `probabilities` (float64[count, labels]) if the model gives them. What a record
    in `failures` has there means nothing. The seconds are those that decoding and scoring took, of
    all batches that went through the model together.
    """

    model: ModelRef
    count: int
    values: NDArray[np.float64] | None
    labels: tuple[str, ...]
    chosen: NDArray[np.int32] | None
    probabilities: NDArray[np.float64] | None
    failures: dict[int, RecordFailed]
    decode_seconds: float = 0.0
    score_seconds: float = 0.0

    def outcomes(self) -> list[Outcome]:
        """Return one outcome for each record."""
        outcomes: list[Outcome] = self._scores()
        for index, failed in self.failures.items():
            outcomes[index] = failed
        return outcomes

    def _scores(self) -> list[Any]:
        if self.values is not None:
            return [Value(value) for value in self.values.tolist()]
        assert self.chosen is not None
        if not self.labels:
            return [None] * self.count  # all of them failed
        chosen = [self.labels[index] for index in self.chosen.tolist()]
        if self.probabilities is None:
            return [Label(label) for label in chosen]
        return [
            Label(label, dict(zip(self.labels, row, strict=True)))
            for label, row in zip(chosen, self.probabilities.tolist(), strict=True)
        ]


def encode_records(records: Sequence[bytes]) -> bytes:
    """Return the payload of a batch."""
    return struct.pack(f"<{len(records)}I", *map(len, records)) + b"".join(records)


def decode_records(payload: bytes | memoryview, count: int) -> list[bytes]:
    """Cut a payload into its records. Raises ProtocolError when the lengths do not fit it."""
    head = 4 * count
    if len(payload) < head:
        raise ProtocolError(f"a batch of {count} records in {len(payload)} bytes")
    lengths = struct.unpack_from(f"<{count}I", payload)
    if head + sum(lengths) != len(payload):
        raise ProtocolError("the lengths of a batch's records do not add up to its payload")
    return list(_cut(bytes(payload), head, lengths))


def _cut(payload: bytes, start: int, lengths: Sequence[int]) -> Iterator[bytes]:
    for length in lengths:
        yield payload[start : start + length]
        start += length


def decode_columns(scored: ScoredBatch, count: int) -> ScoredColumns:
    """Return a ScoredBatch as columns. Raises ProtocolError when they do not fit `count` records."""
    labels = tuple(scored.labels)
    values = chosen = probabilities = None
    if scored.values:
        values = _column(scored.values, "<f8", count)
    else:
        chosen = _column(scored.chosen, "<i4", count)
        if len(chosen) and not -1 <= chosen.min() <= chosen.max() < len(labels):
            raise ProtocolError("the outcomes of a batch do not fit it: a label is out of range")
    if chosen is not None and scored.probabilities:
        probabilities = _column(scored.probabilities, "<f8", count * len(labels))
        probabilities = probabilities.reshape(count, -1)
    try:
        failures = {
            failure.index: RecordFailed(FailureCode(failure.code), failure.message)
            for failure in scored.failures
        }
    except ValueError as error:
        raise ProtocolError(f"the outcomes of a batch do not fit it: {error}") from error
    if failures and max(failures) >= count:
        raise ProtocolError("the outcomes of a batch do not fit it: a failure is out of range")
    if chosen is not None:
        for index in np.flatnonzero(chosen < 0).tolist():
            failures.setdefault(index, _NOTHING)
    model = ModelRef(scored.model_name, scored.model_version, scored.model_sha256)
    return ScoredColumns(
        model,
        count,
        values,
        labels,
        chosen,
        probabilities,
        failures,
        decode_seconds=scored.decode_us / 1e6,
        score_seconds=scored.score_us / 1e6,
    )


def decode_outcomes(scored: ScoredBatch, count: int) -> list[Outcome]:
    """Return the outcomes of a ScoredBatch. Raises ProtocolError when its columns do not fit."""
    return decode_columns(scored, count).outcomes()


# Stands where neither a label nor a failure was given.
_NOTHING = RecordFailed(FailureCode.INTERNAL, "no outcome was given for this record")


def _column(data: bytes, dtype: str, length: int) -> NDArray[Any]:
    if len(data) != length * np.dtype(dtype).itemsize:
        raise ProtocolError(f"a column of {len(data)} bytes where {length} outcomes were due")
    return np.frombuffer(data, dtype)
