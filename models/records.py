"""From the bytes of records to columns: decoded once, each bad record failing alone."""

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from repertory.errors import FailureCode
from repertory.models.json_records import EMPTY, JsonDecoder, wrong_data_type, wrong_width
from repertory.models.model import Columns, Failed, Feature, FeatureKind, Numbers, Schema, Vector

Matrix = NDArray[np.float64]

# The field by which a record may say itself of which data type it is.
DATA_TYPE_FIELD = "dataType"


class RecordDecoder:
    """Decodes records of one data type. Pure; may be used again and again by one thread.

    A row whose record failed holds NaN (None in text columns). An absent proto3 field without
    presence cannot be told from 0.0 (or "") and is read so; an absent `optional` field is missing.
    A record of no bytes, or of none of the message's fields, is refused although protobuf takes
    both for a record of zeros: they come from truncation or from another message. So is a record
    whose vector has not the width that is declared.
    """

    def __init__(self, schema: Schema, message: type[Message]) -> None:
        self._schema = schema
        self._message = message
        self._json = JsonDecoder(schema)
        fields = message.DESCRIPTOR.fields_by_name
        place = {name: number for number, name in enumerate(schema.numbers)}
        plain = [field for field in schema.fields if isinstance(field, Feature)]
        self._vectors = [
            (field, place[f"{field.name}[0]"])
            for field in schema.fields
            if isinstance(field, Vector)
        ]
        self._texts = [field.name for field in plain if field.kind is FeatureKind.TEXT]
        self._optional = [field.name for field in plain if fields[field.name].has_presence]
        numbers = [field.name for field in plain if field.kind is FeatureKind.NUMBER]
        self._places = [place[name] for name in numbers]
        self._get_numbers = attrgetter(*numbers) if numbers else None
        own = fields.get(DATA_TYPE_FIELD)
        self._says_type = own is not None and own.cpp_type == own.CPPTYPE_STRING

    def decode(self, records: Sequence[bytes], *, json: bool) -> tuple[Columns, dict[int, Failed]]:
        """Return the columns of `records`, and the failure of each one that cannot be decoded."""
        if json:
            return self._json.decode(records)
        failures: dict[int, Failed] = {}
        messages = self._parse(records, failures)
        if self._says_type:
            self._check_data_types(messages, failures)
        matrix = self._matrix(messages, failures)
        columns = Columns.of(Numbers(self._schema.numbers, matrix), self._text_columns(messages))
        self._blank(columns, messages, list(failures))
        return columns, failures

    def _parse(self, records: Sequence[bytes], failures: dict[int, Failed]) -> list[Message]:
        parse = self._message.FromString
        if all(records):
            try:
                return list(map(parse, records))
            except DecodeError:
                pass  # one of them is bad: find out which, so that it fails alone
        messages = []
        for index, record in enumerate(records):
            message = self._message()
            try:
                message.MergeFromString(record)
            except DecodeError as error:
                failures[index] = self._undecodable(record, error)
                message.Clear()
            if not record:
                failures[index] = EMPTY
            messages.append(message)
        return messages

    def _undecodable(self, record: bytes, error: DecodeError) -> Failed:
        name = self._message.DESCRIPTOR.name
        return Failed(FailureCode.INVALID_RECORD, f"not a {name} message: {error}{_hint(record)}")

    def _check_data_types(self, messages: list[Message], failures: dict[int, Failed]) -> None:
        own = list(map(attrgetter(DATA_TYPE_FIELD), messages))
        if {"", self._schema.data_type}.issuperset(own):
            return
        for index, name in enumerate(own):
            if name and name != self._schema.data_type:
                failures.setdefault(index, wrong_data_type(name, self._schema.data_type))

    def _matrix(self, messages: list[Message], failures: dict[int, Failed]) -> Matrix:
        """Return the numbers as [record, feature], and put into `failures` who does not give them."""
        if not self._vectors:
            matrix = self._scalars(messages)
            suspects = np.flatnonzero(~matrix.any(axis=1)).tolist()
            self._refuse_strangers(messages, suspects, failures)
            return matrix
        matrix = np.empty((len(messages), len(self._schema.numbers)))
        if self._places:
            matrix[:, self._places] = self._scalars(messages)
        for vector, start in self._vectors:
            found = self._vectors_of(messages, vector, failures)
            for row, values in zip(matrix[:, start : start + vector.width], found, strict=True):
                row[:] = values
        return matrix

    def _scalars(self, messages: list[Message]) -> Matrix:
        width, height = len(self._places), len(messages)
        if self._get_numbers is None:
            return np.empty((height, 0))
        rows = map(self._get_numbers, messages)
        flat = rows if width == 1 else chain.from_iterable(rows)
        return np.fromiter(flat, np.float64, width * height).reshape(height, width)

    def _vectors_of(
        self, messages: list[Message], vector: Vector, failures: dict[int, Failed]
    ) -> list[Any]:
        found = list(map(attrgetter(vector.name), messages))
        wrong = [row for row, values in enumerate(found) if len(values) != vector.width]
        self._refuse_strangers(messages, wrong, failures)
        for row in wrong:
            failures.setdefault(row, wrong_width(vector, len(found[row])))
            found[row] = np.zeros(vector.width)
        return found

    def _refuse_strangers(
        self, messages: list[Message], suspects: Iterable[int], failures: dict[int, Failed]
    ) -> None:
        name = self._message.DESCRIPTOR.name
        for row in suspects:
            if row not in failures and not messages[row].ListFields():
                failures[row] = Failed(
                    FailureCode.INVALID_RECORD, f"the record has none of the fields of {name}"
                )

    def _text_columns(self, messages: list[Message]) -> dict[str, NDArray[np.object_]]:
        columns = {}
        for name in self._texts:
            column = np.empty(len(messages), np.object_)
            column[:] = list(map(attrgetter(name), messages))
            columns[name] = column
        return columns

    def _blank(self, columns: Columns, messages: list[Message], failed: list[int]) -> None:
        """Make missing what is absent, and the rows of records that failed."""
        for name in self._optional:
            absent = [not message.HasField(name) for message in messages]
            columns.features[name][absent] = None if name in self._texts else np.nan
        if failed and columns.numbers is not None:
            columns.numbers.matrix[failed] = np.nan
            for name in self._texts:
                columns.features[name][failed] = None


def _hint(record: bytes) -> str:
    if len(record) > 5 and record[0] == 0:
        schema = int.from_bytes(record[1:5], "big")
        return f"; it begins like Confluent's wire format (schema {schema}), which is not read"
    return ""
