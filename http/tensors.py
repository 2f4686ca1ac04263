"""Tensors, as the standard inference protocols speak of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.errors import InvalidRequest

BYTES = "BYTES"
# As many as a NumPy array may have. The product of more could take minutes.
MOST_DIMENSIONS = 64
# Datatypes of the Open Inference Protocol; the elements of BYTES are Python bytes.
DATATYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype(np.uint8),
        "UINT16": np.dtype("<u2"),
        "UINT32": np.dtype("<u4"),
        "UINT64": np.dtype("<u8"),
        "INT8": np.dtype(np.int8),
        "INT16": np.dtype("<i2"),
        "INT32": np.dtype("<i4"),
        "INT64": np.dtype("<i8"),
        "FP16": np.dtype("<f2"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
        BYTES: np.dtype(object),
    }
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """Elements of one datatype; `values` has the tensor's shape."""

    name: str
    datatype: str
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a tensor is to be; -1 in the shape stands for any number, of records."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def dtype_of(datatype: str, name: str) -> np.dtype[Any]:
    """Return NumPy's type of a datatype. Raises InvalidRequest, naming the tensor."""
    try:
        return DATATYPES[datatype]
    except KeyError:
        known = ", ".join(DATATYPES)
        raise InvalidRequest(
            f"input {name!r} is of datatype {datatype!r}; there are: {known}"
        ) from None


def shaped(name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return flat values in a shape. Raises InvalidRequest when they do not fill it."""
    if len(shape) > MOST_DIMENSIONS:
        raise InvalidRequest(f"input {name!r} has more than {MOST_DIMENSIONS} dimensions")
    if any(size < 0 for size in shape):
        raise InvalidRequest(f"input {name!r} has the shape {list(shape)}: a size is below 0")
    if values.size != prod(shape):
        raise InvalidRequest(
            f"input {name!r} has {values.size} elements, its shape {list(shape)} needs {prod(shape)}"
        )
    try:
        return values.reshape(shape)
    except ValueError as error:  # of sizes that are too large for any array, beside one that is 0
        raise InvalidRequest(f"input {name!r} has the shape {list(shape)}: {error}") from None


def texts(strings: list[str]) -> NDArray[Any]:
    """Return texts as the elements of a BYTES tensor, [text]."""
    elements = np.empty(len(strings), dtype=object)
    elements[:] = [each.encode() for each in strings]
    return elements
