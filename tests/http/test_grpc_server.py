"""The gRPC server: health, reflection, clients that misbehave, and its end."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import tritonclient.grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from repertory.actors.local_node import LocalNode
from repertory.protos.private import oip_pb2 as oip

SERVICE = "inference.GRPCInferenceService"
MEBIBYTE = 1024 * 1024
# How clients are told to go elsewhere: by the server, and by nobody being there any more.
REFUSED = ("UNAVAILABLE: this process is shutting down", "UNAVAILABLE: failed to connect")


@pytest.fixture
async def draining(
    shared_node: LocalNode, serving: Any, start_face: Any, eventually: Any
) -> AsyncIterator[tuple[Any, grpc.aio.Channel]]:
    """A face of its own, to be ended, and a connection to it."""
    face = start_face(shared_node.config.data_dir)
    await eventually(lambda: b"listening for gRPC" in face.log.read_bytes(), "it listens")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{face.grpc_port}") as found:
        yield face, found


def request(alcohol: float, name: str = "wine") -> bytes:
    """Return a request made by hand, of one record."""
    contents = oip.InferTensorContents(fp64_contents=[1.0] * 10 + [alcohol])
    tensor = oip.ModelInferRequest.InferInputTensor(
        name="wine", datatype="FP64", shape=[1, 11], contents=contents
    )
    message = oip.ModelInferRequest(model_name=name, inputs=[tensor])
    return message.SerializeToString()


async def scored(channel: Any, content: bytes) -> list[float]:
    """Return what a model says of the records in a request."""
    reply: bytes = await channel.unary_unary(f"/{SERVICE}/ModelInfer")(content, timeout=20)
    (output,) = oip.ModelInferResponse.FromString(reply).outputs
    return list(output.contents.fp64_contents)


def health_of(channel: Any) -> Any:
    """Return the stub of the health service."""
    return HealthStub(channel)


async def refusal(asking: Any) -> tuple[StatusCode, str]:
    """Return the status that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await asking
    return raised.value.code(), raised.value.details() or ""


def test_tritons_client_finds_it_live_and_its_models_ready(address: str) -> None:
    with tritonclient.grpc.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.get_server_metadata().name == "repertory"


async def test_the_health_service_says_whether_it_is_ready(channel: Any) -> None:
    health = health_of(channel)
    for name in ("", SERVICE):
        reply = await health.Check(HealthCheckRequest(service=name))
        assert reply.status == HealthCheckResponse.SERVING
    status, why = await refusal(health.Check(HealthCheckRequest(service="beer")))
    assert (status, "beer" in why) == (StatusCode.NOT_FOUND, True)


async def test_without_a_router_it_is_not_ready(start_face: Any, eventually: Any) -> None:
    face = start_face()
    await eventually(lambda: b"listening for gRPC" in face.log.read_bytes(), "it listens")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{face.grpc_port}") as found:
        reply = await health_of(found).Check(HealthCheckRequest())
        assert reply.status == HealthCheckResponse.NOT_SERVING


def test_reflection_describes_the_services_and_their_messages(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
        service = DescriptorPool(database).FindServiceByName(SERVICE)
        assert service.methods_by_name["ModelInfer"].input_type.name == "ModelInferRequest"


async def test_garbage_and_what_is_not_there_is_refused(channel: Any) -> None:
    status, why = await refusal(scored(channel, b"\xff\xff garbage"))
    assert (status, "ModelInferRequest" in why) == (StatusCode.INVALID_ARGUMENT, True)
    status, _ = await refusal(channel.unary_unary(f"/{SERVICE}/Brew")(b""))
    assert status is StatusCode.UNIMPLEMENTED
    assert await scored(channel, request(3)) == [3]


async def test_a_message_that_is_too_large_is_refused(channel: Any) -> None:
    status, why = await refusal(scored(channel, bytes(MEBIBYTE + 1)))
    assert (status, "larger than max" in why) == (StatusCode.RESOURCE_EXHAUSTED, True)
    assert await scored(channel, request(4)) == [4]


async def test_what_is_no_http2_does_not_disturb_others(channel: Any, address: str) -> None:
    host, _, port = address.partition(":")
    for garbage in (
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(5000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff",
    ):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(garbage)
        await writer.drain()
        writer.close()
    assert await scored(channel, request(5)) == [5]


async def test_a_call_that_is_given_up_costs_nothing_more(channel: Any) -> None:
    method = channel.unary_unary(f"/{SERVICE}/ModelInfer")
    calls = [method(request(number), timeout=20) for number in range(200)]
    for call in calls[::2]:
        call.cancel()
    for number in range(1, 200, 2):
        (output,) = oip.ModelInferResponse.FromString(await calls[number]).outputs
        assert list(output.contents.fp64_contents) == [number]


async def test_garbage_in_a_stream_ends_the_stream(channel: Any) -> None:
    call = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")()
    await call.write(request(3))
    reply = oip.ModelStreamInferResponse.FromString(await call.read())
    assert list(reply.infer_response.outputs[0].contents.fp64_contents) == [3]
    await call.write(b"\xff")
    status, _ = await refusal(call.read())
    assert status is StatusCode.INVALID_ARGUMENT


async def test_nobody_who_was_let_in_is_turned_away_at_its_end(draining: Any) -> None:
    face, channel = draining
    ended: list[str] = []

    async def ask() -> None:
        while True:
            try:
                assert await scored(channel, request(6)) == [6]
            except grpc.aio.AioRpcError as error:
                return ended.append(f"{error.code().name}: {error.details()}")

    asking = [asyncio.create_task(ask()) for _ in range(20)]
    await scored(channel, request(1))
    face.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*asking)
    assert await asyncio.to_thread(face.process.wait, 5) == 0
    assert [each for each in ended if not each.startswith(REFUSED)] == []


async def test_streams_and_watchers_do_not_hold_up_its_end(draining: Any) -> None:
    face, channel = draining
    stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")()
    await stream.write(request(3))
    assert await stream.read()
    watch = health_of(channel).Watch(HealthCheckRequest())
    assert (await watch.read()).status == HealthCheckResponse.SERVING
    face.process.send_signal(signal.SIGTERM)
    status, why = await refusal(stream.read())
    assert (status, why) == (StatusCode.UNAVAILABLE, "this process is shutting down")
    assert await asyncio.to_thread(face.process.wait, 5) == 0
    assert b"could not be finished" not in face.log.read_bytes()
