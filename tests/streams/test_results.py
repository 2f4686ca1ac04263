"""What is written for a scored record, as protobuf and as JSON."""

import json
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from repertory.actors.batch import ModelRef, ScoredColumns
from repertory.protos.results_pb2 import ClassProbability, ScoredRecord, Source
from repertory.protos.results_pb2 import ModelRef as ModelRefMessage
from repertory.streams.claims import Claim
from repertory.streams.record import Record
from repertory.streams.results import Scored, encoder

CLAIM = Claim("mdata", 2)
RECORD = Record(CLAIM, 17, b"key", b"bytes", 1000, 2000)
LARGE = Record(CLAIM, 17, b"key", bytes(1000), 1000, 2000)
MODEL = ModelRef("forest", 3, "abc")
LIMIT = 100_000

finite = st.floats(allow_nan=False, allow_infinity=False)
records = st.builds(
    Record,
    st.sampled_from([CLAIM, Claim("mdata", 0), Claim("andere Größe", 1)]),
    st.integers(0, 2**62),
    st.none(),
    st.binary(max_size=300),
    st.integers(0, 2**50),
    st.integers(0, 2**50),
)


def numbers(batch: list[Record], values: list[float]) -> Scored:
    """Return the outcome of a regression."""
    columns = ScoredColumns(MODEL, len(batch), np.array(values), (), None, None, {})
    return Scored("wine", batch, columns, {}, 3000)


def classes(
    batch: list[Record], labels: tuple[str, ...], chosen: list[int], rows: Any = None
) -> Scored:
    """Return the outcome of a classification."""
    probabilities = None if rows is None else np.array(rows, np.float64).reshape(len(batch), -1)
    picked = np.array(chosen, np.int32)
    columns = ScoredColumns(MODEL, len(batch), None, labels, picked, probabilities, {})
    return Scored("wine", batch, columns, {}, 3000)


def read(scored: Scored, limit: int = LIMIT) -> list[ScoredRecord]:
    """Encode as protobuf, and read with the library."""
    return [ScoredRecord.FromString(value) for value in encoder("protobuf")(scored, limit)]


def read_json(scored: Scored, limit: int = LIMIT) -> list[Any]:
    """Encode as JSON, and read."""
    return [json.loads(value) for value in encoder("json")(scored, limit)]


def expected(record: Record, **score: Any) -> ScoredRecord:
    """Return the message as the library makes it."""
    claim = record.claim
    return ScoredRecord(
        data_type="wine",
        model=ModelRefMessage(name="forest", version=3, sha256="abc"),
        source=Source(
            topic=claim.topic,
            partition=claim.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
        ),
        received_ms=record.received_ms,
        scored_ms=3000,
        record=record.value or b"",
        **score,
    )


@given(st.lists(st.tuples(records, finite), min_size=1, max_size=5))
def test_numbers_are_read_as_if_the_library_had_written_them(
    batch: list[tuple[Record, float]],
) -> None:
    scored = numbers([record for record, _ in batch], [value for _, value in batch])
    assert read(scored) == [expected(record, value=value) for record, value in batch]


@given(
    st.lists(st.text(max_size=20), min_size=1, max_size=4, unique=True).map(tuple),
    st.lists(records, min_size=1, max_size=5),
    st.data(),
)
def test_classes_are_read_as_if_the_library_had_written_them(
    labels: tuple[str, ...], batch: list[Record], data: st.DataObject
) -> None:
    each = st.lists(finite, min_size=len(labels), max_size=len(labels))
    rows = [data.draw(each) for _ in batch]
    chosen = [data.draw(st.integers(0, len(labels) - 1)) for _ in batch]
    found = read(classes(batch, labels, chosen, rows))
    for result, record, place, row in zip(found, batch, chosen, rows, strict=True):
        probabilities = [
            ClassProbability(label=label, probability=probability)
            for label, probability in zip(labels, row, strict=True)
        ]
        want = expected(record, label=labels[place], probabilities=probabilities)
        assert result == want


def test_a_class_without_probabilities_is_written() -> None:
    assert read(classes([RECORD], ("5", "6"), [1])) == [expected(RECORD, label="6")]


def test_json_is_the_json_of_the_message() -> None:
    scored = classes([RECORD], ("5", "6"), [1], [[0.25, 0.75]])
    [value] = encoder("json")(scored, LIMIT)
    assert json_format.Parse(value, ScoredRecord()) == read(scored)[0]
    assert json_format.Parse(encoder("json")(numbers([RECORD], [0.5]), LIMIT)[0], ScoredRecord())


def test_a_record_that_is_json_is_in_the_result_as_it_is() -> None:
    record = Record(CLAIM, 1, None, b' {"pH": 3.5, "dataType": "wine"}', 1000, 2000)
    [result] = read_json(numbers([record], [1.0]))
    assert result["record"] == {"pH": 3.5, "dataType": "wine"}


@pytest.mark.parametrize("form", [read, read_json])
def test_what_would_be_too_large_leaves_the_record_out(form: Any) -> None:
    [small, large] = form(numbers([RECORD, LARGE], [1.0, 2.0]), limit=400)
    assert "record" not in large if form is read_json else not large.record
    assert small["record"] if form is read_json else small.record
