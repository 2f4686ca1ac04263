"""From the columns of a file to the fields of a protobuf message."""

from collections.abc import Collection, Sequence
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from repertory.errors import InvalidRequest
from repertory.protos.loading import load_message
from repertory.streams.tables import Row

_FLOATS = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}
_ABOUT_LISTS = ", which takes a list; JSON lines and Parquet hold lists, CSV does not"
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class RowEncoder:
    """Turns rows into messages of one class.

    A column goes to the field of the same name, where only letters and digits count and case does
    not, and a column of lists to a repeated field; columns named in `ignore` are left out. Raises ConfigError when the message cannot be
    imported.
    """

    def __init__(self, message: str, *, ignore: Collection[str]) -> None:
        self._message = load_message(message)
        fields = filter(_is_plain, cast(Sequence[FieldDescriptor], self._message.DESCRIPTOR.fields))
        self._fields: dict[str, FieldDescriptor] = {_bare(field.name): field for field in fields}
        self._ignored = set(map(_bare, ignore))
        self._found: dict[str, FieldDescriptor | None] = {}  # by column; None: ignored

    def encode(self, row: Row, **defaults: Any) -> bytes:
        """Return the message of a row, serialised.

        An empty cell, or null, leaves its field unset. `defaults` are for fields that the message
        has and the row does not give. Raises InvalidRequest for a column that is no field, and
        for a value that is none of its field.
        """
        message = self._message()
        for name, value in defaults.items():
            field = self._fields.get(_bare(name))
            if field is not None and not field.is_repeated:
                setattr(message, name, value)
        for column, value in row.items():
            field = self._field(column)
            if field is None or value is None or value == "":
                continue
            try:
                _set(message, field, value)
            except (TypeError, ValueError) as error:
                raise InvalidRequest(
                    f"column {column!r}: {value!r:.80} is not a value of the field {field.name}"
                    + (_ABOUT_LISTS if field.is_repeated else "")
                ) from error
        return message.SerializeToString()

    def _field(self, column: str) -> FieldDescriptor | None:
        if column not in self._found:
            field = self._fields.get(_bare(column))
            if field is None and _bare(column) not in self._ignored:
                raise InvalidRequest(
                    f"column {column!r} is not a field of {self._message.DESCRIPTOR.name}, which"
                    f" has {', '.join(f.name for f in self._fields.values())};"
                    " rename the column, or have it ignored"
                )
            self._found[column] = None if _bare(column) in self._ignored else field
        return self._found[column]


def _set(message: Message, field: FieldDescriptor, value: Any) -> None:
    """Give a field its value. Raises TypeError or ValueError for one that is none of its own."""
    if not field.is_repeated:
        setattr(message, field.name, _converted(field, value))
    elif isinstance(value, list):
        getattr(message, field.name).extend([_converted(field, each) for each in value])
    else:
        raise TypeError


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold() or name


def _is_plain(field: FieldDescriptor) -> bool:
    plain = _FLOATS | _INTEGERS | {FieldDescriptor.CPPTYPE_BOOL}
    text = field.type == FieldDescriptor.TYPE_STRING
    return text or field.cpp_type in plain


def _converted(field: FieldDescriptor, value: Any) -> Any:
    if field.cpp_type in _FLOATS:
        return float(value)
    if field.cpp_type in _INTEGERS:
        return int(value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if str(value).lower() not in _BOOLEANS:
            raise ValueError
        return _BOOLEANS[str(value).lower()]
    return str(value)
