"""The records of a batch, as far as a policy may look at them: they are decoded only if it does."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import orjson
from google.protobuf.message import DecodeError, Message

from repertory.actors.batch import JSON, decode_records
from repertory.actors.frames import Frame
from repertory.errors import InvalidRequest
from repertory.models.names import normalise


class FieldReader:
    """Reads fields of the records of one data type, as text that is the same in all encodings."""

    def __init__(self, message: type[Message]) -> None:
        self._message = message
        fields = message.DESCRIPTOR.fields
        self._names = {field.name for field in fields if not field.is_repeated}

    def check(self, field: str) -> None:
        """Raise InvalidRequest when records have no such field, or it is a list."""
        if field not in self._names:
            known = ", ".join(sorted(self._names))
            raise InvalidRequest(
                f"options.by: {self._message.DESCRIPTOR.name} has no field {field!r} that is one"
                f" value; it has {known}"
            )

    def texts(self, records: Sequence[bytes], field: str, *, json: bool) -> list[str | None]:
        """Return what a field of each record holds; None where it is missing, or not to be read."""
        read = self._from_json if json else self._from_protobuf
        return [_text(read(record, field)) for record in records]

    def _from_protobuf(self, record: bytes, field: str) -> Any:
        try:
            return getattr(self._message.FromString(record), field)
        except DecodeError:
            return None

    def _from_json(self, record: bytes, field: str) -> Any:
        try:
            document = orjson.loads(record)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(document, dict):
            return None
        if field in document:
            return document[field]
        wanted = normalise(field)
        return next((value for key, value in document.items() if normalise(key) == wanted), None)


class BatchRecords:
    """The records of a SCORE frame. Raises ProtocolError when its lengths do not fit it."""

    def __init__(self, frame: Frame, reader: FieldReader) -> None:
        self._frame = frame
        self._reader = reader

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._frame.envelope.count)

    @cached_property
    def _records(self) -> list[bytes]:
        return decode_records(self._frame.payload, self.count)

    def texts(self, field: str) -> Sequence[str | None]:
        """Return what a field of each record holds; None where it is missing."""
        json = self._frame.envelope.encoding == JSON
        return self._reader.texts(self._records, field, json=json)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # JSON may write 5 where protobuf has 5.0
    if isinstance(value, int | float):
        return repr(value)
    return value if isinstance(value, str) and value else None
