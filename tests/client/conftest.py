"""A node that the client's tests share, wines, and a server that answers from a script."""

import csv
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from repertory.actors.local_node import LocalNode
from repertory.client import Client

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """Serve wines by a forest; of the other data types each test publishes what it needs."""
    folder = tmp_path_factory.mktemp("client")
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    wine = document["data_types"]["wine"]
    idle = wine | {"topics": [], "required": False}
    document |= {"data_dir": str(folder / "data"), "http": {"port": unused_port()}}
    document["data_types"] = {"wine": wine, "cider": idle, "perry": idle, "mead": idle}
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(document))
    with LocalNode(path, log=folder / "node.log") as started:
        started.wait_until(ready=False)
        with Client(started.url) as client:
            client.publish("wine", ROOT / "examples/wine/models/02-random-forest.onnx")
        yield started
    started.wait_gone()


@pytest.fixture(scope="session")
def mead(node: LocalNode, wine_models: Path) -> str:
    """Have a policy choose between a forest and a net; the data type."""
    with Client(node.url) as client:
        client.publish("mead", wine_models / "05-mlp.onnx", name="net")
        client.publish("mead", wine_models / "02-random-forest.onnx", name="forest")
        settings = {"policy": "deadline", "slots": ["forest", "net"], "deadlineMs": 5000}
        client.set_policy("mead", settings)
    return "mead"


@pytest.fixture
def client(node: LocalNode) -> Iterator[Client]:
    """Return a client of the node."""
    with Client(node.url) as opened:
        yield opened


@pytest.fixture(scope="session")
def wines(wine_data: Path) -> list[dict[str, float]]:
    """Return the first wines of the example, without their quality."""
    with wine_data.open() as file:
        rows = [next(reader) for reader in [csv.DictReader(file)] for _ in range(8)]
    return [{key: float(row[key]) for key in row if key != "quality"} for row in rows]


@dataclass
class Script:
    """What a server answers, one after the other, the last for ever; and what it was asked."""

    answers: list[web.Response | Callable[[web.Request], Awaitable[web.Response]]]
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        self.headers.append(dict(request.headers))
        self.bodies.append(await request.read())
        found = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if not isinstance(found, web.Response):
            return await found(request)
        return web.Response(body=found.body, status=found.status, headers=found.headers)


Serve = Callable[..., Awaitable[Script]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers that answer from a script."""
    servers: list[TestServer] = []

    async def start(*answers: web.Response | Callable[..., Awaitable[web.Response]]) -> Script:
        script = Script(list(answers))
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", script.answer)
        servers.append(TestServer(app))
        await servers[-1].start_server()
        script.url = str(servers[-1].make_url("")).rstrip("/")
        return script

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
def dead_url() -> str:
    """Return the address of a node that is not there."""
    return f"http://127.0.0.1:{unused_port()}"
