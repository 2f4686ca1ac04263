"""A node with small limits that the tests of the HTTP face share, models to tell apart, clients."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import numpy as np
import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer
from onnx import TensorProto, helper, numpy_helper
from tests.http.scripted import Ask, ScriptedRouter

from repertory.actors.local_node import LocalNode, wait_until
from repertory.config import NodePaths, load_config
from repertory.http.in_hand import InHand
from repertory.http.routes import make_app

ROOT = Path(__file__).parents[2]
MAX_BATCH, CREDIT = 16, 4


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_config(folder: Path, data_dir: Path) -> Path:
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    wine = document["data_types"]["wine"] | {"max_batch": MAX_BATCH, "credit": CREDIT}
    # Nobody publishes a model for cider.
    cider = wine | {"topics": [], "required": False}
    document |= {
        "data_dir": str(data_dir),
        "http": {
            "port": _free_port(),
            "grpc_port": _free_port(),
            "max_body_mb": 1,
            "deadline_ms": 20_000,
        },
        "models": {"max_mb": 1},
        "data_types": {"wine": wine, "cider": cider},
    }
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
async def reply_of() -> AsyncIterator[Ask]:
    """Ask a face of a router; its reply."""
    config = load_config(ROOT / "cluster.yaml")
    paths, clients = NodePaths(config, "a"), list[Any]()

    async def reply(router: ScriptedRouter, path: str, **options: Any) -> Any:
        client = TestClient(TestServer(make_app(config, paths, router, InHand())))
        clients.append(client)
        await client.start_server()
        return await client.get(path, **options)

    yield reply
    for client in clients:
        await client.close()


@pytest.fixture(scope="session")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A node that all tests of the HTTP face share."""
    folder = tmp_path_factory.mktemp("http")
    with LocalNode(_write_config(folder, folder / "data"), log=folder / "node.log") as node:
        node.wait_until(ready=False)
        yield node
    node.wait_gone()


def build_model(bias: float = 0.0) -> bytes:
    """Return an ONNX model that answers alcohol + `bias`: each record is told from the others."""
    weights = np.zeros((11, 1), np.float32)
    weights[10] = 1
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["wine", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["quality"]),
        ],
        "alcohol",
        [helper.make_tensor_value_info("wine", TensorProto.FLOAT, [None, 11])],
        [helper.make_tensor_value_info("quality", TensorProto.FLOAT, [None, 1])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([bias], np.float32), "bias"),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def model() -> Callable[..., bytes]:
    """Build models that tell records, and themselves, apart."""
    return build_model


@pytest.fixture(scope="session")
def wine(shared_node: LocalNode) -> Callable[[float], dict[str, float]]:
    """Build records by their alcohol."""
    features = shared_node.config.data_types["wine"].features
    return lambda alcohol: dict.fromkeys(features, 1.0) | {"alcohol": alcohol}


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that was read whole."""

    status: int
    headers: Any
    body: Any


Call = Callable[..., Awaitable[Reply]]


@pytest.fixture
async def call(shared_node: LocalNode) -> AsyncIterator[Call]:
    """Send a request to the shared node."""
    async with aiohttp.ClientSession(shared_node.url) as session:

        async def send(method: str, path: str, **options: Any) -> Reply:
            async with session.request(method, path, **options) as reply:
                return Reply(reply.status, reply.headers, await reply.json())

        yield send


@pytest.fixture
def publish(call: Call) -> Call:
    """Publish a model as a form."""

    async def post(content: bytes, *, wait: bool = True, **fields: str) -> Reply:
        form = aiohttp.FormData()
        form.add_field("file", content, filename="model")
        for name, value in ({"dataType": "wine", "name": "test"} | fields).items():
            form.add_field(name, value)
        return await call("POST", "/models", data=form, params={"wait": str(wait)})

    return post


@pytest.fixture
async def serving(publish: Call) -> Any:
    """Have a model serve that answers a wine's alcohol; the reply to its publisher."""
    reply = await publish(build_model())
    assert reply.status == 201
    return reply.body


@pytest.fixture
def address(shared_node: LocalNode, serving: Any) -> str:
    """Where the shared node answers gRPC, with a model that says a wine's alcohol."""
    return f"127.0.0.1:{shared_node.config.http.grpc_port}"


@pytest.fixture
async def channel(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A connection of nothing but gRPC."""
    async with grpc.aio.insecure_channel(address) as found:
        yield found


@pytest.fixture
def spool(shared_node: LocalNode) -> Callable[[], list[str]]:
    """List the files that wait in the spool."""
    return lambda: os.listdir(shared_node.paths.spool)


@pytest.fixture
async def eventually() -> Callable[..., Awaitable[None]]:
    """Wait for an event while the loop runs on."""

    async def wait(condition: Callable[[], object], what: str) -> None:
        await asyncio.to_thread(wait_until, condition, what)

    return wait


@dataclass(frozen=True, slots=True)
class FaceProcess:
    """A face of its own, and where it listens."""

    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    log: Path


@pytest.fixture
def start_face(tmp_path: Path) -> Iterator[Callable[..., FaceProcess]]:
    """Start HTTP faces, for the node of a data folder or for none; they are ended with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(data_dir: Path = tmp_path / "none", port: int | None = None) -> FaceProcess:
        port, log = port or _free_port(), tmp_path / f"face-{len(started)}.log"
        command = [sys.executable, "-m", "repertory.http.face", "--node", "a", "--config"]
        config = _write_config(tmp_path, data_dir)
        grpc_port = yaml.safe_load(config.read_text())["http"]["grpc_port"]
        environment = os.environ | {"REPERTORY_HTTP__PORT": str(port)}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, str(config)], stdout=output, stderr=output, env=environment
            )
        started.append(process)
        return FaceProcess(process, port, grpc_port, log)

    yield start
    for process in started:
        process.kill()
        process.wait()
