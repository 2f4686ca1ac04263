"""Tensors in TensorFlow's messages: their elements as bytes, or in the field of their type.

Source: tensor.proto and tensor.cc of tensorflow/tensorflow.
"""

from collections.abc import Mapping
from itertools import accumulate, pairwise
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.errors import InvalidRequest
from repertory.http.oip_binary import binary_values
from repertory.http.tensors import BYTES, MOST_DIMENSIONS, Tensor, dtype_of, shaped
from repertory.http.tfs_models import DTYPES
from repertory.protos.private.tensorflow_pb2 import DataType, TensorProto, TensorShapeProto

_BFLOAT16 = "DT_BFLOAT16"
# How elements travel whose bits are what is sent.
_BITS: Mapping[str, str] = MappingProxyType({"DT_HALF": "UINT16", _BFLOAT16: "UINT16"})
_DATATYPES: Mapping[str, str] = MappingProxyType({dtype: name for name, dtype in DTYPES.items()})
_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "DT_BOOL": "bool_val",
        **dict.fromkeys(("DT_INT8", "DT_INT16", "DT_INT32", "DT_UINT8", "DT_UINT16"), "int_val"),
        "DT_INT64": "int64_val",
        "DT_UINT32": "uint32_val",
        "DT_UINT64": "uint64_val",
        **dict.fromkeys(_BITS, "half_val"),
        "DT_FLOAT": "float_val",
        "DT_DOUBLE": "double_val",
        "DT_STRING": "string_val",
    }
)
_CONTENT = "tensor_content"
# Of a length, seven bits a byte; in all but the last one there is the bit for more.
_VARINT_BYTES, _MORE = 5, 0x80
# A few bytes could stand for more elements than there is memory for.
MOST_REPEATED = 2**18


def read_inputs(inputs: Mapping[str, TensorProto]) -> tuple[Tensor, ...]:
    """Return the inputs of a request. Raises InvalidRequest, naming the one that is at fault."""
    read, room = [], MOST_REPEATED
    for name, given in inputs.items():
        shape, (dtype, field) = _shape(name, given.tensor_shape), _dtype(name, given.dtype)
        _refuse_other_elements(name, given, _CONTENT if given.tensor_content else field)
        missing = 0 if given.tensor_content else prod(shape) - len(getattr(given, field))
        if (room := room - max(0, missing)) < 0:
            raise InvalidRequest(
                f"input {name!r} has {len(getattr(given, field))} elements for the shape"
                f" {list(shape)}: the last one may stand for {MOST_REPEATED} at most"
            )
        read.append(_tensor(name, dtype, _values(name, given, dtype, shape)))
    return tuple(read)


def tensor_proto(tensor: Tensor) -> TensorProto:
    """Return an output with its elements in the field of their type, as TensorFlow Serving has them."""
    dtype = DTYPES[tensor.datatype]
    sizes = [TensorShapeProto.Dim(size=size) for size in tensor.values.shape]
    proto = TensorProto(dtype=dtype, tensor_shape=TensorShapeProto(dim=sizes))
    getattr(proto, _FIELDS[dtype]).extend(tensor.values.ravel().tolist())
    return proto


def _shape(name: str, given: TensorShapeProto) -> tuple[int, ...]:
    if given.unknown_rank:
        raise InvalidRequest(f"input {name!r} has a shape of unknown rank")
    if len(given.dim) > MOST_DIMENSIONS:
        raise InvalidRequest(f"input {name!r} has more than {MOST_DIMENSIONS} dimensions")
    shape = tuple(each.size for each in given.dim)
    if any(size < 0 for size in shape):
        raise InvalidRequest(f"input {name!r} has the shape {list(shape)}: a size is below 0")
    return shape


def _tensor(name: str, dtype: str, values: NDArray[Any]) -> Tensor:
    """Return a tensor of what was sent, which are the bits of some types."""
    if dtype == _BFLOAT16:  # the upper half of a float
        return Tensor(name, "FP32", (values.astype(np.uint32) << 16).view(np.float32))
    return Tensor(name, _DATATYPES[dtype], values.view(np.float16) if dtype in _BITS else values)


def _values(name: str, given: TensorProto, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return what was sent, in its shape."""
    datatype = _BITS.get(dtype) or _DATATYPES[dtype]
    content = given.tensor_content
    if content and datatype == BYTES:
        return shaped(name, _strings(name, content, prod(shape)), shape)
    if content:
        return binary_values(name, datatype, shape, memoryview(content))
    elements = list(getattr(given, _FIELDS[dtype]))
    return shaped(name, _typed(name, elements, datatype, prod(shape)), shape)


def _dtype(name: str, number: int) -> tuple[str, str]:
    """Return the name of a type, and the field for its elements. Raises InvalidRequest."""
    dtype = DataType.Name(number) if number in DataType.values() else str(number)
    if dtype not in _FIELDS:
        known = ", ".join(_FIELDS)
        raise InvalidRequest(f"input {name!r} is of dtype {dtype}; there are: {known}")
    return dtype, _FIELDS[dtype]


def _refuse_other_elements(name: str, given: TensorProto, allowed: str) -> None:
    for field, _ in given.ListFields():
        if field.name != allowed and (field.name.endswith("_val") or field.name == _CONTENT):
            raise InvalidRequest(
                f"input {name!r}, {DataType.Name(given.dtype)}, has {field.name}; its elements"
                f" are in {allowed}"
            )


def _typed(name: str, values: list[Any], datatype: str, count: int) -> NDArray[Any]:
    """Return elements; the last one is all that are missing, or zero if there is none."""
    zero = b"" if datatype == BYTES else 0
    values.extend([values[-1] if values else zero] * (count - len(values)))
    if datatype == BYTES:
        return _objects(values)
    try:
        return np.array(values, dtype=dtype_of(datatype, name))
    except OverflowError as error:
        raise InvalidRequest(f"input {name!r}: {error}") from None


def _strings(name: str, content: bytes, count: int) -> NDArray[Any]:
    """Return the strings in a `tensor_content`: the lengths of all, and then their bytes."""
    lengths, start = list[int](), 0
    while len(lengths) < count:
        length, start = _varint(name, content, start)
        lengths.append(length)
    if start + sum(lengths) != len(content):
        raise InvalidRequest(
            f"input {name!r} has strings of {sum(lengths)} bytes; its {_CONTENT} has"
            f" {len(content) - start} after their lengths"
        )
    ends = accumulate(lengths, initial=start)
    return _objects([content[begin:end] for begin, end in pairwise(ends)])


def _varint(name: str, content: bytes, start: int) -> tuple[int, int]:
    """Return a number, seven bits a byte, and where the next one begins."""
    number = 0
    for place, byte in enumerate(content[start : start + _VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * place)
        if byte < _MORE:
            return number, start + place + 1
    raise InvalidRequest(f"input {name!r}: its {_CONTENT} ends within the length of a string")


def _objects(values: list[bytes]) -> NDArray[Any]:
    elements = np.empty(len(values), dtype=object)
    elements[:] = values
    return elements
