"""From columns to the tensors of an engine: what a record may hold is judged here, not there.

Engines disagree on NaN, infinities and unknown categories, and some answer a plausible label; so
none ever sees a value that its model does not declare valid.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.errors import FailureCode
from repertory.models.model import (
    Columns,
    Failed,
    InputFeature,
    InputTensor,
    Interval,
    Numbers,
    OnInvalid,
    OnMissing,
    Signature,
)

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Feed:
    """What an engine is given: `tensors` of the records that may be scored.

    `rows` are their indices in the batch, None when all are good; `failures` are the others.
    """

    tensors: Tensors
    count: int
    rows: NDArray[np.intp] | None
    failures: Mapping[int, Failed]


class Inputs:
    """Builds the tensors that a signature asks for. Used by one thread."""

    def __init__(self, signature: Signature) -> None:
        self._tensors = signature.tensors
        self._plain = all(map(_is_plain, signature.tensors))
        features = [feature for tensor in signature.tensors for feature in tensor.features]
        self._rejects = all(each.on_missing is OnMissing.REJECT for each in features)
        self._names = [feature.name for feature in features]
        self._slicer = _Slicer(signature.tensors)

    def feed(self, columns: Columns) -> Feed:
        """Return the tensors of the good records of a batch, and why the others are not."""
        tensors = self._plain_tensors(columns) if self._plain else None
        if tensors is None:
            return self._judged(columns)
        finite = {name: np.isfinite(tensor) for name, tensor in tensors.items()}
        if all(each.all() for each in finite.values()):
            return Feed(tensors, columns.count, None, {})
        if not self._rejects:
            return self._judged(columns)
        failures: dict[int, Failed] = {}
        for tensor in self._tensors:
            _judge_faulty(tensor, finite[tensor.name], columns, failures)
        rows = np.flatnonzero([row not in failures for row in range(columns.count)])
        return Feed({n: t[rows] for n, t in tensors.items()}, len(rows), rows, failures)

    def _plain_tensors(self, columns: Columns) -> Tensors | None:
        """Return the tensors as they are; None when what should be a number is text."""
        sliced = self._slicer.tensors(columns.numbers) if columns.numbers else None
        if sliced is not None:
            return sliced
        if all(columns.features[name].dtype.kind == "f" for name in self._names):
            return {tensor.name: _stacked(tensor, columns) for tensor in self._tensors}
        return None

    def _judged(self, columns: Columns) -> Feed:
        failures: dict[int, Failed] = {}
        parts = {
            tensor.name: [
                _Judge(feature, tensor.dtype, failures).admit(columns.features[feature.name])
                for feature in tensor.features
            ]
            for tensor in self._tensors
        }
        rows = None
        if failures:
            good = np.ones(columns.count, np.bool_)
            good[list(failures)] = False
            rows = np.flatnonzero(good)
        count = columns.count if rows is None else len(rows)
        tensors = {
            tensor.name: _assembled(tensor, parts[tensor.name], count, rows)
            for tensor in self._tensors
        }
        return Feed(tensors, count, rows, failures)


def _is_plain(tensor: InputTensor) -> bool:
    """Tell whether each finite number is valid in every feature of a tensor, and no infinite one."""
    return tensor.dtype in ("float32", "float64") and all(
        feature.categories is None and not feature.intervals for feature in tensor.features
    )


class _Slicer:
    """Cuts tensors out of the matrix of a batch, without a look at the columns one by one."""

    def __init__(self, tensors: tuple[InputTensor, ...]) -> None:
        self._tensors = tensors
        self._names: tuple[str, ...] = ()
        self._places: list[slice | list[int]] | None = None

    def tensors(self, numbers: Numbers) -> Tensors | None:
        """Return the tensors; None when some of their features are not in the matrix."""
        if numbers.names is not self._names:
            self._names = numbers.names
            self._places = self._find(numbers.names)
        if self._places is None:
            return None
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is judged
            return {
                tensor.name: _cut(tensor, numbers.matrix[:, place])
                for tensor, place in zip(self._tensors, self._places, strict=True)
            }

    def _find(self, names: tuple[str, ...]) -> list[slice | list[int]] | None:
        index = {name: place for place, name in enumerate(names)}
        try:
            found = [[index[feature.name] for feature in each.features] for each in self._tensors]
        except KeyError:
            return None
        return list(map(_as_slice, found))


def _as_slice(places: list[int]) -> slice | list[int]:
    start, stop = places[0], places[0] + len(places)
    return slice(start, stop) if places == list(range(start, stop)) else places


def _cut(tensor: InputTensor, matrix: NDArray[np.float64]) -> NDArray[Any]:
    out = np.ascontiguousarray(matrix, tensor.dtype)
    return out[:, 0] if tensor.rank == 1 else out


def _judge_faulty(
    tensor: InputTensor,
    finite: NDArray[np.bool_],
    columns: Columns,
    failures: dict[int, Failed],
) -> None:
    """Put the failure of each row of a plain tensor that is not all finite into `failures`.

    Only the features that are the first at fault in some row are judged: the first fault counts.
    """
    finite = finite.reshape(len(finite), -1)
    faulty = finite[~finite.all(axis=1)]
    for place in np.unique(faulty.argmin(axis=1)).tolist():
        feature = tensor.features[place]
        _Judge(feature, tensor.dtype, failures).admit(columns.features[feature.name])


def _stacked(tensor: InputTensor, columns: Columns) -> NDArray[Any]:
    out = np.empty((columns.count, len(tensor.features)), tensor.dtype)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is judged
        for place, feature in enumerate(tensor.features):
            out[:, place] = columns.features[feature.name]
    return out[:, 0] if tensor.rank == 1 else out


def _assembled(
    tensor: InputTensor,
    parts: list[NDArray[Any]],
    count: int,
    rows: NDArray[np.intp] | None,
) -> NDArray[Any]:
    out = np.empty((count, len(parts)), tensor.dtype)
    for place, part in enumerate(parts):
        out[:, place] = part if rows is None else part[rows]
    return out[:, 0] if tensor.rank == 1 else out


class _Judge:
    """Judges one feature's column; puts into `failures` the first fault found of each record."""

    def __init__(self, feature: InputFeature, dtype: str, failures: dict[int, Failed]) -> None:
        self._feature = feature
        self._dtype = np.dtype(dtype)
        self._failures = failures

    def admit(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return the values for the engine; those of failed records mean nothing."""
        if self._dtype.kind == "O":
            return self._admit_as_it_is(column)
        if self._feature.categories is not None:
            values = self._category_indices(column, self._feature.categories)
        elif column.dtype.kind == "O":
            self._invalid(~_absent(column), column, "is text, where a number is due")
            values = np.full(len(column), np.nan)
        else:
            values = self._within_intervals(column)
        self._fail_missing(np.isnan(values))
        return self._representable(values)

    def _admit_as_it_is(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return the values themselves, None where missing, for an engine that takes objects."""
        if self._feature.categories is not None:
            missing = np.isnan(self._category_indices(column, self._feature.categories))
            values = column
        elif column.dtype.kind == "O":
            missing = _absent(column)
            values = column
        else:
            values = self._within_intervals(column)
            missing = np.isnan(values)
        self._fail_missing(missing)
        out = values.astype(np.object_)
        out[missing] = None
        return out

    def _category_indices(
        self, column: NDArray[Any], categories: tuple[str, ...]
    ) -> NDArray[np.float64]:
        if column.dtype.kind == "O":
            index: dict[Any, float] = {name: float(i) for i, name in enumerate(categories)}
            missing = _absent(column)
        else:
            index = {
                number: float(i)
                for i, name in enumerate(categories)
                if (number := _number(name)) is not None
            }
            missing = np.isnan(column)
        found = [index.get(value, -1.0) for value in column.tolist()]
        values = np.array(found, np.float64)
        values[missing] = np.nan
        self._treat_invalid(
            values, values == -1.0, column, "is not a category that the model knows"
        )
        return values

    def _within_intervals(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        self._invalid(np.isinf(column), column, "is infinite")
        intervals = self._feature.intervals
        if not intervals:
            return column
        inside = np.isnan(column)
        for interval in intervals:
            inside |= _inside(interval, column)
        values = column.copy()
        self._treat_invalid(values, ~inside, column, "is outside what the model declares valid")
        return values

    def _treat_invalid(
        self, values: NDArray[np.float64], bad: NDArray[np.bool_], column: NDArray[Any], fault: str
    ) -> None:
        if self._feature.on_invalid is OnInvalid.REJECT:
            self._invalid(bad, column, fault)
        elif self._feature.on_invalid is OnInvalid.AS_MISSING:
            values[bad] = np.nan

    def _representable(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """Return `values` in the engine's type; what it cannot hold is invalid."""
        kind = self._dtype.kind
        if kind == "f":
            with np.errstate(over="ignore"):
                cast = values.astype(self._dtype)
            self._invalid(np.isinf(cast), values, f"is too large for a {self._dtype}")
            return cast
        missing = np.isnan(values)
        if self._feature.on_missing is OnMissing.ACCEPT:  # integers have no NaN
            self._fail(missing, FailureCode.MISSING_FEATURE, lambda _: "is missing")
        low, high = (0, 1) if kind == "b" else _limits(self._dtype)
        fits = (values >= low) & (values <= high) & (values == np.trunc(values))
        self._invalid(~fits & ~missing, values, f"is not a {self._dtype}, which the model takes")
        return np.where(fits, values, 0).astype(self._dtype)

    def _fail_missing(self, missing: NDArray[np.bool_]) -> None:
        if self._feature.on_missing is OnMissing.REJECT:
            self._fail(missing, FailureCode.MISSING_FEATURE, lambda _: "is missing")

    def _invalid(self, bad: NDArray[np.bool_], column: NDArray[Any], fault: str) -> None:
        self._fail(bad, FailureCode.INVALID_FEATURE, lambda row: f"= {_shown(column[row])} {fault}")

    def _fail(
        self, bad: NDArray[np.bool_], code: FailureCode, message: Callable[[int], str]
    ) -> None:
        if not bad.any():
            return
        for row in np.flatnonzero(bad).tolist():
            if row not in self._failures:
                self._failures[row] = Failed(code, f"{self._feature.name} {message(row)}")


def _absent(column: NDArray[Any]) -> NDArray[np.bool_]:
    return np.array([value is None for value in column.tolist()], np.bool_)


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    info = np.iinfo(dtype)
    # A double cannot hold 2**63 - 1: stay below what rounds up out of range.
    return float(info.min), float(np.nextafter(float(info.max), 0)) if info.bits == 64 else float(
        info.max
    )


def _inside(interval: Interval, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    inside = np.ones(len(values), np.bool_)
    if interval.low is not None:
        inside &= values >= interval.low if interval.low_closed else values > interval.low
    if interval.high is not None:
        inside &= values <= interval.high if interval.high_closed else values < interval.high
    return inside


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _shown(value: object) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 60 else text[:57] + "..."
