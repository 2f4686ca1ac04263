"""Of which data type a record is."""

import pytest
from google.protobuf.message import Message

from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.protos.winerecord_pb2 import WineRecord
from repertory.streams.claims import Claim
from repertory.streams.record import Headers, Record
from repertory.streams.routing import MixedTopics, data_type_header

MESSAGES: dict[str, type[Message]] = {"wine": WineRecord, "model": ModelDescriptor}


def record(value: bytes | None = b"", headers: Headers | None = None) -> Record:
    """Return a record."""
    return Record(Claim("mixed", 0), 0, None, value, 0, 0, headers)


def said(value: bytes | None, headers: Headers | None = None) -> str:
    """Return the data type of a record of a mixed topic."""
    return MixedTopics({}, MESSAGES).data_type(record(value, headers))


def test_the_header_counts_whatever_the_record_says() -> None:
    value = WineRecord(dataType="wine").SerializeToString()
    assert said(value, [("trace", b"1"), ("dataType", b"model")]) == "model"


def test_the_last_of_several_headers_counts() -> None:
    assert data_type_header(record(headers=[("dataType", b"a"), ("dataType", b"b")])) == "b"


def test_a_header_without_a_value_says_nothing() -> None:
    assert data_type_header(record(headers=[("dataType", None)])) is None


@pytest.mark.parametrize(
    ("value", "data_type"),
    [
        (WineRecord(pH=3.5, dataType="wine").SerializeToString(), "wine"),
        (ModelDescriptor(name="forest", dataType="model").SerializeToString(), "model"),
        (WineRecord(pH=3.5).SerializeToString(), ""),
        (b'{"dataType": "wine", "pH": 3.5}', "wine"),
        (b' {"dataType": "beer"}', "beer"),
        (b'{"dataType": 7}', ""),
        (b'{"dataType": ', ""),
        (b"{}", ""),
        (b"\xff\xff", ""),
        (b"", ""),
        (None, ""),
    ],
)
def test_without_a_header_the_record_says_it_itself(value: bytes | None, data_type: str) -> None:
    assert said(value) == data_type
