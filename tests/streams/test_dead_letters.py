"""What a record that could not be scored becomes, and how it is read again."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from repertory.actors.batch import ModelRef
from repertory.streams.dead_letters import (
    ATTEMPTS,
    CODE,
    DeadLetter,
    Place,
    cut,
    headers_of,
    letter_headers,
    letter_value,
    read_letter,
    replay_headers,
)
from repertory.streams.devbroker.batch import HEADER_SIZE, build, read_header
from repertory.streams.devbroker.process import BrokerProcess
from repertory.streams.record import Headers

FOREST = ModelRef("forest", 3, "ab" * 32)
WHY: dict[str, Any] = {
    "code": "invalid_record",
    "reason": "it is cut off",
    "source": Place("mdata", 2, 17),
    "data_type": "wine",
    "model": FOREST,
    "failed_ms": 3000,
}


@dataclass(frozen=True)
class Read:
    """A message as confluent_kafka gives it."""

    the_headers: Headers | None
    the_value: bytes | None = b"bytes"

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return 40

    def timestamp(self) -> tuple[int, int]:
        return 1, 1000

    def key(self) -> bytes | None:
        return b"key"

    def value(self) -> bytes | None:
        return self.the_value

    def headers(self) -> Headers | None:
        return self.the_headers


def read(own: Headers | None, value: bytes | None = b"bytes", **why: Any) -> DeadLetter:
    return read_letter(Read(letter_headers(own, **WHY | why), value))


def test_the_headers_of_the_record_come_first_and_then_why_it_failed() -> None:
    assert letter_headers([("trace", b"1"), ("trace", None)], **WHY) == [
        ("trace", b"1"),
        ("trace", None),
        ("dead-letter-code", b"invalid_record"),
        ("dead-letter-reason", b"it is cut off"),
        ("dead-letter-topic", b"mdata"),
        ("dead-letter-partition", b"2"),
        ("dead-letter-offset", b"17"),
        ("dead-letter-data-type", b"wine"),
        ("dead-letter-model", b"forest"),
        ("dead-letter-model-version", b"3"),
        ("dead-letter-model-sha256", b"ab" * 32),
        ("dead-letter-time", b"3000"),
    ]


def test_a_policy_in_force_is_named() -> None:
    headers = dict(letter_headers(None, **WHY, policy=("majority", 7)))
    assert headers["dead-letter-policy"] == b"majority"
    assert headers["dead-letter-policy-version"] == b"7"


def test_what_is_not_known_has_no_header() -> None:
    names = [name for name, _ in letter_headers(None, **WHY | {"data_type": "", "model": None})]
    assert [name for name in names if "data-type" in name or "model" in name] == []


def test_a_letter_is_read_as_it_was_written() -> None:
    assert read([("trace", b"1")]) == DeadLetter(
        partition=1,
        offset=40,
        timestamp_ms=1000,
        key=b"key",
        value=b"bytes",
        headers=[("trace", b"1")],
        code="invalid_record",
        reason="it is cut off",
        source=Place("mdata", 2, 17),
        data_type="wine",
        model=FOREST,
        failed_ms=3000,
        value_bytes=None,
        headers_left_out=False,
        attempts=0,
    )


names = st.text(max_size=20) | st.sampled_from([CODE, ATTEMPTS, "dead-letter-topic"])
headers = st.lists(st.tuples(names, st.none() | st.binary(max_size=20)), max_size=8)
numbers = st.integers(0, 2**63 - 1)
models = st.none() | st.builds(ModelRef, st.text(max_size=9), numbers, st.text(max_size=9))
sources = st.builds(Place, st.text(min_size=1, max_size=9), st.integers(0, 99), numbers)


@given(headers, st.text(), sources, st.text(max_size=9), models, numbers)
def test_whatever_a_record_brings_the_letter_says_the_same(
    own: Headers, reason: str, source: Place, data_type: str, model: ModelRef | None, time: int
) -> None:
    why: dict[str, Any] = {
        "source": source,
        "data_type": data_type,
        "model": model,
        "failed_ms": time,
    }
    found = read(own, reason=reason, **why)
    assert found.headers == own
    assert {key: getattr(found, key) for key in why} == why
    assert found.reason.encode() == cut(reason, 1000)


@given(headers)
def test_a_foreign_message_is_no_letter_and_does_no_harm(foreign: Headers) -> None:
    found = read_letter(Read([header for header in foreign if header[0] != CODE]))
    assert (found.code, found.source, found.value) == ("", None, b"bytes")


@pytest.mark.parametrize("value", [b"", b"x", None, b"-1", b"9" * 5000, "²".encode(), b"\xff"])
def test_a_letter_with_a_number_that_is_none_has_no_source(value: bytes | None) -> None:
    spoilt = [*letter_headers(None, **WHY), ("dead-letter-offset", value)]
    assert read_letter(Read(spoilt)).source is None


@given(headers, st.none() | st.binary(max_size=300), st.integers(600, 1500))
def test_a_letter_is_never_larger_than_its_limit(
    own: Headers, value: bytes | None, limit: int
) -> None:
    kept, written = letter_value(value, letter_headers(own, **WHY), limit=limit, key=b"key")
    assert len(kept or b"") + sum(len(n) + len(v or b"") for n, v in written) + 3 <= limit
    found = read_letter(Read(written, kept))
    if kept == value:
        assert (found.headers, found.value_bytes) == (own, None)
    else:
        assert (found.value, found.value_bytes) == (None, len(value or b""))
        assert found.headers == ([] if found.headers_left_out else own)


def test_headers_that_are_too_large_by_themselves_are_left_out_too() -> None:
    own: Headers = [("large", bytes(5000))]
    value, written = letter_value(b"bytes", letter_headers(own, **WHY), limit=1000)
    found = read_letter(Read(written, value))
    assert (found.value, found.value_bytes, found.headers) == (None, 5, [])
    assert found.headers_left_out
    assert ("dead-letter-headers-bytes", b"5011") in written


def test_a_record_without_a_value_stays_one() -> None:
    written = letter_headers(None, **WHY)
    assert letter_value(None, written, limit=10_000) == (None, written)
    assert read(None, None).value_bytes is None


def test_a_replay_counts_and_brings_no_trace_of_the_first_failure() -> None:
    own: Headers = [("trace", b"1")]
    for attempt in (1, 2, 3):
        own = replay_headers(read(own))
        assert own == [("trace", b"1"), (ATTEMPTS, b"%d" % attempt)]
    assert read(own).attempts == 3


def test_headers_that_were_left_out_are_given_for_the_replay() -> None:
    letter = replace(read(None), headers_left_out=True)
    assert replay_headers(letter, [("a", b"b")]) == [("a", b"b"), (ATTEMPTS, b"1")]


@pytest.mark.parametrize("size", range(12))
def test_a_reason_is_cut_between_characters_and_not_within_one(size: int) -> None:
    found = cut("aé€𝄞", size)
    assert len(found) <= size
    assert "aé€𝄞".startswith(found.decode())


def test_a_reason_as_long_as_a_book_has_a_thousand_bytes() -> None:
    assert read(None, reason="é" * 100_000).reason == "é" * 500


def test_a_header_whose_name_is_no_text_disturbs_nobody(tmp_path: Path) -> None:
    broker = BrokerProcess(data_dir=tmp_path).start()
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    producer.produce("mdata", b"v", headers=[("NAME", b"1"), ("other", b"2")], partition=0)
    assert producer.flush(10) == 0
    broker.kill()
    segment = next(tmp_path.rglob("mdata-0/*.log"))
    batch = segment.read_bytes()
    records = batch[HEADER_SIZE:].replace(b"NAME", b"\xff\xfe\x00\x1b")
    segment.write_bytes(build(read_header(batch), records))
    with broker:
        consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "g"})
        consumer.assign([TopicPartition("mdata", 0, 0)])
        message = consumer.poll(10)
        assert message is not None
        assert (message.value(), headers_of(message)) == (b"v", [])
        consumer.close()
