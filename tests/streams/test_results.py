"""What is written for a record."""

import pytest

from repertory.actors.batch import Label, ModelRef, RecordFailed, Value
from repertory.errors import FailureCode
from repertory.protos.results_pb2 import ClassProbability, DeadLetter, ScoredRecord, Source
from repertory.protos.results_pb2 import ModelRef as ModelRefMessage
from repertory.streams.claims import Claim
from repertory.streams.record import Record
from repertory.streams.results import (
    Scored,
    common_part,
    cut,
    dead_letter,
    dead_letter_headers,
    scored_record,
)

RECORD = Record(Claim("mdata", 2), 17, b"key", b"bytes", 1000, 2000)
SOURCE = Source(topic="mdata", partition=2, offset=17, timestamp_ms=1000)
LARGE = Record(Claim("mdata", 2), 17, b"key", bytes(1000), 1000, 2000)


def scored(model: ModelRef | None) -> Scored:
    return Scored([RECORD], [Value(1)], model, 3000)


COMMON = common_part("wine", scored(ModelRef("forest", 3, "abc")))


def test_a_number_is_written_with_its_record_and_model() -> None:
    data = scored_record(COMMON, RECORD, Value(0.0), limit=10_000)
    assert ScoredRecord.FromString(data) == ScoredRecord(
        data_type="wine",
        model=ModelRefMessage(name="forest", version=3, sha256="abc"),
        value=0.0,
        source=SOURCE,
        received_ms=2000,
        scored_ms=3000,
        record=b"bytes",
    )


def test_a_class_is_written_with_all_probabilities() -> None:
    outcome = Label("5", {"5": 0.75, "6": 0.25})
    found = ScoredRecord.FromString(scored_record(COMMON, RECORD, outcome, limit=10_000))
    assert found.label == "5"
    assert list(found.probabilities) == [
        ClassProbability(label="5", probability=0.75),
        ClassProbability(label="6", probability=0.25),
    ]


def test_a_dead_letter_of_a_record_that_no_model_saw_names_none() -> None:
    failed = RecordFailed(FailureCode.INTERNAL, "it killed the actor")
    letter = DeadLetter.FromString(
        dead_letter(RECORD, failed, scored(None), data_type="wine", limit=1000)
    )
    assert not letter.HasField("model")
    assert letter == DeadLetter(
        data_type="wine",
        code="internal",
        reason="it killed the actor",
        source=SOURCE,
        failed_ms=3000,
        record=b"bytes",
    )


def test_what_would_be_too_large_leaves_the_record_out() -> None:
    result = ScoredRecord.FromString(scored_record(COMMON, LARGE, Value(1), limit=500))
    assert (result.record, result.source) == (b"", SOURCE)
    failed = RecordFailed(FailureCode.INVALID_RECORD, "why")
    letter = dead_letter(LARGE, failed, scored(None), data_type="wine", limit=500)
    assert DeadLetter.FromString(letter).record == b""


@pytest.mark.parametrize("size", range(8))
def test_a_reason_is_cut_between_characters(size: int) -> None:
    found = cut("aé€𝄞", size)
    assert len(found) <= size
    assert "aé€𝄞".startswith(found.decode())


def test_a_long_reason_is_short_in_the_header() -> None:
    headers = dict(dead_letter_headers("wine", "internal", "é" * 1000))
    assert headers == {"data-type": b"wine", "code": b"internal", "reason": ("é" * 125).encode()}
