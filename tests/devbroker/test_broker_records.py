"""The records inside a batch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.devbroker.conftest import Pair, make_batch

from repertory.streams.devbroker.batch import HEADER_SIZE, checksum_matches, read_header
from repertory.streams.devbroker.protocol import ErrorCode, Refused
from repertory.streams.devbroker.records import (
    read_records,
    read_varint,
    readable,
    rebuild,
    write_varint,
)

fields = st.none() | st.binary(max_size=40)
pairs = st.lists(st.tuples(fields, fields), min_size=1, max_size=30)


@given(st.integers(-(1 << 62), 1 << 62))
def test_zigzag_numbers_come_back(value: int) -> None:
    encoded = write_varint(value)
    assert read_varint(encoded, 0) == (value, len(encoded))


@given(pairs, st.sampled_from([0, 1]))
def test_records_come_back(records: list[Pair], compression: int) -> None:
    batch = make_batch(records, attributes=compression)
    header = read_header(batch)
    found = list(read_records(header, batch))
    assert [(record.key, record.tombstone) for record in found] == [
        (key, value is None) for key, value in records
    ]
    assert [record.offset for record in found] == list(range(len(records)))
    assert rebuild(header, found) == batch


@given(pairs, st.integers(0, 2**41))
def test_a_delete_horizon_changes_no_timestamp(records: list[Pair], horizon: int) -> None:
    batch = make_batch(records, timestamps=[5000 + 3 * i for i in range(len(records))])
    header = read_header(batch)
    marked = rebuild(header.with_horizon(horizon), list(read_records(header, batch)))
    after = read_header(marked)
    assert (after.delete_horizon, after.max_timestamp) == (horizon, header.max_timestamp)
    assert list(read_records(after, marked)) == list(read_records(header, batch))


@given(pairs, st.data())
def test_every_flipped_bit_is_noticed(records: list[Pair], data: st.DataObject) -> None:
    batch = bytearray(make_batch(records))
    place = data.draw(st.integers(17, len(batch) - 1))
    batch[place] ^= 1 << data.draw(st.integers(0, 7))
    assert not checksum_matches(read_header(batch), bytes(batch))


@given(pairs, st.binary(max_size=60), st.sampled_from([0, 1]))
def test_garbage_inside_is_refused_or_read(
    records: list[Pair], garbage: bytes, compression: int
) -> None:
    header = read_header(make_batch(records, attributes=compression))
    batch = bytes(HEADER_SIZE) + garbage
    header = header._replace(length=len(batch) - 12)
    try:
        found = list(read_records(header, batch))
    except Refused:
        return
    assert len(found) == header.records


def test_records_cut_short_are_refused() -> None:
    batch = make_batch([(b"k", b"v" * 50)])[:-10]
    with pytest.raises(Refused) as caught:
        list(read_records(read_header(batch), batch))
    assert caught.value.code is ErrorCode.INVALID_RECORD


@pytest.mark.parametrize(
    ("compression", "expected"), [(0, True), (1, True), (2, False), (4, False)]
)
def test_only_what_the_standard_library_unpacks_is_readable(
    compression: int, expected: bool
) -> None:
    assert readable(read_header(make_batch([(None, b"v")], attributes=compression))) is expected
