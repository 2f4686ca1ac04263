"""What a data type's records are as tensors: an input of each field, a row for each record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from numpy.typing import NDArray

from repertory.config import DataType, split_feature
from repertory.errors import InvalidRequest
from repertory.http.tensors import BYTES, Tensor, TensorSpec
from repertory.protos.loading import load_message

_DATATYPES: Mapping[int, str] = MappingProxyType(
    {
        FieldDescriptor.CPPTYPE_INT32: "INT32",
        FieldDescriptor.CPPTYPE_INT64: "INT64",
        FieldDescriptor.CPPTYPE_UINT32: "UINT32",
        FieldDescriptor.CPPTYPE_UINT64: "UINT64",
        FieldDescriptor.CPPTYPE_DOUBLE: "FP64",
        FieldDescriptor.CPPTYPE_FLOAT: "FP32",
        FieldDescriptor.CPPTYPE_BOOL: "BOOL",
        FieldDescriptor.CPPTYPE_ENUM: "INT32",
        FieldDescriptor.CPPTYPE_STRING: BYTES,
    }
)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    datatype: str
    width: int | None  # None: one value

    @property
    def spec(self) -> TensorSpec:
        shape = (-1,) if self.width is None else (-1, self.width)
        return TensorSpec(self.name, self.datatype, shape)


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs of a data type, in the order of its features in cluster.yaml."""

    fields: tuple[_Field, ...]

    @classmethod
    def of(cls, config: DataType) -> Self:
        """Return a data type's signature. Raises ConfigError when its message is not found."""
        fields = load_message(config.message).DESCRIPTOR.fields_by_name
        pairs = map(split_feature, config.features)
        return cls(
            tuple(_Field(name, _DATATYPES[fields[name].cpp_type], width) for name, width in pairs)
        )

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What each input is to be, of records without end."""
        return tuple(field.spec for field in self.fields)

    @property
    def width(self) -> int | None:
        """How many numbers a record is; None when some of its features are texts."""
        if any(field.datatype == BYTES for field in self.fields):
            return None
        return sum(field.width or 1 for field in self.fields)

    def records(self, tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
        """Return records, ready for JSON, from an input of each feature, or all in one matrix.

        An input is [record] or [record, 1], of a vector [record, width]. If all features are
        numbers, one input of any name, [record, width] or, of one record, [width], may hold all of
        them in order. What a record lacks is for its model to judge. Raises InvalidRequest.
        """
        if not tensors:
            raise InvalidRequest("inputs is empty: send one for each feature, or one for all")
        known = {field.name: field for field in self.fields}
        if len(tensors) == 1 and tensors[0].name not in known:
            columns = self._split(tensors[0])
        else:
            columns = {each.name: self._column(each, known.get(each.name)) for each in tensors}
            if len(columns) < len(tensors):
                raise InvalidRequest("two inputs have the same name")
        counts = {name: len(column) for name, column in columns.items()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise InvalidRequest(f"the inputs differ in how many records they have: {told}")
        names = tuple(columns)
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _column(self, tensor: Tensor, field: _Field | None) -> list[Any]:
        if field is None:
            names = ", ".join(each.name for each in self.fields)
            raise InvalidRequest(f"there is no input {tensor.name!r}; there are: {names}")
        values, shape = tensor.values, tensor.values.shape
        if field.width is None and len(shape) == 2 and shape[1] == 1:
            values = values[:, 0]
        elif shape[1:] != (() if field.width is None else (field.width,)) or not shape:
            wanted = list(field.spec.shape)
            raise InvalidRequest(
                f"input {tensor.name!r} has the shape {list(shape)}; it must be {wanted}"
            )
        if (tensor.datatype == BYTES) != (field.datatype == BYTES):
            raise InvalidRequest(
                f"input {tensor.name!r} is of datatype {tensor.datatype}; it must be {field.datatype}"
            )
        return _texts(tensor.name, values) if field.datatype == BYTES else values.tolist()

    def _split(self, tensor: Tensor) -> dict[str, list[Any]]:
        """Return the columns that a matrix of all features holds."""
        names = ", ".join(each.name for each in self.fields)
        if (width := self.width) is None:
            raise InvalidRequest(f"there is no input {tensor.name!r}; there are: {names}")
        if tensor.datatype == BYTES:
            raise InvalidRequest(f"input {tensor.name!r} is of datatype BYTES; it must be numbers")
        matrix = tensor.values
        if matrix.ndim == 1 and len(matrix) == width:
            matrix = matrix[np.newaxis]
        if matrix.ndim != 2 or matrix.shape[1] != width:
            raise InvalidRequest(
                f"input {tensor.name!r} is none of the features ({names}) and has the shape"
                f" {list(tensor.values.shape)}; with all features in order it is [-1, {width}]"
            )
        return {name: column.tolist() for name, column in self._cut(matrix)}

    def _cut(self, matrix: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
        start = 0
        for field in self.fields:
            if field.width is None:
                yield field.name, matrix[:, start]
            else:
                yield field.name, matrix[:, start : start + field.width]
            start += field.width or 1


def _texts(name: str, values: NDArray[Any]) -> list[str]:
    try:
        return [each.decode() for each in values.tolist()]
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"an element of input {name!r} is not UTF-8: {error}") from None
