"""The elements of tensors as JSON, of the Open Inference Protocol."""

from collections.abc import Sequence
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.errors import InvalidRequest
from repertory.http.tensors import BYTES, Tensor, dtype_of, shaped, texts

# By the kind of NumPy's type: what elements are in JSON. A missing number is null, as NaN is.
_ELEMENTS: dict[str, tuple[frozenset[type], str]] = {
    "b": (frozenset({bool}), "true or false"),
    "i": (frozenset({int}), "a whole number in its range"),
    "u": (frozenset({int}), "a whole number in its range"),
    "f": (frozenset({float, int, NoneType}), "a number, or null"),
    "O": (frozenset({str}), "a string"),
}


def json_values(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> NDArray[Any]:
    """Return the elements of an input in its shape; `data` is flat, or nested as the shape says.

    Raises InvalidRequest, naming the input and the first element that is at fault.
    """
    dtype = dtype_of(datatype, name)
    if datatype == "FP16":
        raise InvalidRequest(f"input {name!r} is of datatype FP16: send it binary, or as FP32")
    if not isinstance(data, list):
        raise InvalidRequest(f"data of input {name!r} must be a list, not {data!r:.60}")
    elements, nest = _flat(name, data, len(shape))
    if len(nest) > 1 and nest != shape:
        raise InvalidRequest(
            f"data of input {name!r} is nested as {list(nest)}, its shape is {list(shape)}"
        )
    return shaped(name, _converted(name, datatype, dtype, elements), shape)


def json_elements(tensor: Tensor) -> Any:
    """Return the elements of an output, flat and ready for orjson, which knows NumPy."""
    flat = tensor.values.reshape(-1)
    if tensor.datatype == BYTES:
        return [each.decode() for each in flat.tolist()]
    return np.ascontiguousarray(flat)


def _flat(name: str, data: list[Any], depth: int) -> tuple[list[Any], tuple[int, ...]]:
    """Return the elements of nested lists, and the shape of the nest."""
    nest = [len(data)]
    while data and isinstance(data[0], list):
        if set(map(type, data)) != {list} or len(set(map(len, data))) > 1:
            raise InvalidRequest(f"data of input {name!r} is ragged: its lists differ in length")
        if len(nest) >= depth:
            raise InvalidRequest(
                f"data of input {name!r} is nested deeper than its {depth} dimensions"
            )
        nest.append(len(data[0]))
        data = list(chain.from_iterable(data))
    return data, tuple(nest)


def _converted(
    name: str, datatype: str, dtype: np.dtype[Any], elements: Sequence[Any]
) -> NDArray[Any]:
    allowed, due = _ELEMENTS[dtype.kind]
    if not set(map(type, elements)) <= allowed:
        wrong = next(each for each in elements if type(each) not in allowed)
        raise InvalidRequest(f"data of input {name!r}, {datatype}, holds {wrong!r:.60}, not {due}")
    if datatype == BYTES:
        return texts(list(elements))
    try:
        with np.errstate(over="ignore"):
            values = np.array(elements, dtype=dtype)
    except OverflowError as error:
        raise InvalidRequest(f"data of input {name!r}, {datatype}: {error}") from None
    if dtype.kind == "f" and np.isinf(values).any():
        # JSON has no infinity: it is a number that was too large.
        raise InvalidRequest(f"data of input {name!r} holds a number beyond what {datatype} can")
    return values
