"""Records as JSON objects, one each."""

from array import array
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from repertory.errors import FailureCode
from repertory.models.model import (
    Columns,
    Failed,
    Feature,
    FeatureKind,
    Numbers,
    Schema,
    Vector,
)
from repertory.models.names import normalise

Matrix = NDArray[np.float64]

# Producers send few different sets of keys; the bound keeps a hostile one from filling memory.
_MOST_LAYOUTS = 256

_DATA_TYPE = normalise("dataType")


EMPTY = Failed(FailureCode.INVALID_RECORD, "an empty record")


class BadRecord(Exception):
    """A record that cannot be decoded; `failure` says why."""

    def __init__(self, failure: Failed) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _undecodable(message: str) -> BadRecord:
    return BadRecord(Failed(FailureCode.INVALID_RECORD, message))


def wrong_data_type(found: str, due: str) -> Failed:
    """Return the failure of a record that says it is of another data type."""
    message = f"the record says that it is of {found!r}, not of {due!r}"
    return Failed(FailureCode.WRONG_DATA_TYPE, message)


def wrong_width(vector: Vector, found: int) -> Failed:
    """Return the failure of a record whose vector has another width than is declared."""
    message = f"{vector.name} has {found} values; {vector.width} are due"
    return Failed(FailureCode.INVALID_FEATURE, message)


class _Layout:
    """Where the fields lie in objects with one tuple of keys."""

    def __init__(self, keys: tuple[str, ...], schema: Schema) -> None:
        places: dict[str, list[str]] = {}
        for key in keys:
            places.setdefault(normalise(key), []).append(key)
        names = [normalise(field.name) for field in schema.fields]
        doubled = [places[name] for name in names if len(places.get(name, ())) > 1]
        self.doubled = doubled[0] if doubled else None
        found = [(i, places[name][0]) for i, name in enumerate(names) if name in places]
        self.fields = [schema.fields[i] for i, _ in found]
        self.indices = [i for i, _ in found]
        self.complete = len(found) == len(names)
        present = [key for _, key in found]
        # itemgetter of one key gives a bare value; ask for it twice, and zip drops the second.
        self.values = (
            itemgetter(*(present if len(present) > 1 else present * 2)) if present else None
        )
        self.size = len(keys)
        self.all_values = itemgetter(*keys) if keys else tuple
        self.data_type = (
            None if _DATA_TYPE in names else next(iter(places.get(_DATA_TYPE, ())), None)
        )


class JsonDecoder:
    """Decodes JSON records of one data type.

    Keys are matched to fields by `normalise`; unknown keys are ignored; an absent key and null
    mean missing. Two spellings of one feature are refused; of one key written twice the last
    counts, as JSON parsers have it. A number beyond a double's range is not JSON here. A vector is
    a list of numbers, of the width that is declared; null among them is missing.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._width = len(schema.fields)
        self._all_numbers = schema.numbers == tuple(field.name for field in schema.fields)
        self._layouts: dict[tuple[str, ...], _Layout] = {}

    def decode(self, records: Sequence[bytes]) -> tuple[Columns, dict[int, Failed]]:
        """Return the columns of `records`, and the failure of each one that cannot be decoded."""
        matrix = self._uniform(records) if self._all_numbers and records else None
        if matrix is not None:
            return Columns.of(Numbers(self._schema.numbers, matrix), {}), {}
        failures: dict[int, Failed] = {}
        nothing = (None,) * self._width
        rows: list[Sequence[Any]] = []
        for index, record in enumerate(records):
            try:
                rows.append(self._row(record))
            except BadRecord as error:
                failures[index] = error.failure
                rows.append(nothing)
        return self._columns(rows), failures

    def _uniform(self, records: Sequence[bytes]) -> Matrix | None:
        """Return the numbers of records that are all well and have the same keys; None of others.

        Takes two thirds of the time that it takes to look at them one by one. That is not so of
        vectors, whose numbers are best read while they are in the processor's cache.
        """
        try:
            documents = list(map(orjson.loads, records))
        except orjson.JSONDecodeError:
            return None
        layout = self._shared_layout(documents)
        if layout is None or layout.values is None or not layout.complete:
            return None
        if layout.data_type is not None:
            types = [document[layout.data_type] for document in documents]
            if types.count(self._schema.data_type) != len(types):
                return None
        flat = list(chain.from_iterable(map(layout.values, documents)))
        if not _NUMBERS_AND_NULL.issuperset(map(type, flat)):
            return None
        values = np.array(flat, np.float64)  # None becomes NaN
        return values.reshape(len(documents), -1)[:, : self._width]

    def _shared_layout(self, documents: list[Any]) -> _Layout | None:
        """Return the layout of documents that are all objects with the same keys, if it is known."""
        if set(map(type, documents)) != {dict}:
            return None
        layout = self._layouts.get(tuple(documents[0]))
        if layout is None or layout.doubled or set(map(len, documents)) != {layout.size}:
            return None
        try:
            # As many keys, and all of the first one's: the same keys.
            deque(map(layout.all_values, documents), 0)
        except KeyError:
            return None
        return layout

    def _columns(self, rows: list[Sequence[Any]]) -> Columns:
        names = self._schema.numbers
        if self._all_numbers:
            matrix = np.array(rows, np.float64).reshape(-1, len(names))  # None becomes NaN
            return Columns.of(Numbers(names, matrix), {})
        matrix = np.empty((len(rows), len(names)))
        texts: dict[str, NDArray[np.object_]] = {}
        start = 0
        for place, field in enumerate(self._schema.fields):
            values = [row[place] for row in rows]
            if isinstance(field, Vector):
                _put_vectors(values, matrix[:, start : start + field.width])
                start += field.width
            elif field.kind is FeatureKind.NUMBER:
                matrix[:, start] = values
                start += 1
            else:
                texts[field.name] = np.empty(len(rows), np.object_)
                texts[field.name][:] = values
        return Columns.of(Numbers(names, matrix), texts)

    def _row(self, record: bytes) -> Sequence[Any]:
        """Return a record's value of each field: a number, a text, numbers, or None."""
        if not record:
            raise BadRecord(EMPTY)
        try:
            document = orjson.loads(record)
        except orjson.JSONDecodeError as error:
            raise _undecodable(f"not JSON: {error}") from None
        if type(document) is not dict:
            kind = _JSON_KINDS[type(document)]
            raise _undecodable(f"a JSON object is due, not {kind}")
        layout = self._layout(tuple(document))
        if layout.data_type is not None:
            self._check_data_type(document[layout.data_type])
        if layout.values is None:
            return (None,) * self._width
        values = layout.values(document)
        if layout.complete and self._all_numbers and _NUMBERS.issuperset(map(type, values)):
            return values[: self._width]  # type: ignore[no-any-return]
        row: list[Any] = [None] * self._width
        for index, field, value in zip(layout.indices, layout.fields, values, strict=False):
            if isinstance(field, Vector):
                row[index] = _vector(field, value, record)
            else:
                row[index] = _checked(field, value)
        return row

    def _layout(self, keys: tuple[str, ...]) -> _Layout:
        layout = self._layouts.get(keys)
        if layout is None:
            layout = _Layout(keys, self._schema)
            if len(self._layouts) < _MOST_LAYOUTS:
                self._layouts[keys] = layout
        if layout.doubled:
            spelled = " and ".join(map(repr, layout.doubled))
            raise _undecodable(f"{spelled} are one feature, given twice")
        return layout

    def _check_data_type(self, found: object) -> None:
        due = self._schema.data_type
        if isinstance(found, str) and found and found != due:
            raise BadRecord(wrong_data_type(found, due))


_NUMBERS = {int, float}
_NUMBERS_AND_NULL = {int, float, type(None)}
_JSON_KINDS = {
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    type(None): "null",
    dict: "an object",
}


def _checked(feature: Feature, value: object) -> object:
    due = (int, float) if feature.kind is FeatureKind.NUMBER else (str,)
    if value is None or type(value) in due:
        return value
    wanted = "a number" if feature.kind is FeatureKind.NUMBER else "a string"
    raise _misfit(feature.name, value, wanted)


def _vector(vector: Vector, values: object, record: bytes) -> Sequence[float | None] | None:
    if values is None:
        return None
    if not isinstance(values, list):
        raise _misfit(vector.name, values, f"a list of {vector.width} numbers")
    if len(values) != vector.width:
        raise BadRecord(wrong_width(vector, len(values)))
    if not _may_hold_truths(record) or _NUMBERS.issuperset(map(type, values)):
        # Arrays refuse everything else that is no number, faster than types can be looked at.
        for kind in ("q", "d"):
            with suppress(TypeError, OverflowError):
                return array(kind, values)
    if not _NUMBERS_AND_NULL.issuperset(map(type, values)):
        place = next(i for i, each in enumerate(values) if type(each) not in _NUMBERS_AND_NULL)
        raise _misfit(f"{vector.name}[{place}]", values[place], "a number")
    return values


def _may_hold_truths(record: bytes) -> bool:
    """Tell whether `true` or `false` may be in a record; their rare letters are looked for first."""
    return (b"u" in record and b"true" in record) or (b"f" in record and b"false" in record)


def _put_vectors(vectors: Sequence[Sequence[float | None] | None], into: Matrix) -> None:
    for row, values in zip(into, vectors, strict=True):
        row[:] = np.nan if values is None else values  # None becomes NaN


def _misfit(name: str, value: object, due: str) -> BadRecord:
    message = f"{name} is {_JSON_KINDS[type(value)]} ({_shown(value)}), not {due}"
    return BadRecord(Failed(FailureCode.INVALID_FEATURE, message))


def _shown(value: object) -> str:
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return "deeply nested"  # what was read may be too deep to be written
    return text if len(text) <= 60 else text[:57] + "..."
