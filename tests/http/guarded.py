"""A node with all guards up, and a look at what it says, logs and audits of what it refuses."""

import hashlib
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from tests.http.oidc_world import Provider

from repertory.actors.local_node import LocalNode
from repertory.config import NodePaths, Role, load_config
from repertory.http.tokens import TokenFile, make_token
from repertory.models.signing import SigningKey, Statement

ROOT = Path(__file__).parents[2]


class Answer(NamedTuple):
    """What a request is answered."""

    status: Any  # of HTTP or of gRPC
    text: str
    headers: Any = None


class Guarded:
    """The node, who may do what, and all secrets that were ever shown to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.provider = Provider(folder)
        self.key = SigningKey.make(folder / "release.key")
        self.roots = folder / "roots"
        self.roots.mkdir()
        self.config = self._write()
        self.paths = NodePaths(load_config(self.config), "a")
        self.secrets: set[str] = set()
        self.publisher = self.token("publish", "score")
        self._seen = 0

    def _write(self) -> Path:
        document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
        wine = document["data_types"]["wine"]
        with socket.socket() as one, socket.socket() as two:
            for probe in (one, two):
                probe.bind(("127.0.0.1", 0))
            ports = [probe.getsockname()[1] for probe in (one, two)]
        http = {"port": ports[0], "grpc_port": ports[1], "max_body_mb": 1}
        models = {"roots": [str(self.roots)], "trusted_keys": [self.key.public], "max_mb": 8}
        models["check_seconds"] = 100  # of TensorFlow's first start beside other tests
        document |= {"data_dir": str(self.folder / "data"), "models": models}
        document["http"] = http | {"oidc": self.provider.config()}
        document["data_types"] = {"wine": wine, "cider": wine | {"topics": [], "required": False}}
        path = self.folder / "cluster.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    @contextmanager
    def running(self) -> Iterator["Guarded"]:
        """Have the node run."""
        with LocalNode(self.config, log=self.folder / "node.log") as self.node:
            self.node.wait_until(ready=False)
            yield self
        self.node.wait_gone()

    def token(self, *roles: Role, **about: Any) -> str:
        """Make a token."""
        secret, kept = make_token(roles, **about)
        TokenFile(self.paths.tokens).add(kept)
        self.secrets.add(secret)
        return secret

    def sign(self, content: bytes, model_type: str, data_type: str = "wine") -> str:
        """Sign a model."""
        digest = hashlib.sha256(content).hexdigest()
        return str(self.key.sign(Statement(digest, model_type, data_type)))

    def ask(self, path: str, body: Any = None, *, token: str | None = "", **headers: str) -> Answer:
        """Send a request, as the publisher unless another token is given, or None."""
        shown = self.publisher if token == "" else token
        sent = {name.replace("_", "-"): each for name, each in headers.items()}
        if shown is not None:
            self.secrets.add(shown)
            sent["Authorization"] = f"Bearer {shown}"
        method = sent.pop("method", "GET" if body is None else "POST")
        asking = urllib.request.Request(self.node.url + path, body, sent, method=method)
        try:
            with urllib.request.urlopen(asking, timeout=90) as reply:
                return Answer(reply.status, reply.read().decode(), reply.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.load(error)["error"], error.headers)

    def publish(self, **fields: str) -> Answer:
        """Publish a model as JSON."""
        body = {"dataType": "wine", "name": "m"} | fields
        return self.ask("/models", json.dumps(body).encode(), Content_Type="application/json")

    def audited(self) -> list[dict[str, Any]]:
        """Return what the audit log has said since this was asked last."""
        text = self.paths.audit.read_text() if self.paths.audit.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        new, self._seen = lines[self._seen :], len(lines)
        return new

    def logs(self) -> dict[str, bytes]:
        """Return all that the node has written into logs."""
        return {str(path): path.read_bytes() for path in self.folder.rglob("*.log")}
