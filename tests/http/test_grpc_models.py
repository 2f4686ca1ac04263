"""What gRPC tells of models, and does with them, to Triton's client as it is."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import tritonclient.grpc.aio
from tritonclient.utils import InferenceServerException

from repertory.actors.local_node import LocalNode


@pytest.fixture
async def client(shared_node: LocalNode, serving: Any) -> AsyncIterator[Any]:
    """Triton's client, of a node with a model."""
    address = f"127.0.0.1:{shared_node.config.http.grpc_port}"
    async with tritonclient.grpc.aio.InferenceServerClient(address) as found:
        yield found


async def test_a_model_is_ready_when_it_serves(client: Any, serving: Any) -> None:
    assert await client.is_model_ready("wine", str(serving["version"]))
    assert not await client.is_model_ready("wine", "999")
    assert not await client.is_model_ready("cider")
    assert not await client.is_model_ready("beer")


async def test_metadata_tell_inputs_outputs_and_versions(client: Any, serving: Any) -> None:
    found = await client.get_model_metadata("wine")
    assert list(found.versions) == [str(serving["version"])]
    assert (len(found.inputs), found.inputs[0].name) == (11, "fixed_acidity")
    assert (found.inputs[0].datatype, list(found.inputs[0].shape)) == ("FP64", [-1])
    assert "value" in {each.name for each in found.outputs}
    with pytest.raises(InferenceServerException, match="beer") as raised:
        await client.get_model_metadata("beer")
    assert raised.value.status() == "StatusCode.NOT_FOUND"


async def test_the_configuration_is_that_of_rest(client: Any, serving: Any, call: Any) -> None:
    found = await client.get_model_config("wine", as_json=True)
    rest = (await call("GET", "/v2/models/wine/config")).body
    assert found["config"]["max_batch_size"] == rest["max_batch_size"]
    assert found["config"]["input"][0]["data_type"] == rest["input"][0]["data_type"]
    assert found["config"]["parameters"] == rest["parameters"]


async def test_statistics_count_what_was_scored(client: Any, serving: Any, call: Any) -> None:
    rest = (await call("GET", "/v2/models/wine/stats")).body["model_stats"][0]
    for name in ("wine", ""):
        (found,) = (await client.get_inference_statistics(name)).model_stats
        assert (found.name, found.version) == ("wine", str(serving["version"]))
        assert found.inference_count == rest["inference_count"]


async def test_the_index_tells_what_became_of_each_version(client: Any, serving: Any) -> None:
    entries = (await client.get_model_repository_index()).models
    (ready,) = [each for each in entries if each.state == "READY"]
    assert (ready.name, ready.version) == ("wine", str(serving["version"]))
    assert "cider" in {each.name for each in entries}


async def test_a_model_is_loaded_and_unloaded(client: Any, model: Any) -> None:
    await client.load_model("wine", config="{}", files={"file:1/model.onnx": model(2)})
    assert await client.is_model_ready("wine")
    await client.unload_model("wine")
    assert not await client.is_model_ready("wine")


async def test_a_model_that_cannot_serve_is_not_loaded(client: Any) -> None:
    with pytest.raises(InferenceServerException) as raised:
        await client.load_model("wine", config="{}", files={"file:1/model.onnx": b"no model"})
    assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert await client.is_model_ready("wine")
