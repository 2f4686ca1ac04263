"""What the body of a scoring request holds: records, as JSON or as a protobuf message."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from repertory.actors.batch import JSON, PROTOBUF
from repertory.errors import InvalidRequest
from repertory.protos.door_pb2 import Envelope

PROTOBUF_TYPES = frozenset(
    {
        "application/x-protobuf",
        "application/protobuf",
        "application/vnd.google.protobuf",
        "application/octet-stream",
    }
)

_SHAPES = 'a record, a list of records, or {"records": […]}'


@dataclass(frozen=True, slots=True)
class RecordBody:
    """The records of a request: JSON values, or the bytes of protobuf messages."""

    items: Sequence[Any]
    encoding: Envelope.Encoding

    def encoded(self, part: slice) -> list[bytes]:
        """Return some of the records as they travel. Raises InvalidRequest."""
        if self.encoding == PROTOBUF:
            return list(self.items[part])
        try:
            return [orjson.dumps(item) for item in self.items[part]]
        except orjson.JSONEncodeError as error:
            raise InvalidRequest(f"a record is nested too deeply: {error}") from None


def read_records(body: bytes, content_type: str) -> RecordBody:
    """Return the records of a body. Raises InvalidRequest, naming the place in it.

    An element of a list that is no JSON object is left to the serving actor: it is that record's
    own failure.
    """
    if content_type in PROTOBUF_TYPES:
        return RecordBody([body], PROTOBUF)
    if not body:
        raise InvalidRequest(f"the body is empty: send {_SHAPES}")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    return RecordBody(_records(document), JSON)


def _records(document: Any) -> list[Any]:
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        raise InvalidRequest(f"the body must be {_SHAPES}, not {document!r:.60}")
    if "records" not in document:
        return [document]
    records = document["records"]
    if not isinstance(records, list):
        raise InvalidRequest(f"records must be a list, not {records!r:.60}")
    return records
