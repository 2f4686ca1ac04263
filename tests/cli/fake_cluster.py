"""HTTP faces of a cluster whose routers answer from a script; they count records at each question."""

from pathlib import Path
from typing import Any, Self

from aiohttp.test_utils import TestServer
from tests.http.scripted import member, slot_answer

from repertory.actors.client import RouterClient
from repertory.config import NodePaths, load_config
from repertory.errors import NotFound
from repertory.http.in_hand import InHand
from repertory.http.routes import make_app

CONFIG = Path(__file__).parents[2] / "cluster.yaml"
ROLES = {"a": "leader", "b": "standby"}


class FakeCluster:
    """Nodes a and b, which serve wine with two replicas. A context manager."""

    def __init__(self) -> None:
        self.servers: dict[str, TestServer] = {}
        self.down: set[str] = set()
        self.usage = 0
        self._urls: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        """Have both faces listen."""
        config = load_config(CONFIG)
        for node in ROLES:
            app = make_app(config, NodePaths(config, node), FakeRouter(self, node), InHand())
            self.servers[node] = TestServer(app)
            await self.servers[node].start_server()
            self._urls[node] = f"http://127.0.0.1:{self.servers[node].port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close both."""
        for server in self.servers.values():
            await server.close()

    async def lose(self, node: str) -> None:
        """Have a node vanish; the other one knows it."""
        self.down.add(node)
        await self.servers[node].close()

    def url(self, node: str) -> str:
        """Return where a node's face listens, or did."""
        return self._urls[node]

    def describe(self, node: str) -> dict[str, Any]:
        """Return what a node says of the cluster."""
        there = [each for each in ROLES if each not in self.down]
        lost = {"state": "down", "reason": "silent for 5.2 s"}
        members = [
            member(
                each,
                role,
                host="127.0.0.1",
                http=self.url(each),
                **(lost if each in self.down else {}),
            )
            for each, role in ROLES.items()
        ]
        wine = {"replicas": 2, "owners": there, "ready": dict.fromkeys(there, 20), "out": {}}
        return {"node": node, "leader": there[0], "members": members, "shards": {"wine": wine}}


class FakeRouter(RouterClient):
    """The router of one of the nodes."""

    def __init__(self, cluster: FakeCluster, node: str) -> None:
        super().__init__(Path("nowhere"), role="test")
        self.connected.set()
        self._cluster = cluster
        self._node = node

    async def ask(self, subject: str, *, timeout: float = 5.0, **data: Any) -> dict[str, Any]:
        """Answer as a node does, with a hundred records more for each question about the state."""
        if subject == "cluster":
            return self._cluster.describe(self._node)
        if subject == "status":
            node = data.get("node", self._node)
            if node in self._cluster.down:
                raise NotFound(f"node {node} cannot be reached just now")
            return status_of(node)
        self._cluster.usage += 100
        return {**slot_answer("forest", 3), "usage": self._cluster.usage}


def status_of(node: str, **about: Any) -> dict[str, Any]:
    """Return what a node says of itself: it has 6 records of wine left to do."""
    streams = {"streams": {"wine": {"queued": 0, "in_flight": 1, "lag": 6}}}
    told = {"ready": True, "node": node, "troubles": {}, "pid": 4711, "data_types": {"wine": {}}}
    told |= {"faces": {"http:http": {}, "streams:streams": streams}}
    return told | about
