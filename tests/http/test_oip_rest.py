"""The Open Inference Protocol over REST, as it travels."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repertory.actors.local_node import LocalNode

LENGTH = "Inference-Header-Content-Length"
INFER = "/v2/models/wine/infer"


def matrix(*alcohols: float, **more: Any) -> dict[str, Any]:
    """Return a request of all features in one matrix."""
    data = [[1.0] * 10 + [each] for each in alcohols]
    shape = [len(alcohols), 11]
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}], **more}


async def test_the_server_tells_its_name_version_and_extensions(call: Any) -> None:
    assert (await call("GET", "/v2")).body == {
        "name": "repertory",
        "version": version("repertory"),
        "extensions": [
            "binary_tensor_data",
            "model_repository",
            "model_configuration",
            "statistics",
        ],
    }


@pytest.mark.usefixtures("serving")
async def test_a_model_is_told_by_its_inputs_outputs_and_versions(call: Any, serving: Any) -> None:
    body = (await call("GET", "/v2/models/wine")).body
    assert body["versions"] == [str(serving["version"])]
    assert body["inputs"][0] == {"name": "fixed_acidity", "datatype": "FP64", "shape": [-1]}
    assert len(body["inputs"]) == 11
    assert body["outputs"] == [{"name": "value", "datatype": "FP64", "shape": [-1]}]
    assert body["parameters"]["sha256"] == serving["sha256"]


async def test_a_model_is_asked_by_its_own_name_as_well(
    call: Any, publish: Any, model: Any
) -> None:
    about = (await publish(model(1), name="red / ünïcode")).body
    reply = await call("POST", "/v2/models/red%20%2F%20%C3%BCn%C3%AFcode/infer", json=matrix(9))
    assert reply.body["model_name"] == "red / ünïcode"
    assert reply.body["outputs"][0]["data"] == [10.0]
    assert reply.headers["X-Repertory-Model"] == "red / %C3%BCn%C3%AFcode"
    assert reply.headers["X-Repertory-Sha256"] == about["sha256"]


async def test_the_reply_says_which_model_version_answered(call: Any, serving: Any) -> None:
    reply = await call("POST", INFER, json=matrix(9, 10.5, id="a-1"))
    about = {key: serving[key] for key in ("version", "sha256")}
    assert reply.body == {
        "model_name": "wine",
        "model_version": str(serving["version"]),
        "id": "a-1",
        "parameters": {"data_type": "wine", "model": "test", **about},
        "outputs": [{"name": "value", "datatype": "FP64", "shape": [2], "data": [9.0, 10.5]}],
    }
    assert reply.headers["X-Repertory-Version"] == str(serving["version"])


async def test_a_version_that_does_not_serve_is_not_found(call: Any, serving: Any) -> None:
    number = serving["version"]
    found = await call("POST", f"/v2/models/wine/versions/{number}/infer", json=matrix(9))
    assert found.status == 200
    for wrong in (number + 1, "one", "9" * 5000):
        path = f"/v2/models/wine/versions/{wrong}"
        assert (await call("POST", f"{path}/infer", json=matrix(9))).status == 404
        assert (await call("GET", path)).status == 404


async def test_classes_come_with_labels_for_their_probabilities(
    call: Any, publish: Any, wine_models: Path
) -> None:
    assert (await publish((wine_models / "02-random-forest.onnx").read_bytes())).status == 201
    body = (await call("POST", INFER, json=matrix(9, 10))).body
    label, probabilities = body["outputs"]
    labels = orjson.loads(body["parameters"]["labels"])
    rows = np.array(probabilities["data"]).reshape(probabilities["shape"])
    assert [labels[best] for best in rows.argmax(axis=1)] == label["data"]
    only = matrix(9, outputs=[{"name": "probabilities"}])
    assert len((await call("POST", INFER, json=only)).body["outputs"]) == 1


@pytest.mark.usefixtures("serving")
async def test_a_whole_body_may_be_one_tensor(shared_node: LocalNode) -> None:
    rows = np.ones((3, 11))
    rows[:, 10] = 7, 8, 9
    headers = {LENGTH: "0"}
    url = shared_node.url + INFER
    async with aiohttp.request("POST", url, data=rows.tobytes(), headers=headers) as reply:
        assert reply.content_type == "application/octet-stream"
        body, cut = await reply.read(), int(reply.headers[LENGTH])
    (output,) = orjson.loads(body[:cut])["outputs"]
    assert output["parameters"] == {"binary_data_size": 24}
    assert np.frombuffer(body[cut:]).tolist() == [7, 8, 9]


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the body is empty"),
        (b"{", "the body is not JSON"),
        (b'{"inputs": []}', "inputs is empty"),
        (orjson.dumps(matrix(9, outputs=[{"name": "price"}])), "there is no output 'price'"),
        (orjson.dumps(matrix(9, outputs=[{"name": "label"}])), "gives no output 'label'; it gives"),
        (orjson.dumps(matrix(None)), "record 0: "),  # type: ignore[arg-type]
        (orjson.dumps(matrix()), "the inputs have no records"),
    ],
)
async def test_a_wrong_request_is_told_why(call: Any, body: bytes, why: str) -> None:
    reply = await call("POST", INFER, data=body)
    assert (reply.status, list(reply.body)) == (400, ["error"])
    assert why in reply.body["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/beer", 404),
        ("POST", "/v2/models/beer/infer", 404),
        ("GET", "/v2/models/beer/stats", 404),
        ("GET", "/v2/models/beer/config", 404),
        ("POST", "/v2/repository/models/beer/load", 404),
        ("POST", "/v2/repository/models/beer/unload", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", INFER, 405),
        ("POST", "/v2/models/cider/infer", 503),
        ("GET", "/v2/models/cider/ready", 503),
        ("POST", "/v2/repository/models/cider/load", 400),
    ],
)
async def test_an_error_has_its_status_and_a_reason(
    call: Any, method: str, path: str, status: int
) -> None:
    reply = await call(method, path, **({} if method == "GET" else {"json": matrix(1)}))
    assert reply.status == status
    assert reply.body["error"]


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("seconds", [{"X-Request-Timeout": "0.000001"}, {}])
async def test_a_timeout_of_either_kind_is_a_deadline(call: Any, seconds: dict[str, str]) -> None:
    parameters: dict[str, Any] = {} if seconds else {"parameters": {"timeout": 1}}
    reply = await call("POST", INFER, json=matrix(1, **parameters), headers=seconds)
    assert reply.status in (429, 504)


@pytest.mark.usefixtures("serving")
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=64), st.integers(0, 70).map(str) | st.just("x"))
def test_no_bytes_are_a_defect(shared_node: LocalNode, body: bytes, length: str) -> None:
    async def post() -> int:
        url, headers = shared_node.url + INFER, {LENGTH: length}
        async with aiohttp.request("POST", url, data=body, headers=headers) as reply:
            return reply.status

    assert asyncio.run(post()) == 400


def load_body(content: bytes, **more: Any) -> dict[str, Any]:
    return {"parameters": {"file:1/model.onnx": base64.b64encode(content).decode(), **more}}


async def test_a_file_that_is_loaded_is_published(
    call: Any, model: Callable[..., bytes], spool: Any
) -> None:
    body = load_body(model(3), config="{}")
    reply = await call("POST", "/v2/repository/models/wine/load", json=body)
    assert (reply.status, reply.body["state"]) == (200, "SERVING")
    assert (await call("POST", INFER, json=matrix(9))).body["outputs"][0]["data"] == [12.0]
    again = await call("POST", "/v2/repository/models/wine/load")
    assert (again.status, again.body["state"]) == (200, "READY")
    assert not spool()


async def test_a_model_of_a_new_name_is_loaded_for_the_data_type_that_the_query_names(
    call: Any, model: Callable[..., bytes]
) -> None:
    path = "/v2/repository/models/rosé/load?dataType=wine"
    assert (await call("POST", path, json=load_body(model(4)))).body["name"] == "rosé"
    assert (await call("GET", "/v2/models/rosé/ready")).status == 200


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"file:m": base64.b64encode(b"no model at all").decode()}, "model"),
        ({"file:m": "%%"}, "not base64"),
        ({"file:m": 3}, "must be base64 in a string"),
        ({"file:m": "", "file:n": ""}, "a model is one file, not 2"),
        ([], "parameters must be a JSON object"),
    ],
)
async def test_what_cannot_be_loaded_is_refused(
    call: Any, spool: Any, parameters: Any, why: str
) -> None:
    path = "/v2/repository/models/wine/load"
    reply = await call("POST", path, json={"parameters": parameters})
    assert reply.status == 400
    assert why in reply.body["error"]
    assert not spool()


async def test_the_index_has_every_version_and_what_became_of_it(
    call: Any, publish: Callable[..., Awaitable[Any]], serving: Any
) -> None:
    bad = (await publish(b"no model at all", modelType="ONNX")).body
    entries = (await call("POST", "/v2/repository/index")).body
    states = {each.get("version"): each for each in entries if each["name"] == "wine"}
    assert states[str(serving["version"])]["state"] == "READY"
    rejected = states[str(bad["version"])]
    assert (rejected["state"], rejected["reason"]) == ("UNAVAILABLE", bad["reason"])
    assert {"name": "cider", "state": "UNAVAILABLE", "reason": "no model was published"} in entries
    ready = (await call("POST", "/v2/repository/index", json={"ready": True})).body
    assert [each["version"] for each in ready] == [str(serving["version"])]
