"""Batches and outcomes survive the way; what does not fit together is refused."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.actors.policies.drawn_reports import columns, model_of, plain, reports

from repertory.actors.batch import (
    Label,
    PolicyReport,
    RecordFailed,
    Value,
    decode_columns,
    decode_outcomes,
    decode_records,
    encode_columns,
    encode_records,
    encode_report,
)
from repertory.actors.policies.reports import decisions, explanations
from repertory.errors import FailureCode, ProtocolError
from repertory.protos.door_pb2 import PolicyReport as PolicyReportMessage
from repertory.protos.door_pb2 import RecordFailure, ScoredBatch, SlotReport


def floats(*values: float) -> bytes:
    return np.array(values, "<f8").tobytes()


def indices(*values: int) -> bytes:
    return np.array(values, "<i4").tobytes()


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_records_are_read_back(records: list[bytes]) -> None:
    assert decode_records(encode_records(records), len(records)) == records


@given(st.lists(st.binary(max_size=20), max_size=8), st.integers(0, 12), st.binary(max_size=9))
def test_a_payload_that_does_not_fit_is_refused_whole(
    records: list[bytes], count: int, tail: bytes
) -> None:
    payload = encode_records(records) + tail
    try:
        found = decode_records(payload, count)
    except ProtocolError:
        return
    assert encode_records(found) == payload  # by chance, it is a batch of `count` records, too


@pytest.mark.parametrize(
    ("payload", "count"),
    [
        (b"", 1),
        (b"\1\0\0", 1),
        (struct.pack("<I", 5) + b"four", 1),
        (struct.pack("<I", 2**32 - 1), 1),
        (encode_records([b"a"]) + b"more", 1),
        (encode_records([b"a", b"b"]), 2**32 - 1),
    ],
)
def test_lengths_that_do_not_add_up_are_refused(payload: bytes, count: int) -> None:
    with pytest.raises(ProtocolError):
        decode_records(payload, count)


@given(st.lists(st.floats(allow_nan=False), max_size=9))
def test_values_are_read_back_exactly(values: list[float]) -> None:
    outcomes = decode_outcomes(ScoredBatch(values=floats(*values)), len(values))
    assert outcomes == [Value(value) for value in values]


def test_labels_come_with_their_probabilities() -> None:
    scored = ScoredBatch(
        labels=["bad", "good"], chosen=indices(1, 0), probabilities=floats(0.2, 0.8, 0.9, 0.1)
    )
    assert decode_outcomes(scored, 2) == [
        Label("good", {"bad": 0.2, "good": 0.8}),
        Label("bad", {"bad": 0.9, "good": 0.1}),
    ]


def test_labels_may_come_without_probabilities() -> None:
    scored = ScoredBatch(labels=["bad", "good"], chosen=indices(1))
    assert decode_outcomes(scored, 1) == [Label("good")]


def test_a_record_that_failed_stands_in_its_place() -> None:
    failure = RecordFailure(index=1, code=FailureCode.MISSING_FEATURE, message="pH is missing")
    scored = ScoredBatch(values=floats(1, np.nan, 3), failures=[failure])
    failed = RecordFailed(FailureCode.MISSING_FEATURE, "pH is missing")
    assert decode_outcomes(scored, 3) == [Value(1), failed, Value(3)]


def test_a_record_without_any_outcome_is_an_internal_failure() -> None:
    outcomes = decode_outcomes(ScoredBatch(labels=["a"], chosen=indices(-1)), 1)
    assert isinstance(outcomes[0], RecordFailed)
    assert outcomes[0].code is FailureCode.INTERNAL


FAILURE = RecordFailure(index=5, code=FailureCode.INTERNAL)


@pytest.mark.parametrize(
    "scored",
    [
        ScoredBatch(),
        ScoredBatch(values=floats(1)),
        ScoredBatch(values=floats(1, 2, 3)),
        ScoredBatch(values=floats(1, 2)[:-1]),
        ScoredBatch(labels=["a"], chosen=indices(0)),
        ScoredBatch(labels=["a"], chosen=indices(0, 1)),
        ScoredBatch(labels=["a"], chosen=indices(0, 0), probabilities=floats(1)),
        ScoredBatch(chosen=indices(0, 0), probabilities=floats(1, 1)),
        ScoredBatch(values=floats(1, 2), failures=[FAILURE]),
        ScoredBatch(values=floats(1, 2), failures=[RecordFailure(code="no such code")]),
    ],
)
def test_columns_that_do_not_fit_two_records_are_refused(scored: ScoredBatch) -> None:
    with pytest.raises(ProtocolError):
        decode_outcomes(scored, 2)


def test_an_empty_batch_has_no_outcomes() -> None:
    empty: Sequence[object] = decode_outcomes(ScoredBatch(), 0)
    assert empty == []


@given(st.data(), st.integers(1, 6))
def test_a_policys_report_is_read_back(data: st.DataObject, count: int) -> None:
    scored = data.draw(columns(count, model_of("forest", 3)))
    report = data.draw(reports(count))
    message = encode_columns(replace(scored, policy=report))
    travelled = decode_columns(ScoredBatch.FromString(message.SerializeToString()), count)
    assert plain(travelled) == plain(replace(scored, policy=report))


TWO = [SlotReport(slot="forest", state="ARRIVED"), SlotReport(slot="tree")]


def slots_like(**fields: Any) -> PolicyReportMessage:
    """Return a report of one slot."""
    return PolicyReportMessage(slots=[SlotReport(slot="forest", **fields)])


@pytest.mark.parametrize(
    "report",
    [
        PolicyReportMessage(),
        PolicyReportMessage(slots=TWO, chosen=b"\0"),
        PolicyReportMessage(slots=TWO, chosen=b"\0\2"),
        PolicyReportMessage(slots=TWO, chosen=b"\0\xfe"),
        PolicyReportMessage(slots=TWO, fallback=b"\0\0\0"),
        slots_like(state=9),
        slots_like(rows=b"\0\0\0"),
        slots_like(rows=np.array([2], "<u4").tobytes()),
        slots_like(rows=np.array([1, 0], "<u4").tobytes()),
        slots_like(rows=np.array([1, 1], "<u4").tobytes()),
        slots_like(answer=ScoredBatch(values=floats(1))),
        slots_like(answer=ScoredBatch(values=floats(1, 2)), rows=np.array([1], "<u4").tobytes()),
    ],
)
def test_a_report_that_does_not_fit_two_records_is_refused(report: PolicyReportMessage) -> None:
    with pytest.raises(ProtocolError):
        decode_columns(ScoredBatch(values=floats(1, 2), policy=report), 2)


@given(st.data(), st.integers(1, 4), st.binary(max_size=8), st.binary(max_size=8))
def test_garbage_in_a_report_is_refused_or_fits(
    data: st.DataObject, count: int, garbage: bytes, more: bytes
) -> None:
    message = encode_report(data.draw(reports(count)))
    message.chosen, message.slots[0].rows = garbage, more
    message.slots[1].state = data.draw(st.integers(0, 6))  # type: ignore[assignment]
    try:
        found = decode_columns(ScoredBatch(values=bytes(8 * count), policy=message), count)
    except ProtocolError:
        return
    assert isinstance(found.policy, PolicyReport)
    kinds, numbers = decisions(found.policy, count)
    assert [kinds[number].slot for number in numbers] == [
        None if (slot := found.policy.slot_of(row)) is None else slot.slot for row in range(count)
    ]
    assert len(explanations(found.policy, count)) == count
