"""The clients of the soak: each has one connection, speaks one protocol, and never tries again."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import grpc
import grpc.aio
import numpy as np
import orjson
from numpy.typing import NDArray

from repertory.protos.private import oip_pb2 as oip

# A request that is not answered by then hangs; a node gives up after `http.deadline_ms`, 30 s at most.
HANG_SECONDS = 45.0
_INFER = "/inference.GRPCInferenceService/ModelInfer"
_LENGTH = "inference-header-content-length"

Said = str | float  # a label or a value
Rows = NDArray[np.float64]


class Wrong(Exception):
    """A reply that is not what it should be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said of each record, and which one it was."""

    version: int
    sha256: str
    said: Sequence[Said]


class Client(Protocol):
    """Asks for the scores of records over a connection of its own, which `close` ends."""

    async def ask(self, rows: Rows) -> Answer:
        """Return the answer. Raises Wrong, OSError, EOFError, TimeoutError or gRPC's error."""

    async def close(self) -> None:
        """Hang up."""


class Connection:
    """An HTTP/1.1 connection that is kept open, and made anew only after it failed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pipe: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(
        self, path: str, body: bytes, headers: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (in small letters) and body of the reply."""
        try:
            async with asyncio.timeout(HANG_SECONDS):
                return await self._post(path, body, headers)
        except BaseException:
            await self.close()
            raise

    async def _post(
        self, path: str, body: bytes, headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        if self._pipe is None:
            self._pipe = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        reader, writer = self._pipe
        head = f"POST {path} HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        writer.write(head.encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = {
            key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)
        }
        told = await reader.readexactly(int(found["content-length"]))
        if found.get("connection", "").lower() == "close":
            raise Wrong("the node hung up after a reply")
        return int(lines[0].split()[1]), found, told

    async def close(self) -> None:
        """Hang up."""
        if self._pipe is not None:
            self._pipe[1].close()
            self._pipe = None


class _Http:
    def __init__(self, port: int, features: Sequence[str]) -> None:
        self._connection = Connection(port)
        self._features = features

    async def _scored(
        self, path: str, body: bytes, headers: str = ""
    ) -> tuple[dict[str, str], bytes]:
        status, found, told = await self._connection.post(path, body, headers)
        if status != 200:
            raise Wrong(f"status {status}: {told[:300].decode(errors='replace')}")
        return found, told

    async def close(self) -> None:
        await self._connection.close()


class ScoreClient(_Http):
    """`POST /score`: one record as an object, several as a list."""

    async def ask(self, rows: Rows) -> Answer:
        """Return the answer."""
        records = [dict(zip(self._features, row, strict=True)) for row in rows.tolist()]
        body = orjson.dumps(records[0] if len(records) == 1 else records)
        document = orjson.loads((await self._scored("/score/wine", body))[1])
        said = [each["label"] if "label" in each else each["value"] for each in document["results"]]
        return Answer(document["model"]["version"], document["model"]["sha256"], said)


class OipClient(_Http):
    """The Open Inference Protocol over REST, with all elements in JSON."""

    async def ask(self, rows: Rows) -> Answer:
        """Return the answer."""
        wines = {"name": "wines", "datatype": "FP64", "shape": rows.shape, "data": rows.tolist()}
        _, told = await self._scored("/v2/models/wine/infer", orjson.dumps({"inputs": [wines]}))
        document = orjson.loads(told)
        model = document["parameters"]
        return Answer(model["version"], model["sha256"], document["outputs"][0]["data"])


class OipBinaryClient(_Http):
    """The Open Inference Protocol over REST, with its binary tensors both ways."""

    async def ask(self, rows: Rows) -> Answer:
        """Return the answer."""
        wines = {"name": "wines", "datatype": "FP64", "shape": rows.shape}
        wines["parameters"] = {"binary_data_size": rows.nbytes}
        head = orjson.dumps({"inputs": [wines], "parameters": {"binary_data_output": True}})
        found, told = await self._scored(
            "/v2/models/wine/infer", head + rows.tobytes(), f"{_LENGTH}: {len(head)}\r\n"
        )
        length = int(found[_LENGTH])
        document = orjson.loads(told[:length])
        output, model = document["outputs"][0], document["parameters"]
        size = output["parameters"]["binary_data_size"]
        said = _elements(output["datatype"], told[length : length + size])
        return Answer(model["version"], model["sha256"], said)


class TensorFlowClient(_Http):
    """TensorFlow Serving's `:predict`, by row."""

    async def ask(self, rows: Rows) -> Answer:
        """Return the answer."""
        body = orjson.dumps({"instances": rows.tolist()})
        found, told = await self._scored("/v1/models/wine:predict", body)
        rows_said = orjson.loads(told)["predictions"]
        said = [each["label"] if isinstance(each, dict) else each for each in rows_said]
        return Answer(int(found["x-repertory-version"]), found["x-repertory-sha256"], said)


class GrpcClient:
    """The Open Inference Protocol over gRPC, with raw contents."""

    def __init__(self, port: int) -> None:
        # Without its own pool, the channels of a process share one connection; grpc tries again
        # by itself, unless told not to.
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options)
        self._infer = self._channel.unary_unary(
            _INFER,
            request_serializer=oip.ModelInferRequest.SerializeToString,
            response_deserializer=oip.ModelInferResponse.FromString,
        )

    async def ask(self, rows: Rows) -> Answer:
        """Return the answer."""
        wines = oip.ModelInferRequest.InferInputTensor(
            name="wines", datatype="FP64", shape=rows.shape
        )
        request = oip.ModelInferRequest(
            model_name="wine", inputs=[wines], raw_input_contents=[rows.tobytes()]
        )
        reply: Any = await self._infer(request, timeout=HANG_SECONDS)
        said = _elements(reply.outputs[0].datatype, reply.raw_output_contents[0])
        model = reply.parameters
        return Answer(model["version"].int64_param, model["sha256"].string_param, said)

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()


def _elements(datatype: str, data: bytes) -> Sequence[Said]:
    if datatype == "FP64":
        values: list[float] = np.frombuffer(data, "<f8").tolist()
        return values
    found, start = [], 0
    while start < len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        found.append(data[start + 4 : end].decode())
        start = end
    return found


@dataclass(frozen=True, slots=True)
class Table:
    """What each model says of each record, by the SHA-256 of the model."""

    said: dict[str, Sequence[Said]]

    def check(self, answer: Answer, first: int, count: int) -> None:
        """Raise Wrong unless it is what its model says of the records from `first` on."""
        if answer.sha256 not in self.said:
            raise Wrong(f"version {answer.version} is of an unknown model, {answer.sha256}")
        expected = self.said[answer.sha256][first : first + count]
        if not same(expected, answer.said):
            raise Wrong(
                f"version {answer.version} says {answer.said} of records {first} to"
                f" {first + count - 1}, not {expected}"
            )

    @classmethod
    def empty(cls) -> Self:
        """Return a table to be filled."""
        return cls({})


def same(expected: Sequence[Said], said: Sequence[Said]) -> bool:
    """Return whether answers are the same: labels exactly, values to six digits."""
    return len(expected) == len(said) and all(map(_alike, expected, said))


def _alike(one: Said, other: Said) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return math.isclose(one, other, rel_tol=1e-6)
