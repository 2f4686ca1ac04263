"""A whole node among hostile clients: the others are answered, memory stays, the end is in time."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import numpy as np
import orjson
import psutil
import pytest

from repertory.actors.local_node import LocalNode
from repertory.protos.private import oip_pb2 as oip

PIPELINED = 5000
STREAMS = 3000
INFER = "/inference.GRPCInferenceService/ModelInfer"
# A PING of HTTP/2, after the preface and empty SETTINGS.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
PING = b"\0\0\x08\6\0\0\0\0\0abcdefgh"


def post(record: Any, path: str = "/score/wine") -> bytes:
    body = orjson.dumps(record)
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def reply(reader: asyncio.StreamReader) -> tuple[int, Any]:
    """Return the status and the document of the next reply."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head.split()[1]), orjson.loads(await reader.readexactly(length))


async def value(reader: asyncio.StreamReader) -> float:
    """Return what the next reply says of its one record."""
    status, document = await reply(reader)
    assert status == 200, document
    return float(document["results"][0]["value"])


@dataclass(frozen=True, slots=True)
class Face:
    """The shared node's face, which serves a model that says a wine's alcohol."""

    port: int
    grpc_port: int
    pid: int

    @property
    def mebibytes(self) -> float:
        """What it has in memory."""
        return float(psutil.Process(self.pid).memory_info().rss / 2**20)


@pytest.fixture
async def face(shared_node: LocalNode, serving: Any) -> Face:
    """The face of the shared node."""
    http = shared_node.config.http
    assert http.grpc_port is not None
    (pid,) = (
        each
        for each in shared_node.processes()
        if "repertory.http.face" in psutil.Process(each).cmdline()
    )
    return Face(http.port, http.grpc_port, pid)


async def test_pipelined_requests_are_answered_in_their_order(face: Face, wine: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", face.port)
    writer.write(b"".join(post(wine(number)) for number in range(200)))
    assert [await value(reader) for _ in range(200)] == list(range(200))
    writer.close()


async def test_thousands_that_are_pipelined_and_not_read_take_no_memory(
    face: Face, wine: Any
) -> None:
    before = face.mebibytes
    _, writer = await asyncio.open_connection("127.0.0.1", face.port, limit=2**10)
    writer.write(post(wine(1)) * PIPELINED)  # most of it waits on our side
    good, asking = await asyncio.open_connection("127.0.0.1", face.port)
    for number in range(50):
        asking.write(post(wine(number)))
        assert await value(good) == number
    assert face.mebibytes < before + 40
    for each in (writer, asking):
        each.close()


async def test_half_open_connections_disturb_nobody(face: Face, wine: Any) -> None:
    ports = (face.port, face.grpc_port)
    sent = (b"", b"POST /score/wine HTTP/1.1\r\nContent-Le", PREFACE[:20], PREFACE)
    crowd = [await asyncio.open_connection("127.0.0.1", port) for port in ports for _ in range(100)]
    for number, (_, writer) in enumerate(crowd):
        writer.write(sent[number % len(sent)])
    reader, writer = await asyncio.open_connection("127.0.0.1", face.port)
    writer.write(post(wine(3)))
    async with asyncio.timeout(10):
        assert await value(reader) == 3
    async with call(face) as infer:
        assert await infer(4.0) == 4.0
    for _, each in (*crowd, (reader, writer)):
        each.close()


def channel_to(face: Face) -> grpc.aio.Channel:
    """Return a channel with a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(f"127.0.0.1:{face.grpc_port}", options)


@contextlib.asynccontextmanager
async def call(face: Face) -> AsyncIterator[Callable[[float], Any]]:
    """Score wines by their alcohol over gRPC."""
    async with channel_to(face) as channel:
        method = channel.unary_unary(
            INFER,
            request_serializer=oip.ModelInferRequest.SerializeToString,
            response_deserializer=oip.ModelInferResponse.FromString,
        )

        async def infer(alcohol: float) -> float:
            wines = np.full((1, 11), alcohol)
            tensor = oip.ModelInferRequest.InferInputTensor(
                name="wine", datatype="FP64", shape=[1, 11]
            )
            raw = [wines.tobytes()]
            request = oip.ModelInferRequest(
                model_name="wine", inputs=[tensor], raw_input_contents=raw
            )
            found = await method(request, timeout=20)
            return float(np.frombuffer(found.raw_output_contents[0], "<f8")[0])

        yield infer


async def test_a_flood_of_pings_is_ended_and_others_are_answered(face: Face) -> None:
    before = face.mebibytes
    reader, writer = await asyncio.open_connection("127.0.0.1", face.grpc_port)
    writer.write(PREFACE + PING * 20_000)
    async with call(face) as infer:
        assert await infer(5.0) == 5.0
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(20):
                assert b"too_many_pings" in await reader.read()
        assert await infer(6.0) == 6.0
    assert face.mebibytes < before + 40
    writer.close()


async def test_thousands_of_streams_of_one_client_do_not_keep_others_out(face: Face) -> None:
    async with channel_to(face) as channel:
        stream: Any = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        calls = [stream() for _ in range(STREAMS)]  # nothing is ever sent over them
        async with call(face) as infer:
            assert await infer(7.0) == 7.0
        for each in calls:
            each.cancel()


async def test_the_end_under_mixed_load_and_among_slow_clients_loses_nothing(
    shared_node: LocalNode, serving: Any, wine: Any, start_face: Any, eventually: Any
) -> None:
    face = start_face(shared_node.config.data_dir)
    await eventually(lambda: b"listening for gRPC" in face.log.read_bytes(), "the face listens")
    slow = [await asyncio.open_connection("127.0.0.1", face.port) for _ in range(40)]
    for number, (_, writer) in enumerate(slow):
        writer.write((b"", b"POST /sc", post(wine(1))[:-5])[number % 3])
    answered = list[int]()
    asking = [asyncio.create_task(ask_to_the_end(face, wine, answered)) for _ in range(6)]
    calling = asyncio.create_task(call_to_the_end(face))
    await eventually(lambda: len(answered) > 100, "all of them are answered")
    face.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(face.process.wait, 15) == 0
    async with asyncio.timeout(10):
        await asyncio.gather(*asking, calling)
    for _, writer in slow:
        writer.close()


async def ask_to_the_end(face: Any, wine: Any, answered: list[int]) -> None:
    """Ask again and again until connections are refused: what was accepted has to be answered."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", face.port)
        except OSError:
            return
        last = False
        while not last:
            number = len(answered)
            writer.write(post(wine(number)))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            last = b"connection: close" in head
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            document = orjson.loads(await reader.readexactly(length))
            assert document["results"] == [{"value": float(number)}]
            answered.append(number)
        writer.close()


async def call_to_the_end(face: Any) -> None:
    """Call again and again until calls are refused."""
    async with call(face) as infer:

        async def again_and_again() -> None:
            while True:
                assert await infer(1.0) == 1.0

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await again_and_again()
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
