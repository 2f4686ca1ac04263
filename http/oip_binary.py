"""The elements of tensors as bytes: the binary tensor extension of the Open Inference Protocol.

Elements are little-endian and row by row. BOOL is a byte; an element of BYTES is its length, four
bytes, and the bytes themselves. Source: Triton's protocol/extension_binary_data.md.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.errors import InvalidRequest
from repertory.http.signature import Signature
from repertory.http.tensors import BYTES, Tensor, dtype_of, shaped

# The bytes of JSON that a body begins with; what follows are the elements of tensors.
LENGTH_HEADER = "Inference-Header-Content-Length"
# More digits than any length has, and few enough for int().
_DIGITS = 18
_LENGTH = struct.Struct("<I")
# No field of a message is called that.
_RAW = "(raw)"


def length_of_json(text: str | None) -> int | None:
    """Return what LENGTH_HEADER says; None without it. Raises InvalidRequest."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise InvalidRequest(
            f"{LENGTH_HEADER} must be the number of bytes of JSON in the body, not {text!r:.60}"
        )
    return int(text)


def binary_values(
    name: str, datatype: str, shape: tuple[int, ...], data: memoryview
) -> NDArray[Any]:
    """Return the elements of an input in its shape. Raises InvalidRequest, naming the input."""
    dtype = dtype_of(datatype, name)
    if datatype == BYTES:
        return shaped(name, _elements(name, data), shape)
    if len(data) % dtype.itemsize:
        raise InvalidRequest(
            f"input {name!r} has {len(data)} bytes: no whole number of {datatype},"
            f" which have {dtype.itemsize} each"
        )
    if datatype == "BOOL":
        return shaped(name, np.frombuffer(data, np.uint8) != 0, shape)
    return shaped(name, np.frombuffer(data, dtype), shape)


def binary_elements(tensor: Tensor) -> bytes:
    """Return the elements of an output as they travel."""
    if tensor.datatype != BYTES:
        dtype = dtype_of(tensor.datatype, tensor.name)
        return np.ascontiguousarray(tensor.values, dtype).tobytes()
    elements = tensor.values.reshape(-1).tolist()
    return b"".join(part for each in elements for part in (_LENGTH.pack(len(each)), each))


def raw_tensor(signature: Signature, body: bytes) -> Tensor:
    """Return the one tensor that is a whole body, without a word of JSON.

    It is the only input; or, of one datatype, all of them in order, a row for each record. Bytes
    are one element, without its length. Raises InvalidRequest.
    """
    inputs = signature.inputs
    datatypes = {each.datatype for each in inputs}
    if len(inputs) > 1 and (len(datatypes) > 1 or BYTES in datatypes):
        raise InvalidRequest(
            f"a raw request, of {LENGTH_HEADER} 0, holds one tensor, of one datatype of numbers;"
            f" the inputs are {', '.join(f'{each.name} ({each.datatype})' for each in inputs)}"
        )
    name = inputs[0].name if len(inputs) == 1 else _RAW
    (datatype,) = datatypes
    if (width := signature.width) is None:
        elements = np.empty(1, dtype=object)
        elements[0] = body
        return Tensor(name, BYTES, elements)
    size = width * dtype_of(datatype, name).itemsize
    if not body or len(body) % size:
        raise InvalidRequest(
            f"the body has {len(body)} bytes: no whole number of records, which have {size} each"
        )
    shape = (len(body) // size, width)
    return Tensor(name, datatype, binary_values(name, datatype, shape, memoryview(body)))


def _elements(name: str, data: memoryview) -> NDArray[Any]:
    found: list[bytes] = []
    start = 0
    while start < len(data):
        begin = start + _LENGTH.size
        if begin > len(data):
            raise InvalidRequest(f"input {name!r} ends within the length of element {len(found)}")
        start = begin + _LENGTH.unpack_from(data, start)[0]
        if start > len(data):
            raise InvalidRequest(
                f"element {len(found)} of input {name!r} is said to have {start - begin} bytes;"
                f" there are {len(data) - begin}"
            )
        found.append(bytes(data[begin:start]))
    elements = np.empty(len(found), dtype=object)
    elements[:] = found
    return elements
