"""Who may call TensorFlow Serving's services over gRPC."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from tests.http.security_world import World

from repertory.http.grpc_access import role_of
from repertory.protos.private import tensorflow_serving_pb2 as tfs

METHODS = {
    f"/{service.full_name}/{method.name}": method.name
    for service in tfs.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
DENIED = StatusCode.PERMISSION_DENIED


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A face that knows no token yet."""
    found = World(tmp_path)
    yield found
    await found.close()


async def status(address: str, name: str, model: str, header: Any = None) -> Any:
    """Return the status of a call about a model."""
    (path,) = (path for path, each in METHODS.items() if each == name)
    asked = tfs.PredictRequest(model_spec=tfs.ModelSpec(name=model)).SerializeToString()
    metadata = [(key.lower(), value) for key, value in (header or {}).items()]
    async with grpc.aio.insecure_channel(address) as channel:
        method: Any = channel.unary_unary(path)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await method(asked, metadata=metadata, timeout=20)
        return raised.value.code()


def test_every_call_needs_a_role() -> None:
    roles = {name: role_of(path) for path, name in METHODS.items()}
    scoring = ("Predict", "Classify", "Regress", "MultiInference")
    reading = ("GetModelMetadata", "GetModelStatus")
    expected = dict.fromkeys(scoring, "score") | dict.fromkeys(reading, "read")
    assert roles == expected | {"HandleReloadConfigRequest": "admin"}


async def test_a_call_needs_a_token_of_its_role(world: World) -> None:
    reader, address = world.token("read"), await world.grpc()
    assert await status(address, "Predict", "wine") is StatusCode.UNAUTHENTICATED
    assert await status(address, "Predict", "wine", reader) is DENIED
    assert await status(address, "HandleReloadConfigRequest", "wine", reader) is DENIED
    metadata = await status(address, "GetModelMetadata", "wine", reader)
    assert metadata is StatusCode.INVALID_ARGUMENT  # it is let in, and names no field


@pytest.mark.parametrize("name", ["Predict", "Classify", "Regress", "GetModelStatus"])
async def test_a_token_is_of_no_use_for_another_data_type(world: World, name: str) -> None:
    header, address = world.token("score", data_types=("wine",)), await world.grpc()
    assert await status(address, name, "cider", header) is DENIED
    if name != "GetModelStatus":
        assert await status(address, name, "wine", header) is StatusCode.INVALID_ARGUMENT
