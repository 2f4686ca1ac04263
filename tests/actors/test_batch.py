"""Batches and outcomes survive the way; what does not fit together is refused."""

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.actors.batch import (
    Label,
    RecordFailed,
    Value,
    decode_outcomes,
    decode_records,
    encode_records,
)
from repertory.errors import FailureCode, ProtocolError
from repertory.protos.door_pb2 import RecordFailure, ScoredBatch


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
