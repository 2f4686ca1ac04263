"""Batches of records, and their outcomes, as they travel over doors.

A batch's payload is `count` little-endian uint32 lengths, then the records' bytes one after the
other: it is cut without being parsed, and copied by the router without being looked at.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.errors import FailureCode, ProtocolError
from repertory.protos.door_pb2 import Envelope, ScoredBatch
from repertory.protos.door_pb2 import PolicyReport as PolicyReportMessage
from repertory.protos.door_pb2 import SlotReport as SlotReportMessage

PROTOBUF = Envelope.Encoding.PROTOBUF
JSON = Envelope.Encoding.JSON
# The subject of a SCORE that is only to see how long it takes.
PROBE = "probe"


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records of one data type that travel and are scored together.

    `slot` is the one that shall answer where a policy is in force, whatever that says.
    """

    data_type: str
    records: Sequence[bytes]
    encoding: Envelope.Encoding = (
        PROTOBUF  # of every record: its protobuf message, or a JSON object
    )
    slot: str = ""


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


class SlotState(StrEnum):
    """What became of a slot's part in a batch, up to when the batch was answered."""

    NOT_ASKED = "not asked"
    ARRIVED = "arrived"
    LATE = "late"  # it had not answered when the time was over
    FAILED = "failed"  # it said so, died, or was too busy to be asked
    NOT_NEEDED = "not needed"  # it had not answered when the outcome was certain without it


@dataclass(frozen=True, slots=True)
class SlotReport:
    """A slot's part in a batch.

    It was asked for the records `rows`, which rise (None: for all). `model` is the version that
    answered, and `answer` what it said of these records if an explanation was asked for.
    """

    slot: str
    state: SlotState
    shadow: bool = False  # it is compared, and never chosen
    model: ModelRef | None = None
    reason: str = ""
    answer: "ScoredColumns | None" = None
    rows: NDArray[np.intp] | None = None


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """How a policy chose whose answer each record of a batch gets.

    `slots` are ordered by rank, shadows last. `chosen` (int8[count]) is a place in `slots`, -1 for
    nobody; None: the first, always. `fallback` (bool[count]) marks the records whose answer is not
    the one that the policy wants, but the next best; None: none is.
    """

    policy: str
    version: int  # journal position of the policy
    slots: tuple[SlotReport, ...]
    chosen: NDArray[np.int8] | None = None
    fallback: NDArray[np.bool_] | None = None
    slack_seconds: float | None = None  # what was left of the policy's deadline; None without one

    def slot_of(self, row: int) -> SlotReport | None:
        """Return the slot whose answer a record got; None when it got nobody's."""
        place = 0 if self.chosen is None else int(self.chosen[row])
        return self.slots[place] if place >= 0 else None

    def is_fallback(self, row: int) -> bool:
        """Return whether a record's answer is not the one that the policy wants."""
        return self.fallback is not None and bool(self.fallback[row])


@dataclass(frozen=True, slots=True)
class ScoredRecords:
    """The reply to a batch: one outcome for each record, in order, and the model that made them.

    Where a policy chose, `policy` tells the model of each record, and `model` is the best-ranked
    one that was chosen.
    """

    model: ModelRef
    outcomes: Sequence[Outcome]
    policy: PolicyReport | None = None


@dataclass(frozen=True, slots=True)
class ScoredColumns:
    """The reply to a batch, by column; see `ScoredRecords` for the same by record.

    Regression has `values` (float64[count]); classification has `chosen` (int32[count], index into
    `labels`), and `probabilities` (float64[count, labels]) if the model gives them. What a record
    in `failures` has there means nothing. The seconds are those that decoding and scoring took, of
    all batches that went through the model together. `extras` (float64[count]) are what the model
    says beside, by the name of its output.

    Where a policy chose, `policy` tells the model of each record, and `model` is the best-ranked
    one that was chosen. `position` is the journal position that put the model on stage.
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
    extras: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    policy: PolicyReport | None = None
    position: int = 0  # 0: not told

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


def decode_columns(scored: ScoredBatch, count: int, *, position: int = 0) -> ScoredColumns:
    """Return a ScoredBatch as columns. Raises ProtocolError when they do not fit `count` records."""
    labels = tuple(scored.labels)
    values = chosen = probabilities = None
    least = 0
    if scored.values:
        values = _column(scored.values, "<f8", count)
    else:
        chosen = _column(scored.chosen, "<i4", count)
        least = chosen.min() if len(chosen) else 0
        if len(chosen) and not -1 <= least <= chosen.max() < len(labels):
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
    if chosen is not None and least < 0:
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
        extras={extra.name: _column(extra.values, "<f8", count) for extra in scored.extras},
        policy=_decode_report(scored.policy, count) if scored.HasField("policy") else None,
        position=position,
    )


def encode_columns(columns: ScoredColumns) -> ScoredBatch:
    """Return columns as they travel; `decode_columns` takes them back."""
    scored = ScoredBatch(
        model_name=columns.model.name,
        model_version=columns.model.version,
        model_sha256=columns.model.sha256,
        values=_bytes(columns.values, "<f8"),
        labels=columns.labels,
        chosen=_bytes(columns.chosen, "<i4"),
        probabilities=_bytes(columns.probabilities, "<f8"),
        decode_us=int(columns.decode_seconds * 1e6),
        score_us=int(columns.score_seconds * 1e6),
        policy=None if columns.policy is None else encode_report(columns.policy),
    )
    for index, failed in columns.failures.items():
        scored.failures.add(index=index, code=failed.code, message=failed.message)
    for name, values in columns.extras.items():
        scored.extras.add(name=name, values=_bytes(values, "<f8"))
    return scored


def encode_report(report: PolicyReport) -> PolicyReportMessage:
    """Return a policy's report as it travels in a ScoredBatch."""
    slack = report.slack_seconds
    return PolicyReportMessage(
        policy=report.policy,
        version=report.version,
        slots=[_encode_slot(each) for each in report.slots],
        chosen=_bytes(report.chosen, "i1"),
        fallback=_bytes(report.fallback, "?"),
        slack_us=None if slack is None else round(slack * 1e6),
    )


def _encode_slot(report: SlotReport) -> SlotReportMessage:
    message = SlotReportMessage(
        slot=report.slot,
        state=_STATE_NUMBERS[report.state],
        shadow=report.shadow,
        reason=report.reason,
        answer=None if report.answer is None else encode_columns(report.answer),
        rows=_bytes(report.rows, "<u4"),
    )
    if report.model is not None:
        message.model_name, message.model_version = report.model.name, report.model.version
        message.model_sha256 = report.model.sha256
    return message


def _decode_report(message: PolicyReportMessage, count: int) -> PolicyReport:
    slots = tuple(_decode_slot(each, count) for each in message.slots)
    chosen = _column(message.chosen, "i1", count) if message.chosen else None
    if chosen is not None and count and not -1 <= chosen.min() <= chosen.max() < len(slots):
        raise ProtocolError("the outcomes of a batch do not fit it: a slot is out of range")
    if chosen is None and not slots:
        raise ProtocolError("a policy's report names no slot")
    return PolicyReport(
        policy=message.policy,
        version=message.version,
        slots=slots,
        chosen=chosen,
        fallback=_column(message.fallback, "u1", count) != 0 if message.fallback else None,
        slack_seconds=message.slack_us / 1e6 if message.HasField("slack_us") else None,
    )


def _decode_slot(message: SlotReportMessage, count: int) -> SlotReport:
    rows = _decode_rows(message.rows, count) if message.rows else None
    own = count if rows is None else len(rows)
    if message.state not in _STATES:
        raise ProtocolError(f"a slot's state is {message.state}, which means nothing")
    model = ModelRef(message.model_name, message.model_version, message.model_sha256)
    return SlotReport(
        slot=message.slot,
        state=_STATES[message.state],
        shadow=message.shadow,
        model=model if model.version else None,
        reason=message.reason,
        answer=decode_columns(message.answer, own) if message.HasField("answer") else None,
        rows=rows,
    )


def _decode_rows(data: bytes, count: int) -> NDArray[np.intp]:
    if len(data) % 4:
        raise ProtocolError(f"a column of rows of {len(data)} bytes")
    rows = np.frombuffer(data, "<u4").astype(np.intp)
    if rows[-1] >= count or (np.diff(rows) <= 0).any():
        raise ProtocolError("the rows of a slot do not fit the batch, or do not rise")
    return rows


_STATES = dict(enumerate(SlotState))  # numbered as SlotReport.State is
_STATE_NUMBERS: dict[SlotState, Any] = {state: number for number, state in _STATES.items()}


def _bytes(column: NDArray[Any] | None, dtype: str) -> bytes:
    return b"" if column is None else column.astype(dtype, copy=False).tobytes()


def decode_outcomes(scored: ScoredBatch, count: int) -> list[Outcome]:
    """Return the outcomes of a ScoredBatch. Raises ProtocolError when its columns do not fit."""
    return decode_columns(scored, count).outcomes()


# Stands where neither a label nor a failure was given.
_NOTHING = RecordFailed(FailureCode.INTERNAL, "no outcome was given for this record")


def _column(data: bytes, dtype: str, length: int) -> NDArray[Any]:
    if len(data) != length * np.dtype(dtype).itemsize:
        raise ProtocolError(f"a column of {len(data)} bytes where {length} outcomes were due")
    return np.frombuffer(data, dtype)
