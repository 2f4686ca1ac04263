"""Tensors of the Open Inference Protocol as JSON and as bytes."""

import contextlib
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from repertory.errors import InvalidRequest
from repertory.http.oip_binary import binary_elements, binary_values, length_of_json
from repertory.http.oip_json import json_elements, json_values
from repertory.http.oip_request import InferRequest, read_request
from repertory.http.tensors import BYTES, DATATYPES, Tensor

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn, *, of_json: bool) -> Tensor:
    """Draw a tensor of any datatype; those that JSON can hold have no infinities."""
    datatype = draw(st.sampled_from([each for each in DATATYPES if each != "FP16" or not of_json]))
    shape, dtype = draw(SHAPES), DATATYPES[datatype]
    if datatype == BYTES:
        element: Any = st.text().map(str.encode) if of_json else st.binary()
    elif dtype.kind == "f":
        element = hnp.from_dtype(dtype, allow_infinity=not of_json)
    else:
        element = None
    return Tensor("x", datatype, draw(hnp.arrays(dtype, shape, elements=element)))


def nested(tensor: Tensor) -> Any:
    """Return a tensor's elements as JSON, nested as its shape."""
    flat = orjson.loads(orjson.dumps(json_elements(tensor), option=orjson.OPT_SERIALIZE_NUMPY))
    values = np.empty(len(flat), dtype=object)
    values[:] = flat
    return values.reshape(tensor.values.shape).tolist()


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    nan_is_nan = one.dtype.kind == "f"
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=nan_is_nan)


@given(tensors(of_json=True))
def test_flat_json_is_read_as_it_was_written(tensor: Tensor) -> None:
    text = orjson.dumps(json_elements(tensor), option=orjson.OPT_SERIALIZE_NUMPY)
    shape = tensor.values.shape
    assert same(json_values("x", tensor.datatype, shape, orjson.loads(text)), tensor.values)


@given(tensors(of_json=True).filter(lambda each: each.values.ndim > 0 and each.values.size))
def test_nested_json_is_read_as_it_was_written(tensor: Tensor) -> None:
    shape = tensor.values.shape
    assert same(json_values("x", tensor.datatype, shape, nested(tensor)), tensor.values)


@given(tensors(of_json=False))
def test_bytes_are_read_as_they_were_written(tensor: Tensor) -> None:
    data = memoryview(binary_elements(tensor))
    assert same(binary_values("x", tensor.datatype, tensor.values.shape, data), tensor.values)


@given(st.lists(tensors(of_json=False), min_size=1), st.text())
def test_a_binary_request_is_read_as_it_was_written(inputs: list[Tensor], text: str) -> None:
    parts = [binary_elements(each) for each in inputs]
    about = [
        {
            "name": each.name,
            "datatype": each.datatype,
            "shape": each.values.shape,
            "parameters": {"binary_data_size": len(part)},
        }
        for each, part in zip(inputs, parts, strict=True)
    ]
    head = orjson.dumps({"id": text, "inputs": about})
    found = read_request(b"".join((head, *parts)), len(head))
    assert found.id == text
    pairs = zip(found.tensors, inputs, strict=True)
    assert all(same(read.values, each.values) for read, each in pairs)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
SOMETHING = st.sampled_from(["x", 1, None, "binary", *DATATYPES])
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "name": SOMETHING,
        "datatype": SOMETHING,
        "shape": st.lists(st.integers(-1, 2**63), max_size=3) | JSON_VALUES,
        "data": JSON_VALUES,
        "parameters": JSON_VALUES | st.fixed_dictionaries({"binary_data_size": st.integers(-1, 9)}),
    },
)
DOCUMENTS = JSON_VALUES | st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS | JSON_VALUES) | JSON_VALUES},
    optional={"id": JSON_VALUES, "parameters": JSON_VALUES, "outputs": JSON_VALUES},
)


def understood(body: bytes, json_bytes: int | None) -> InferRequest | None:
    """Return what is understood, or nothing; any failure but a wrong request is a defect."""
    with contextlib.suppress(InvalidRequest):
        return read_request(body, json_bytes)
    return None


@given(DOCUMENTS, st.binary(max_size=24), st.integers(-2, 2) | st.none())
def test_whatever_comes_is_understood_or_refused(
    document: Any, tail: bytes, by: int | None
) -> None:
    head = orjson.dumps(document)
    found = understood(head + tail, None if by is None else max(0, len(head) + by))
    assert found is None or all(isinstance(each, Tensor) for each in found.tensors)


@given(st.binary(), st.integers(0, 40) | st.none())
def test_garbage_is_no_request(body: bytes, json_bytes: int | None) -> None:
    assert understood(body, json_bytes) is None


def one_input(**changes: Any) -> bytes:
    about = {"name": "x", "datatype": "INT8", "shape": [2], "data": [1, 2]} | changes
    kept = {key: value for key, value in about.items() if value is not ...}
    return orjson.dumps({"inputs": [kept]})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"data": [1, 128]}, "128 out of bounds for int8"),
        ({"data": [1, -129]}, "-129 out of bounds"),
        ({"datatype": "UINT64", "data": [1, -1]}, "-1 out of bounds for uint64"),
        ({"data": [1, 2.5]}, "INT8, holds 2.5, not a whole number in its range"),
        ({"data": [1, True]}, "holds True, not a whole number"),
        ({"data": [1, "2"]}, "holds '2', not a whole number"),
        ({"data": [1, None]}, "holds None, not a whole number"),
        ({"datatype": "BOOL"}, "holds 1, not true or false"),
        ({"datatype": "FP32", "data": [1e39, 0]}, "beyond what FP32 can"),
        ({"datatype": "FP16"}, "FP16: send it binary, or as FP32"),
        ({"datatype": "FP8"}, "of datatype 'FP8'; there are: BOOL"),
        ({"datatype": "BYTES"}, "holds 1, not a string"),
        ({"data": [[1], [2, 3]], "shape": [3, 1]}, "ragged"),
        ({"data": [[1], 2], "shape": [2, 1]}, "ragged"),
        ({"data": [1, [2]], "shape": [2]}, "not a whole number"),
        ({"data": [[1, 2]], "shape": [2, 1]}, "nested as [1, 2], its shape is [2, 1]"),
        ({"data": [[1], [2]]}, "deeper than its 1 dimensions"),
        ({"data": 1}, "must be a list, not 1"),
        ({"shape": [3]}, "2 elements, its shape [3] needs 3"),
        ({"shape": [-2]}, "a size is below 0"),
        ({"shape": [True]}, "a list of whole numbers"),
        ({"shape": ...}, "a list of whole numbers, not None"),
        ({"shape": [0, 2**62, 2**62], "data": []}, "too big"),
        ({"shape": [1] * 65}, "more than 64 dimensions"),
        ({"name": ...}, "name of inputs[0] is missing"),
        ({"name": 3}, "name of inputs[0] must be a string, not 3"),
        ({"datatype": ...}, "datatype of inputs[0] is missing"),
        ({"data": ...}, "neither data nor binary_data_size"),
        ({"parameters": []}, "parameters of input 'x' must be a JSON object"),
        ({"parameters": {"shared_memory_region": "r"}}, "shared_memory_region, which is not"),
        ({"parameters": {"binary_data_size": 2}}, "has data and binary_data_size"),
    ],
)
def test_a_wrong_input_is_refused_with_the_reason(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_request(one_input(**changes), None)
    assert why in str(refused.value)


def lying(size: Any, tail: bytes, *, datatype: str = "INT8", by: int | None = 0) -> None:
    sized = {"binary_data_size": size}
    head = one_input(data=..., datatype=datatype, parameters=sized)
    read_request(head + tail, None if by is None else len(head) + by)


@pytest.mark.parametrize(
    ("size", "tail", "why"),
    [
        (3, b"ab", "is 3, but 2 bytes are left"),
        (1, b"ab", "1 elements, its shape [2] needs 2"),
        (2, b"abc", "1 bytes of the body belong to no input"),
        (-1, b"ab", "must be a number of bytes, not -1"),
        (True, b"ab", "must be a number of bytes, not True"),
        (2**63, b"ab", "but 2 bytes are left"),
    ],
)
def test_a_lying_size_is_refused(size: Any, tail: bytes, why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        lying(size, tail)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("tail", "why"),
    [
        (b"\x01\0\0\0a\x01\0\0", "ends within the length of element 1"),
        (b"\x01\0\0\0a\xff\xff\xff\xff", "element 1 of input 'x' is said to have 4294967295"),
        (b"\x01\0\0\0a", "has 1 elements"),
    ],
)
def test_broken_elements_of_bytes_are_refused(tail: bytes, why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        lying(len(tail), tail, datatype="BYTES")
    assert why in str(refused.value)


def test_elements_that_are_cut_in_half_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="has 3 bytes: no whole number of INT16"):
        lying(3, b"abc", datatype="INT16")


def test_bytes_without_the_header_that_says_where_they_begin_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="no header Inference-Header-Content-Length"):
        lying(2, b"", by=None)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "0x1", "¹", "9" * 5000])
def test_a_length_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="must be the number of bytes"):
        length_of_json(text)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "inputs is missing"),
        ({"inputs": 3}, "inputs must be a list, not 3"),
        ({"inputs": [3]}, "inputs[0] must be a JSON object"),
        ({"inputs": [], "id": 3}, "id must be a string"),
        ({"inputs": [], "parameters": {"timeout": "1"}}, "a number of microseconds, not '1'"),
        ({"inputs": [], "parameters": {"binary_data_output": 1}}, "must be true or false, not 1"),
        ({"inputs": [], "outputs": [{}]}, "name of outputs[0] is missing"),
        ({"inputs": [], "outputs": [{"name": "a"}] * 2}, "asked for twice"),
        (
            {"inputs": [], "outputs": [{"name": "a", "parameters": {"classification": 2}}]},
            "classification, which is not served",
        ),
    ],
)
def test_a_wrong_request_is_refused_with_the_reason(document: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_request(orjson.dumps(document), None)
    assert why in str(refused.value)
