"""Reading and writing the protocol's types."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.streams.devbroker.codec import Reader, Writer
from repertory.streams.devbroker.protocol import MalformedRequest

flavours = st.booleans()
texts = st.none() | st.text(max_size=300)


def written(flexible: bool, write: Callable[[Writer], Any]) -> Reader:
    writer = Writer(flexible=flexible)
    write(writer)
    assert writer.size == len(writer.to_bytes())
    return Reader(writer.to_bytes(), flexible=flexible)


@pytest.mark.parametrize(
    ("kind", "bits"), [("int8", 8), ("int16", 16), ("int32", 32), ("int64", 64)]
)
@given(st.data())
def test_whole_numbers_come_back(kind: str, bits: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(-(1 << bits - 1), (1 << bits - 1) - 1))
    reader = written(False, lambda writer: getattr(writer, kind)(value))
    assert (getattr(reader, kind)(), reader.left) == (value, 0)


@given(st.integers(0, (1 << 32) - 1))
def test_numbers_of_variable_size_come_back(value: int) -> None:
    reader = written(True, lambda writer: writer.varuint(value))
    assert (reader.varuint(), reader.left) == (value, 0)


@given(flavours, texts)
def test_strings_come_back(flexible: bool, text: str | None) -> None:
    reader = written(flexible, lambda writer: writer.string(text))
    assert (reader.nullable_string(), reader.left) == (text, 0)


@given(flavours, st.binary(max_size=300))
def test_blobs_come_back(flexible: bool, blob: bytes) -> None:
    reader = written(flexible, lambda writer: writer.blob(blob))
    assert (bytes(reader.blob()), reader.left) == (blob, 0)


@given(flavours, st.lists(st.text(max_size=9), max_size=200))
def test_arrays_come_back(flexible: bool, items: list[str]) -> None:
    reader = written(flexible, lambda writer: writer.array(items, writer.string).tags())
    assert reader.nullable_array(reader.string) == items
    reader.tags()
    assert reader.left == 0


@given(flavours)
def test_a_null_array_is_not_an_empty_one(flexible: bool) -> None:
    reader = written(flexible, lambda writer: writer.null_array())
    assert reader.nullable_array(reader.int8) is None


def test_tags_that_nobody_knows_are_skipped() -> None:
    reader = Reader(b"\x01\x05\x03abc\x2a", flexible=True)
    reader.tags()
    assert reader.int8() == 42


@given(flavours, st.binary(max_size=40))
def test_garbage_is_refused_or_read_but_never_more_than_there_is(
    flexible: bool, data: bytes
) -> None:
    reader = Reader(data, flexible=flexible)
    try:
        items = reader.array(reader.string)
    except MalformedRequest:
        return
    assert len(items) <= len(data)


@pytest.mark.parametrize("data", [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xfe", b"\0\0\0\x02ab"])
def test_an_array_longer_than_the_request_is_refused_at_once(data: bytes) -> None:
    reader = Reader(data)
    with pytest.raises(MalformedRequest, match=r"announced|too early"):
        reader.array(reader.int64)


def test_a_string_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="UTF-8"):
        Reader(b"\x00\x01\xff").string()
