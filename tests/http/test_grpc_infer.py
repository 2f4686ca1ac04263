"""The Open Inference Protocol over gRPC, as the clients that people have speak it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc.aio
from grpc import StatusCode
from numpy.typing import NDArray

from repertory.actors.local_node import LocalNode
from repertory.protos.private import oip_pb2 as oip

FEATURES = 11


@pytest.fixture
def address(shared_node: LocalNode, serving: Any) -> str:
    """Where the shared node answers gRPC, with a model that says a wine's alcohol."""
    return f"127.0.0.1:{shared_node.config.http.grpc_port}"


@pytest.fixture
async def client(address: str) -> AsyncIterator[Any]:
    """Triton's client, as it is."""
    async with tritonclient.grpc.aio.InferenceServerClient(address) as found:
        yield found


@pytest.fixture
async def infer(address: str) -> AsyncIterator[Any]:
    """Send a request made by hand; the reply, and the call for what is beside it."""
    async with grpc.aio.insecure_channel(address) as channel:
        method = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=oip.ModelInferRequest.SerializeToString,
            response_deserializer=oip.ModelInferResponse.FromString,
        )

        async def send(*inputs: Any, **request: Any) -> tuple[Any, Any]:
            about = {"model_name": "wine", "inputs": inputs} | request
            call = method(oip.ModelInferRequest(**about), timeout=20)
            return await call, call

        yield send


def wines(*alcohols: float) -> NDArray[np.float32]:
    records = np.ones((len(alcohols), FEATURES), np.float32)
    records[:, -1] = alcohols
    return records


def triton_input(*alcohols: float) -> Any:
    found = tritonclient.grpc.aio.InferInput("wine", [len(alcohols), FEATURES], "FP32")
    return found.set_data_from_numpy(wines(*alcohols))


def typed(*alcohols: float, **about: Any) -> Any:
    contents = {"fp32_contents": wines(*alcohols).ravel().tolist()}
    described = {"name": "wine", "datatype": "FP32", "shape": [len(alcohols), FEATURES]}
    return oip.ModelInferRequest.InferInputTensor(**(described | {"contents": contents} | about))


async def refusal(asking: Any) -> tuple[StatusCode, str]:
    """Return the status that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asking
    return raised.value.code(), raised.value.details() or ""


def test_tritons_client_scores_raw_tensors(address: str, serving: Any) -> None:
    with tritonclient.grpc.InferenceServerClient(address) as client:
        given = tritonclient.grpc.InferInput("wine", [2, FEATURES], "FP32")
        given.set_data_from_numpy(wines(3, 5))
        result = client.infer("wine", [given], request_id="7")
    values = result.as_numpy("value")
    assert values is not None
    assert values.tolist() == [3, 5]
    reply = result.get_response()
    assert (reply.id, reply.model_version) == ("7", str(serving["version"]))


async def test_tritons_client_for_asyncio_scores_many_requests_at_once(client: Any) -> None:
    alcohols = [float(number) for number in range(40)]
    results = await asyncio.gather(
        *(client.infer("wine", [triton_input(each)]) for each in alcohols)
    )
    assert [result.as_numpy("value").tolist() for result in results] == [[a] for a in alcohols]


async def test_a_model_is_asked_by_its_name_and_version(client: Any, serving: Any) -> None:
    version = str(serving["version"])
    result = await client.infer(serving["name"], [triton_input(4)], model_version=version)
    assert result.as_numpy("value").tolist() == [4]
    assert result.get_response().model_name == serving["name"]


async def test_typed_tensors_are_answered_by_typed_tensors(infer: Any) -> None:
    reply, _ = await infer(typed(3, 5))
    (output,) = reply.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("value", "FP64", [2])
    assert list(output.contents.fp64_contents) == [3, 5]
    assert not reply.raw_output_contents


@pytest.mark.parametrize(
    ("datatype", "field"),
    [
        ("INT32", "int_contents"),
        ("UINT8", "uint_contents"),
        ("INT64", "int64_contents"),
        ("UINT64", "uint64_contents"),
        ("FP64", "fp64_contents"),
    ],
)
async def test_every_datatype_has_its_field(infer: Any, datatype: str, field: str) -> None:
    reply, _ = await infer(typed(1, datatype=datatype, contents={field: [1] * FEATURES}))
    assert list(reply.outputs[0].contents.fp64_contents) == [1]


async def test_half_precision_is_raw(infer: Any) -> None:
    half = typed(2, datatype="FP16", contents=None)
    reply, _ = await infer(half, raw_input_contents=[wines(2).astype("<f2").tobytes()])
    assert np.frombuffer(reply.raw_output_contents[0]).tolist() == [2]
    status, why = await refusal(infer(typed(2, datatype="FP16")))
    assert (status, "raw_input_contents" in why) == (StatusCode.INVALID_ARGUMENT, True)


async def test_a_reply_says_which_model_version_it_is_of(infer: Any, serving: Any) -> None:
    reply, call = await infer(typed(3))
    assert reply.parameters["sha256"].string_param == serving["sha256"]
    assert reply.parameters["version"].int64_param == serving["version"]
    metadata = dict(await call.trailing_metadata())
    assert metadata["x-repertory-sha256"] == serving["sha256"]
    assert metadata["x-repertory-version"] == str(serving["version"])


@pytest.mark.parametrize(
    ("request_", "status", "why"),
    [
        ({"model_name": "beer"}, StatusCode.NOT_FOUND, "beer"),
        ({"model_version": "999"}, StatusCode.NOT_FOUND, "999"),
        ({"inputs": []}, StatusCode.INVALID_ARGUMENT, "inputs is empty"),
        ({"inputs": [typed(1, shape=[2, 11])]}, StatusCode.INVALID_ARGUMENT, "needs 22"),
        ({"inputs": [typed(1, shape=[-1, 11])]}, StatusCode.INVALID_ARGUMENT, "below 0"),
        ({"inputs": [typed(1, shape=[2**62] * 9999)]}, StatusCode.INVALID_ARGUMENT, "dimensions"),
        ({"inputs": [typed(1, datatype="FP33")]}, StatusCode.INVALID_ARGUMENT, "FP33"),
        ({"inputs": [typed(1, datatype="FP64")]}, StatusCode.INVALID_ARGUMENT, "fp64_contents"),
        ({"raw_input_contents": [b"1234"]}, StatusCode.INVALID_ARGUMENT, "all inputs raw"),
        ({"raw_input_contents": [b"1", b"2"]}, StatusCode.INVALID_ARGUMENT, "has 2 tensors"),
        ({"outputs": [{"name": "colour"}]}, StatusCode.INVALID_ARGUMENT, "colour"),
        ({"outputs": [{"name": "label"}]}, StatusCode.INVALID_ARGUMENT, "gives no output"),
        (
            {"parameters": {"timeout": {"string_param": "soon"}}},
            StatusCode.INVALID_ARGUMENT,
            "microseconds",
        ),
        ({"model_name": "cider"}, StatusCode.UNAVAILABLE, "cider"),
    ],
)
async def test_what_cannot_be_answered_has_a_status(
    infer: Any, request_: dict[str, Any], status: StatusCode, why: str
) -> None:
    found, details = await refusal(infer(typed(1), **request_))
    assert found is status
    assert why in details


async def test_a_number_outside_its_datatype_is_refused(infer: Any) -> None:
    wide = typed(1, datatype="INT8", contents={"int_contents": [300] * FEATURES})
    status, why = await refusal(infer(wide))
    assert (status, "300" in why) == (StatusCode.INVALID_ARGUMENT, True)


async def test_a_timeout_in_the_request_is_a_deadline(infer: Any) -> None:
    status, _ = await refusal(infer(typed(1), parameters={"timeout": {"int64_param": 1}}))
    assert status in (StatusCode.DEADLINE_EXCEEDED, StatusCode.RESOURCE_EXHAUSTED)


async def test_streamed_requests_are_answered_in_order(client: Any) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for number in range(50):
            name = "beer" if number == 20 else "wine"
            yield {"model_name": name, "inputs": [triton_input(number)], "request_id": str(number)}

    found: list[tuple[str, object]] = []
    async for result, error in client.stream_infer(requests()):
        found.append(
            ("error", error.message())
            if error
            else (result.get_response().id, result.as_numpy("value").tolist())
        )
    assert len(found) == 50
    kind, why = found.pop(20)
    assert (kind, "beer" in str(why)) == ("error", True)
    assert found == [(str(number), [number]) for number in range(50) if number != 20]
