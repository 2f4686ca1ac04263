"""The client of Triton, as it is, talks to a node by the Open Inference Protocol."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from tritonclient import http as triton
from tritonclient.http import aio
from tritonclient.utils import InferenceServerException

from repertory.actors.local_node import LocalNode

Numbers = NDArray[Any]


@pytest.fixture
def client(shared_node: LocalNode) -> Iterator[Any]:
    found = triton.InferenceServerClient(urlsplit(shared_node.url).netloc)
    yield found
    found.close()


@pytest.fixture
async def async_client(shared_node: LocalNode) -> AsyncIterator[Any]:
    async with aio.InferenceServerClient(urlsplit(shared_node.url).netloc) as found:
        yield found


def rows(*alcohols: float) -> Numbers:
    """Return records as a matrix of all features."""
    matrix = np.ones((len(alcohols), 11))
    matrix[:, 10] = alcohols
    return matrix


def inputs(values: Numbers, *, binary: bool, name: str = "x", datatype: str = "FP64") -> list[Any]:
    tensor = triton.InferInput(name, values.shape, datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return [tensor]


def outputs(*names: str, binary: bool) -> list[Any]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def states(index: list[dict[str, Any]]) -> list[str]:
    """Return the states of all versions, the newest first."""
    return [each["state"] for each in index if each["name"] == "wine"]


FORMS = pytest.mark.parametrize("sent", [False, True], ids=["json in", "binary in"])
REPLIES = pytest.mark.parametrize("asked", [False, True], ids=["json out", "binary out"])


@pytest.mark.usefixtures("serving")
@FORMS
@REPLIES
def test_tensors_are_scored_in_every_form(client: Any, sent: bool, asked: bool) -> None:
    wanted = outputs("value", binary=asked)
    found = client.infer("wine", inputs(rows(8, 9.5), binary=sent), outputs=wanted)
    assert found.as_numpy("value").tolist() == [8.0, 9.5]


@pytest.mark.usefixtures("serving")
@FORMS
@REPLIES
async def test_tensors_are_scored_in_every_form_by_asyncio(
    async_client: Any, sent: bool, asked: bool
) -> None:
    wanted = outputs("value", binary=asked)
    found = await async_client.infer("wine", inputs(rows(8, 9.5), binary=sent), outputs=wanted)
    assert found.as_numpy("value").tolist() == [8.0, 9.5]


def test_what_is_not_said_is_answered_with_the_version_and_the_id(
    client: Any, serving: Any
) -> None:
    number = str(serving["version"])
    found = client.infer("wine", inputs(rows(7), binary=True), request_id="a", model_version=number)
    about = found.get_response()
    assert (about["id"], about["model_version"]) == ("a", number)
    assert about["parameters"]["sha256"] == serving["sha256"]
    assert found.as_numpy("value").tolist() == [7.0]


@pytest.mark.usefixtures("serving")
@FORMS
def test_features_come_one_by_one_as_well(
    client: Any, wine: Callable[[float], dict[str, float]], sent: bool
) -> None:
    columns = {name: np.array([each, each], np.float64) for name, each in wine(9).items()}
    tensors = [inputs(each, binary=sent, name=name)[0] for name, each in columns.items()]
    assert client.infer("wine", tensors).as_numpy("value").tolist() == [9.0, 9.0]


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("how", ["gzip", "deflate"])
def test_a_compressed_request_is_understood(client: Any, how: str) -> None:
    found = client.infer(
        "wine",
        inputs(rows(6), binary=True),
        request_compression_algorithm=how,
        response_compression_algorithm=how,
    )
    assert found.as_numpy("value").tolist() == [6.0]


@pytest.mark.usefixtures("serving")
def test_several_requests_at_once_get_their_own_answers(shared_node: LocalNode) -> None:
    address = urlsplit(shared_node.url).netloc
    with triton.InferenceServerClient(address, concurrency=4) as client:
        asked = [client.async_infer("wine", inputs(rows(i), binary=True)) for i in range(20)]
        found = [each.get_result().as_numpy("value").tolist() for each in asked]
    assert found == [[float(i)] for i in range(20)]


@REPLIES
async def test_labels_and_probabilities_come_in_both_forms(
    async_client: Any, publish: Any, wine_models: Path, asked: bool
) -> None:
    assert (await publish((wine_models / "02-random-forest.onnx").read_bytes())).status == 201
    wanted = outputs("label", "probabilities", binary=asked)
    found = await async_client.infer("wine", inputs(rows(9, 10), binary=True), outputs=wanted)
    labels = orjson.loads(found.get_response()["parameters"]["labels"])
    best = found.as_numpy("probabilities").argmax(axis=1)
    said = [each.decode() if asked else each for each in found.as_numpy("label").tolist()]
    assert said == [labels[each] for each in best]


@pytest.mark.usefixtures("serving")
def test_health_is_told(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_model_ready("wine")
    assert not client.is_model_ready("wine", "999999")
    assert not client.is_model_ready("cider")
    assert not client.is_model_ready("beer")
    assert client.is_server_ready()


def test_metadata_are_told(client: Any, serving: Any) -> None:
    about = client.get_server_metadata()
    assert (about["name"], "binary_tensor_data" in about["extensions"]) == ("repertory", True)
    number = str(serving["version"])
    for model in (client.get_model_metadata("wine"), client.get_model_metadata("wine", number)):
        assert (model["platform"], model["versions"]) == ("onnx_onnxv1", [number])
        assert [each["shape"] for each in model["inputs"]] == [[-1]] * 11


def test_configuration_is_told(client: Any, serving: Any) -> None:
    about = client.get_model_config("wine", str(serving["version"]))
    assert (about["name"], about["max_batch_size"]) == ("wine", 16)
    alcohol = {"name": "alcohol", "data_type": "TYPE_FP64", "dims": [1], "reshape": {"shape": []}}
    assert about["input"][-1] == alcohol
    assert about["parameters"]["model_type"] == {"string_value": "ONNX"}


def test_statistics_count_what_was_scored(client: Any, serving: Any) -> None:
    client.infer("wine", inputs(rows(1, 2, 3), binary=True))
    asked = (("wine", str(serving["version"])), ("wine",), ())
    for name in asked:
        (found,) = client.get_inference_statistics(*name)["model_stats"]
        assert (found["name"], found["version"]) == ("wine", str(serving["version"]))
        assert (found["inference_count"], found["execution_count"]) == (3, 1)
        assert found["inference_stats"]["success"]["ns"] > 0
        assert found["percentiles"]["p99"] > 0


@pytest.mark.usefixtures("serving")
def test_a_model_is_loaded_and_unloaded(client: Any, model: Callable[..., bytes]) -> None:
    client.load_model("wine", config="{}", files={"file:1/model.onnx": model(2)})
    assert client.infer("wine", inputs(rows(5), binary=True)).as_numpy("value").tolist() == [7.0]
    assert states(client.get_model_repository_index())[0] == "READY"
    client.unload_model("wine")
    assert not client.is_model_ready("wine")
    assert set(states(client.get_model_repository_index())) == {"UNAVAILABLE"}


async def test_a_model_is_loaded_and_unloaded_by_asyncio(
    async_client: Any, model: Callable[..., bytes]
) -> None:
    await async_client.load_model("wine", config="{}", files={"file:m": model(1)})
    await async_client.load_model("wine")
    assert states(await async_client.get_model_repository_index())[0] == "READY"
    await async_client.unload_model("wine", unload_dependents=True)
    with pytest.raises(InferenceServerException, match="no model serves 'wine', and this request"):
        await async_client.load_model("wine")


@pytest.mark.usefixtures("serving")
async def test_everything_is_told_to_asyncio(async_client: Any) -> None:
    assert await async_client.is_server_live()
    assert await async_client.is_server_ready()
    assert await async_client.is_model_ready("wine")
    assert (await async_client.get_server_metadata())["name"] == "repertory"
    assert (await async_client.get_model_metadata("wine"))["name"] == "wine"
    assert (await async_client.get_model_config("wine"))["name"] == "wine"
    assert (await async_client.get_inference_statistics("wine"))["model_stats"]


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("name", "output", "status", "why"),
    [
        ("beer", "value", "404", "there is no data type 'beer'"),
        ("cider", "value", "503", "cider"),
        ("wine", "price", "400", "there is no output 'price'"),
        ("wine", "label", "400", "gives no output 'label'"),
    ],
)
def test_errors_come_with_their_status(
    client: Any, name: str, output: str, status: str, why: str
) -> None:
    wanted = outputs(output, binary=True)
    with pytest.raises(InferenceServerException, match=why) as refused:
        client.infer(name, inputs(rows(1), binary=True), outputs=wanted)
    assert refused.value.status() == status


@pytest.mark.usefixtures("serving")
def test_a_timeout_in_microseconds_is_a_deadline(client: Any) -> None:
    with pytest.raises(InferenceServerException) as refused:
        client.infer("wine", inputs(rows(1), binary=True), timeout=1)
    assert refused.value.status() in ("429", "504")


@pytest.mark.usefixtures("serving")
def test_a_whole_body_may_be_the_clients_own(client: Any) -> None:
    tensors, wanted = inputs(rows(4), binary=True), outputs("value", binary=True)
    body, length = triton.InferenceServerClient.generate_request_body(tensors, outputs=wanted)
    headers = {"Inference-Header-Content-Length": str(length)}
    reply = client._post("v2/models/wine/infer", body, headers, None)
    found = triton.InferenceServerClient.parse_response_body(
        reply.read(), header_length=int(reply.get("Inference-Header-Content-Length"))
    )
    assert found.as_numpy("value").tolist() == [4.0]


def test_what_is_loaded_must_be_a_model(client: Any) -> None:
    with pytest.raises(InferenceServerException) as refused:
        client.load_model("wine", config="{}", files={"file:m": b"none"})
    assert refused.value.status() == "400"
