"""From the bytes of records to columns: decoded once, each bad record failing alone."""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from repertory.errors import FailureCode
from repertory.models.json_records import EMPTY, JsonDecoder, wrong_data_type
from repertory.models.model import Columns, Failed, FeatureKind, Schema

# The field by which a record may say itself of which data type it is.
DATA_TYPE_FIELD = "dataType"


class RecordDecoder:
    """Decodes records of one data type. Pure; may be used again and again by one thread.

    A row whose record failed holds NaN (None in text columns). An absent proto3 field without
    presence cannot be told from 0.0 (or "") and is read so; an absent `optional` field is missing.
    A record of no bytes, or of none of the message's fields, is refused although protobuf takes
    both for a record of zeros: they come from truncation or from another message.
    """

    def __init__(self, schema: Schema, message: type[Message]) -> None:
        self._schema = schema
        self._message = message
        self._json = JsonDecoder(schema)
        fields = message.DESCRIPTOR.fields_by_name
        self._numbers = tuple(f.name for f in schema.features if f.kind is FeatureKind.NUMBER)
        self._texts = tuple(f.name for f in schema.features if f.kind is FeatureKind.TEXT)
        self._optional = tuple(f.name for f in schema.features if fields[f.name].has_presence)
        self._get_numbers = attrgetter(*self._numbers) if self._numbers else None
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
        matrix = self._matrix(messages)
        self._refuse_strangers(messages, matrix, failures)
        columns = self._columns(messages, matrix)
        blank(columns, failures)
        return Columns(len(records), columns), failures

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
                failures[index] = self._undecodable(error)
                message.Clear()
            if not record:
                failures[index] = EMPTY
            messages.append(message)
        return messages

    def _undecodable(self, error: DecodeError) -> Failed:
        name = self._message.DESCRIPTOR.name
        return Failed(FailureCode.INVALID_RECORD, f"not a {name} message: {error}")

    def _check_data_types(self, messages: list[Message], failures: dict[int, Failed]) -> None:
        own = list(map(attrgetter(DATA_TYPE_FIELD), messages))
        if {"", self._schema.data_type}.issuperset(own):
            return
        for index, name in enumerate(own):
            if name and name != self._schema.data_type:
                failures.setdefault(index, wrong_data_type(name, self._schema.data_type))

    def _matrix(self, messages: list[Message]) -> NDArray[np.float64]:
        """Return the number features as [feature, record]."""
        width, height = len(self._numbers), len(messages)
        if self._get_numbers is None:
            return np.empty((0, height))
        rows = map(self._get_numbers, messages)
        flat = rows if width == 1 else chain.from_iterable(rows)
        values = np.fromiter(flat, np.float64, width * height)
        return np.ascontiguousarray(values.reshape(height, width).T)

    def _refuse_strangers(
        self, messages: list[Message], matrix: NDArray[np.float64], failures: dict[int, Failed]
    ) -> None:
        for index in np.flatnonzero(~matrix.any(axis=0)).tolist():
            if index not in failures and not messages[index].ListFields():
                name = self._message.DESCRIPTOR.name
                failures[index] = Failed(
                    FailureCode.INVALID_RECORD, f"the record has none of the fields of {name}"
                )

    def _columns(
        self, messages: list[Message], matrix: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64] | NDArray[np.object_]]:
        columns: dict[str, NDArray[np.float64] | NDArray[np.object_]] = dict(
            zip(self._numbers, matrix, strict=True)
        )
        for name in self._texts:
            column = np.empty(len(messages), np.object_)
            column[:] = list(map(attrgetter(name), messages))
            columns[name] = column
        for name in self._optional:
            absent = [not message.HasField(name) for message in messages]
            columns[name][absent] = np.nan if name in self._numbers else None
        return columns


def blank(
    columns: dict[str, NDArray[np.float64] | NDArray[np.object_]], failures: dict[int, Failed]
) -> None:
    """Make the failed rows of `columns` missing."""
    if failures:
        rows = list(failures)
        for column in columns.values():
            column[rows] = np.nan if column.dtype == np.float64 else None
