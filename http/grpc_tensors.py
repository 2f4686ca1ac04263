"""Tensors in messages of the Open Inference Protocol: raw, or typed, as the request was."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repertory.errors import InvalidRequest
from repertory.http.oip_binary import binary_elements, binary_values
from repertory.http.tensors import BYTES, Tensor, dtype_of, shaped
from repertory.protos.private.oip_pb2 import ModelInferRequest, ModelInferResponse

# Where typed elements of a datatype are; FP16 has no such place.
_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "bool_contents",
        "INT8": "int_contents",
        "INT16": "int_contents",
        "INT32": "int_contents",
        "INT64": "int64_contents",
        "UINT8": "uint_contents",
        "UINT16": "uint_contents",
        "UINT32": "uint_contents",
        "UINT64": "uint64_contents",
        "FP32": "fp32_contents",
        "FP64": "fp64_contents",
        BYTES: "bytes_contents",
    }
)


def read_inputs(request: ModelInferRequest) -> list[Tensor]:
    """Return the inputs of a request. Raises InvalidRequest, naming the input that is at fault."""
    if request.raw_input_contents:
        return _raw(request)
    return [_typed(each) for each in request.inputs]


def write_outputs(reply: ModelInferResponse, tensors: Sequence[Tensor], *, raw: bool) -> None:
    """Put tensors in a reply."""
    for tensor in tensors:
        output = reply.outputs.add(
            name=tensor.name, datatype=tensor.datatype, shape=tensor.values.shape
        )
        if raw:
            reply.raw_output_contents.append(binary_elements(tensor))
        else:
            contents = getattr(output.contents, _FIELDS[tensor.datatype])
            contents.extend(tensor.values.ravel().tolist())


def _raw(request: ModelInferRequest) -> list[Tensor]:
    inputs, contents = request.inputs, request.raw_input_contents
    if len(inputs) != len(contents):
        raise InvalidRequest(
            f"raw_input_contents has {len(contents)} tensors, inputs has {len(inputs)}:"
            " send all of them raw, or none"
        )
    for each in inputs:
        if each.contents.ListFields():
            raise InvalidRequest(
                f"input {each.name!r} has contents, and there are raw_input_contents:"
                " send all inputs raw, or none"
            )
    return [
        Tensor(
            each.name,
            each.datatype,
            binary_values(each.name, each.datatype, tuple(each.shape), memoryview(content)),
        )
        for each, content in zip(inputs, contents, strict=True)
    ]


def _typed(given: ModelInferRequest.InferInputTensor) -> Tensor:
    dtype = dtype_of(given.datatype, given.name)
    if (field := _FIELDS.get(given.datatype)) is None:
        raise InvalidRequest(
            f"input {given.name!r}: {given.datatype} has no typed contents; use raw_input_contents"
        )
    for other, _ in given.contents.ListFields():
        if other.name != field:
            raise InvalidRequest(
                f"input {given.name!r} has {other.name}; {given.datatype} belongs in {field}"
            )
    values = list(getattr(given.contents, field))
    if given.datatype == BYTES:
        objects = np.empty(len(values), dtype=object)
        objects[:] = values
        return _tensor(given, objects)
    try:
        return _tensor(given, np.array(values, dtype=dtype))
    except OverflowError as error:
        raise InvalidRequest(f"input {given.name!r} ({given.datatype}): {error}") from None


def _tensor(given: ModelInferRequest.InferInputTensor, values: NDArray[Any]) -> Tensor:
    return Tensor(given.name, given.datatype, shaped(given.name, values, tuple(given.shape)))
