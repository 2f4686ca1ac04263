"""Tensors in TensorFlow's messages, in all the forms that its clients send them in."""

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.errors import InvalidRequest
from repertory.http.grpc_tfs_tensors import MOST_REPEATED, read_inputs, tensor_proto
from repertory.http.tensors import Tensor
from repertory.protos.private.tensorflow_pb2 import TensorProto, TensorShapeProto


def shape_of(*sizes: int) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])


def read(*sizes: int, dtype: str = "DT_FLOAT", **elements: Any) -> Tensor:
    proto = TensorProto(dtype=dtype, tensor_shape=shape_of(*sizes), **elements)
    (tensor,) = read_inputs({"x": proto})
    return tensor


@pytest.mark.parametrize(
    ("dtype", "field", "datatype"),
    [
        ("DT_BOOL", "bool_val", "BOOL"),
        ("DT_INT8", "int_val", "INT8"),
        ("DT_INT16", "int_val", "INT16"),
        ("DT_INT32", "int_val", "INT32"),
        ("DT_INT64", "int64_val", "INT64"),
        ("DT_UINT8", "int_val", "UINT8"),
        ("DT_UINT16", "int_val", "UINT16"),
        ("DT_UINT32", "uint32_val", "UINT32"),
        ("DT_UINT64", "uint64_val", "UINT64"),
        ("DT_FLOAT", "float_val", "FP32"),
        ("DT_DOUBLE", "double_val", "FP64"),
    ],
)
def test_every_type_has_its_field_and_travels_as_bytes(
    dtype: str, field: str, datatype: str
) -> None:
    typed = read(2, 2, dtype=dtype, **{field: [0, 1, 1, 0]})
    raw = read(2, 2, dtype=dtype, tensor_content=typed.values.tobytes())
    assert (typed.datatype, raw.datatype) == (datatype, datatype)
    assert typed.values.tolist() == raw.values.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(("dtype", "bits"), [("DT_HALF", 0x4200), ("DT_BFLOAT16", 0x4040)])
def test_sixteen_bits_are_read_as_what_they_stand_for(dtype: str, bits: int) -> None:
    typed = read(1, 2, dtype=dtype, half_val=[bits])
    raw = read(1, 2, dtype=dtype, tensor_content=bits.to_bytes(2, "little") * 2)
    assert typed.values.tolist() == raw.values.tolist() == [[3, 3]]


def test_the_last_value_stands_for_all_that_follow() -> None:
    assert read(2, 2, float_val=[1, 5]).values.tolist() == [[1, 5], [5, 5]]
    assert read(2, dtype="DT_STRING", string_val=[b"a"]).values.tolist() == [b"a", b"a"]


def test_without_any_value_all_are_zero() -> None:
    assert read(2, 2).values.tolist() == [[0, 0], [0, 0]]
    assert read(1, dtype="DT_STRING").values.tolist() == [b""]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_strings_travel_as_their_lengths_and_their_bytes(strings: list[bytes]) -> None:
    lengths = [bytes([len(each)]) if len(each) < 128 else varint(len(each)) for each in strings]
    content = b"".join([*lengths, *strings])
    tensor = read(len(strings), dtype="DT_STRING", tensor_content=content)
    assert tensor.values.tolist() == strings


def varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80, number >> 7])


@pytest.mark.parametrize(
    ("sizes", "given_", "why"),
    [
        ((-1, 2), {}, "a size is below 0"),
        ((1,) * 65, {}, "more than 64 dimensions"),
        ((2**62,) * 60, {"float_val": [1]}, "has 1 elements for the shape"),
        ((MOST_REPEATED + 1,), {}, f"the last one may stand for {MOST_REPEATED}"),
        ((2,), {"float_val": [1, 2, 3]}, "has 3 elements, its shape [2] needs 2"),
        ((2,), {"tensor_content": b"1234"}, "has 1 elements, its shape [2] needs 2"),
        ((2,), {"tensor_content": b"12345"}, "no whole number of FP32"),
        ((2,), {"tensor_content": b"1234", "float_val": [1]}, "has float_val; its elements"),
        ((2,), {"double_val": [1]}, "DT_FLOAT, has double_val; its elements are in float_val"),
        ((1,), {"dtype": "DT_INT8", "int_val": [300]}, "out of bounds"),
        ((1,), {"dtype": "DT_HALF", "half_val": [-1]}, "out of bounds"),
        ((1,), {"dtype": "DT_COMPLEX64"}, "is of dtype DT_COMPLEX64; there are: DT_BOOL"),
        ((1,), {"dtype": "DT_INVALID"}, "is of dtype DT_INVALID"),
        ((1,), {"dtype": 4242}, "is of dtype 4242"),
        ((2,), {"dtype": "DT_STRING", "tensor_content": b"\x01"}, "ends within the length"),
        ((1,), {"dtype": "DT_STRING", "tensor_content": b"\xff" * 9}, "ends within the length"),
        ((1,), {"dtype": "DT_STRING", "tensor_content": b"\x02a"}, "strings of 2 bytes"),
    ],
)
def test_what_is_no_tensor_is_refused(
    sizes: tuple[int, ...], given_: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(*sizes, **given_)
    assert "input 'x'" in str(raised.value)
    assert why in str(raised.value)


def test_a_shape_of_unknown_rank_is_refused() -> None:
    proto = TensorProto(dtype="DT_FLOAT", tensor_shape=TensorShapeProto(unknown_rank=True))
    with pytest.raises(InvalidRequest, match="unknown rank"):
        read_inputs({"x": proto})


def test_many_inputs_do_not_grow_beyond_what_one_may() -> None:
    proto = TensorProto(dtype="DT_FLOAT", tensor_shape=shape_of(MOST_REPEATED // 2))
    assert len(read_inputs(dict.fromkeys("ab", proto))) == 2
    with pytest.raises(InvalidRequest, match=r"input '.'"):
        read_inputs(dict.fromkeys("abc", proto))


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("x", "FP64", np.array([[0.25, 0.75]])),
        Tensor("x", "BYTES", np.array([b"red", b"white"], dtype=object)),
    ],
)
def test_what_is_written_is_read_again(tensor: Tensor) -> None:
    (found,) = read_inputs({"x": tensor_proto(tensor)})
    assert (found.datatype, found.values.tolist()) == (tensor.datatype, tensor.values.tolist())


_FIELDS = [field.name for field in TensorProto.DESCRIPTOR.fields]
_NUMBERS = st.lists(st.integers(0, 2**31 - 1), max_size=3)


@given(
    dtype=st.integers(0, 200),
    sizes=st.lists(st.integers(-2, 2**63 - 1) | st.integers(0, 3), max_size=4),
    field=st.sampled_from([name for name in _FIELDS if name.endswith("_val")]),
    numbers=_NUMBERS,
    content=st.binary(max_size=12) | st.just(b""),
)
def test_every_tensor_is_read_or_refused(
    dtype: Any, sizes: list[int], field: str, numbers: list[int], content: bytes
) -> None:
    elements: list[Any] = [str(each).encode() for each in numbers]
    elements = elements if field == "string_val" else [each % 2 for each in numbers]
    about: dict[str, Any] = {field: elements, "tensor_content": content}
    proto = TensorProto(dtype=dtype, tensor_shape=shape_of(*sizes), **about)
    with contextlib.suppress(InvalidRequest):
        (tensor,) = read_inputs({"x": proto})
        assert tensor.values.shape == tuple(sizes)
