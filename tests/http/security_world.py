"""A face with tokens, of a router that answers from a script."""

import json
import socket
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.http.scripted import ScriptedRouter

from repertory.config import NodePaths, Role, parse_config
from repertory.errors import RequestFailed
from repertory.http.face_tls import key_pair
from repertory.http.grpc_server import GrpcServer
from repertory.http.in_hand import InHand
from repertory.http.routes import CORE, make_app
from repertory.http.tokens import TokenFile, make_token

ROOT = Path(__file__).parents[2]
Script = dict[tuple[str, str | None], dict[str, Any] | RequestFailed]
RETIRED = {"dataType": "wine", "name": "forest", "version": 3, "state": "RETIRED"}
VERSIONS = {"dataType": "wine", "versions": []}


class World:
    """A face with tokens, its client, and its audit log."""

    def __init__(self, folder: Path, **http: Any) -> None:
        document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
        wine = document["data_types"]["wine"]
        document |= {"data_dir": str(folder), "http": http}
        document["data_types"] = {"wine": wine, "cider": wine | {"topics": [], "required": False}}
        self.config = parse_config(document)
        self.paths = NodePaths(self.config, "a")
        self.paths.create()
        self.client: Any = None
        self._grpc: GrpcServer | None = None

    def token(self, *roles: Role, **about: Any) -> dict[str, str]:
        """Make a token; the header that has it."""
        secret, kept = make_token(roles, **about)
        TokenFile(self.paths.tokens).add(kept)
        return {"Authorization": f"Bearer {secret}"}

    def app(self) -> web.Application:
        """Return the face's application."""
        answers: Script = {("retire", None): RETIRED, ("versions", None): VERSIONS}
        answers |= {("models", None): {"models": []}, ("rollback", None): RETIRED}
        return make_app(self.config, self.paths, ScriptedRouter(answers), InHand())

    async def ask(self, method: str, path: str, headers: Any = None, **options: Any) -> Any:
        """Send a request; its reply, with `error` or else nothing."""
        if self.client is None:
            self.client = TestClient(TestServer(self.app()))
            await self.client.start_server()
        return await self.client.request(method, path, headers=headers, **options)

    async def grpc(self) -> str:
        """Listen for gRPC as well; where."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        http = self.config.http.model_copy(update={"grpc_port": port})
        config = self.config.model_copy(update={"http": http})
        keys = None if http.tls is None else key_pair(http.tls, "a")
        router = ScriptedRouter({("models", None): {"models": []}})
        core = self.app()[CORE]
        self._grpc = await GrpcServer.open(config, router, core=core, in_hand=InHand(), keys=keys)
        return f"127.0.0.1:{port}"

    async def close(self) -> None:
        """End the client and the face."""
        if self.client is not None:
            await self.client.close()
        if self._grpc is not None:
            await self._grpc.close()

    def audit(self) -> list[dict[str, Any]]:
        """Return what the audit log says."""
        text = self.paths.audit.read_text() if self.paths.audit.exists() else ""
        return [json.loads(line) for line in text.splitlines()]
