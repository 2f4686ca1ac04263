"""The forms in which records are given, each turned into the body of a request."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import orjson

from repertory.errors import InvalidRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Record = Mapping[str, Any]


class Frame(Protocol):
    """A pandas.DataFrame: a row for each record, a column for each feature."""

    @property
    def columns(self) -> Any:
        """The names of the features."""

    @property
    def index(self) -> Any:
        """What the rows are called."""

    def to_dict(self, orient: Any) -> Any:
        """Return the rows as dicts, when `orient` is "records"."""


Records: TypeAlias = "Record | Iterable[Record] | NDArray[Any] | Frame | bytes"

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class Body:
    """Records ready to be sent; `index` is what a table calls its rows, None of other forms."""

    content: bytes
    content_type: str = "application/json"
    index: Any = None


def is_matrix(records: object) -> bool:
    """Whether these are records without names: an array of numpy's."""
    numpy = sys.modules.get("numpy")  # where nobody imported it, nothing is an array
    return numpy is not None and isinstance(records, numpy.ndarray)


def body_of(records: "Records", features: Sequence[str] | None = None) -> Body:
    """Return the body of a request. Raises InvalidRequest.

    A matrix needs its `features`: the name of each column, `name[width]` of several. Numbers that
    are missing (NaN, None, pandas.NA) are null. Bytes are one record, as a protobuf message.
    """
    if isinstance(records, bytes):
        return Body(records, "application/x-protobuf")
    if is_matrix(records):
        return Body(_dumps(list(_rows(records, features or ()))))  # type: ignore[arg-type]
    if features is not None:
        raise InvalidRequest(
            "features are the names of a matrix's columns; these records have names"
        )
    if _is_frame(records):
        return Body(_dumps(records.to_dict("records")), index=records.index)  # type: ignore[union-attr]
    if isinstance(records, Mapping):
        return Body(_dumps([records]))
    if isinstance(records, str) or not isinstance(records, Iterable):
        raise InvalidRequest(
            "records must be a dict, a list of dicts, a numpy array or a pandas DataFrame,"
            f" not {type(records).__name__}"
        )
    return Body(_dumps(list(records)))


def _is_frame(records: object) -> bool:
    return hasattr(records, "columns") and hasattr(records, "to_dict") and hasattr(records, "index")


def _rows(matrix: "NDArray[np.generic]", features: Sequence[str]) -> Iterator[dict[str, Any]]:
    fields = [_field(each) for each in features]
    width = sum(each or 1 for _, each in fields)
    rows = matrix.reshape(1, -1) if matrix.ndim == 1 else matrix
    if rows.ndim != 2 or rows.shape[1] != width:
        names = ", ".join(features)
        raise InvalidRequest(
            f"the array has the shape {list(matrix.shape)}; with {names} it must be [-1, {width}]"
        )
    for row in rows.tolist():
        values = iter(row)
        yield {
            name: next(values) if size is None else [next(values) for _ in range(size)]
            for name, size in fields
        }


def _field(feature: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(.+)\[(\d{1,9})\]", feature)
    return (match[1], int(match[2])) if match else (feature, None)


def _dumps(records: list[Any]) -> bytes:
    try:
        return orjson.dumps(records, default=_plain, option=_OPTIONS)
    except TypeError as error:  # the base of orjson's own
        raise InvalidRequest(f"a record cannot be written as JSON: {error}") from error


def _plain(value: Any) -> Any:
    """Return what JSON has for a value that orjson does not know."""
    if type(value).__name__ in ("NAType", "NaTType"):  # of pandas, which may be absent
        return None
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):  # arrays that are not contiguous, and what is like an array
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is neither a number nor a text")
