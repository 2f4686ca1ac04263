"""Batches of records, and their outcomes, as they travel over doors.

A batch's payload is `count` little-endian uint32 lengths, then the records' bytes one after the
other: it is cut without being parsed, and copied by the router without being looked at.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

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


def decode_outcomes(scored: ScoredBatch, count: int) -> list[Outcome]:
    """Return the outcomes of a ScoredBatch. Raises ProtocolError when its columns do not fit."""
    try:
        outcomes = _values(scored, count) if scored.values else _labels(scored, count)
        for failure in scored.failures:
            outcomes[failure.index] = RecordFailed(FailureCode(failure.code), failure.message)
    except (IndexError, ValueError) as error:
        raise ProtocolError(f"the outcomes of a batch do not fit it: {error}") from error
    return outcomes


def _values(scored: ScoredBatch, count: int) -> list[Outcome]:
    return [Value(value) for value in _column(scored.values, "<f8", count).tolist()]


def _labels(scored: ScoredBatch, count: int) -> list[Outcome]:
    labels = list(scored.labels)
    chosen = _column(scored.chosen, "<i4", count).tolist()
    if not scored.probabilities:
        return [Label(labels[index]) if index >= 0 else _NOTHING for index in chosen]
    rows = _column(scored.probabilities, "<f8", count * len(labels)).reshape(count, -1).tolist()
    return [
        Label(labels[index], dict(zip(labels, row, strict=True))) if index >= 0 else _NOTHING
        for index, row in zip(chosen, rows, strict=True)
    ]


# Stands where a failure of the batch's list is about to be put.
_NOTHING = RecordFailed(FailureCode.INTERNAL, "no outcome was given for this record")


def _column(data: bytes, dtype: str, length: int) -> NDArray[np.generic]:
    column = np.frombuffer(data, dtype)
    if len(column) != length:
        raise ProtocolError(f"a column of {len(column)} outcomes where {length} were due")
    return column
