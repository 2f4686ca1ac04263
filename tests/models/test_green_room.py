"""The green room admits good models, refuses bad ones, and survives hostile ones."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from repertory.config import Models
from repertory.errors import ModelRejected
from repertory.models.green_room import GreenRoom
from repertory.models.model import Engine, Schema, Task
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

GraphBuilder = Callable[..., bytes]

# So that a model that does not end is given up quickly; nothing else here takes half a second.
LIMITS = Models(max_mb=16, check_seconds=8)


@pytest.fixture(scope="module")
def room(wine: Schema) -> Iterator[GreenRoom]:
    green_room = GreenRoom(LIMITS, {"wine": wine})
    yield green_room
    green_room.close()


def descriptor(data: bytes, **fields: object) -> bytes:
    known = {"name": "m", "description": "d", "dataType": "wine", "modeltype": ModelDescriptor.ONNX}
    return ModelDescriptor(**{**known, **fields, "data": data}).SerializeToString()  # type: ignore[arg-type]


def refusal(room: GreenRoom, published: bytes | Path) -> str:
    with pytest.raises(ModelRejected) as caught:
        room.prepare(published)
    return caught.value.reason


def test_a_good_model_is_admitted_with_what_its_descriptor_says(
    room: GreenRoom, linear_onnx: bytes
) -> None:
    admitted = room.prepare(descriptor(linear_onnx))
    assert (admitted.data_type, admitted.name, admitted.description) == ("wine", "m", "d")
    assert admitted.model_type == ModelDescriptor.ONNX
    assert admitted.sha256 == hashlib.sha256(linear_onnx).hexdigest()
    assert admitted.prepared.engine is Engine.ONNX
    assert admitted.prepared.signature.task is Task.REGRESSION


def test_a_descriptor_may_come_as_a_file(
    room: GreenRoom, linear_onnx: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "descriptor"
    path.write_bytes(descriptor(linear_onnx))
    assert room.prepare(path).name == "m"
