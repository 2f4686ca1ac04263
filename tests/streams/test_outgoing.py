"""What is written for records, and where."""

from dataclasses import replace

import numpy as np

from repertory.actors.batch import (
    ModelRef,
    PolicyReport,
    RecordFailed,
    ScoredColumns,
    SlotReport,
    SlotState,
)
from repertory.config import Kafka
from repertory.errors import FailureCode
from repertory.protos.results_pb2 import ScoredRecord
from repertory.streams.claims import Claim
from repertory.streams.outgoing import OVERHEAD_BYTES, Outgoing, Output
from repertory.streams.record import Headers, Record
from repertory.streams.results import Scored
from repertory.streams.topics import Topic

ROOM = 10_000
TOPICS = {
    "results": Topic(partitions=2, max_bytes=ROOM + OVERHEAD_BYTES),
    "dead-letters": Topic(partitions=3, max_bytes=ROOM + OVERHEAD_BYTES),
}
MODEL = ModelRef("forest", 3, "abc")
TREE = ModelRef("tree", 5, "def")


def record(
    offset: int = 0,
    partition: int = 0,
    *,
    key: bytes | None = b"key",
    value: bytes = b"bytes",
    headers: Headers | None = None,
) -> Record:
    """Return a record."""
    return Record(Claim("mdata", partition), offset, key, value, 1000, 2000, headers)


def scored(*records: Record, failed: int | None = None, data_type: str = "wine") -> Scored:
    """Return records with their numbers; the one at `failed` has none."""
    columns = ScoredColumns(MODEL, len(records), np.ones(len(records)), (), None, None, {})
    why = RecordFailed(FailureCode.INVALID_RECORD, "not a WineRecord")
    failures = {} if failed is None else {failed: why}
    return Scored(data_type, list(records), columns, failures, 3000)


def messages(*pieces: Scored) -> list[Outgoing]:
    """Return what is written for these."""
    return Output(Kafka(), TOPICS).messages(pieces)


def test_the_partition_of_a_record_decides_that_of_its_message() -> None:
    several = [record(n, n) for n in range(5)]
    assert [each.partition for each in messages(scored(*several))] == [0, 1, 0, 1, 0]
    [*_, letter] = messages(scored(*several, failed=4))
    assert (letter.topic, letter.partition) == ("dead-letters", 1)


def test_a_result_has_the_headers_of_its_record_and_then_those_of_the_model() -> None:
    trace: Headers = [("traceparent", b"00-1"), ("model", b"upstream")]
    [message] = messages(scored(record(headers=trace)))
    assert message.key == b"key"
    assert message.headers == [
        *trace,
        ("data-type", b"wine"),
        ("model", b"forest"),
        ("model-version", b"3"),
        ("model-sha256", b"abc"),
    ]


def test_pieces_of_several_data_types_are_written_in_the_order_of_their_records() -> None:
    first, second, third = (record(n) for n in range(3))
    found = messages(scored(first, third), scored(second, data_type="beer"))
    assert [each.record for each in found] == [first, second, third]


def test_a_result_with_headers_that_its_topic_does_not_take_becomes_a_dead_letter() -> None:
    large: Headers = [("blob", bytes(ROOM))]
    [message] = messages(scored(record(headers=large)))
    assert message.topic == "dead-letters"
    headers = dict(message.headers)
    assert headers["dead-letter-code"] == b"scoring_failed"
    assert "max.message.bytes" in str(headers["dead-letter-reason"])
    assert headers["dead-letter-headers-bytes"]


def test_headers_that_fit_leave_room_for_the_result_without_its_record() -> None:
    [message] = messages(scored(record(value=bytes(2 * ROOM), headers=[("small", b"1")])))
    assert message.topic == "results"
    assert ScoredRecord.FromString(message.value or b"").record == b""


def test_a_key_that_no_topic_takes_is_left_out_and_its_size_is_told() -> None:
    [message] = messages(scored(record(key=bytes(ROOM)), failed=0))
    assert message.key is None
    assert dict(message.headers)["dead-letter-key-bytes"] == b"10000"


def chosen(*records: Record, places: list[int], failed: int | None = None) -> Scored:
    """Return records whose answers a policy chose: 0 is the forest's, 1 the tree's, -1 nobody's."""
    slots = (
        SlotReport("forest", SlotState.ARRIVED, model=MODEL, rows=np.array([0])),
        SlotReport("tree", SlotState.ARRIVED, model=TREE),
    )
    report = PolicyReport("canary", 9, slots, np.array(places, np.int8))
    plain = scored(*records, failed=failed)
    assert plain.columns is not None
    return replace(plain, columns=replace(plain.columns, policy=report))


def test_a_result_names_the_slot_and_the_model_that_were_chosen_for_its_record() -> None:
    trace: Headers = [("traceparent", b"00-1")]
    _, message = messages(chosen(record(0), record(1, headers=trace), places=[0, 1]))
    assert message.headers == [
        *trace,
        ("data-type", b"wine"),
        ("model", b"tree"),
        ("model-version", b"5"),
        ("model-sha256", b"def"),
        ("policy", b"canary"),
        ("policy-version", b"9"),
        ("slot", b"tree"),
        ("fallback", b"false"),
    ]


def test_a_dead_letter_names_the_policy_and_the_model_whose_failure_it_is() -> None:
    # The forest is ranked first, but was not asked for the record that nobody could score.
    several = [record(n) for n in range(3)]
    found = messages(chosen(*several, places=[0, 1, -1], failed=2))
    assert [each.topic for each in found] == ["results", "results", "dead-letters"]
    headers = dict(found[2].headers)
    assert headers["dead-letter-model"] == b"tree"
    assert headers["dead-letter-policy"] == b"canary"
    assert headers["dead-letter-policy-version"] == b"9"


def test_a_dead_letter_without_a_policy_names_none() -> None:
    [letter] = messages(scored(record(), failed=0))
    assert "dead-letter-policy" not in dict(letter.headers)
    assert dict(letter.headers)["dead-letter-model"] == b"forest"
