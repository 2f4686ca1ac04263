"""The OpenAPI document and a node, held against each other by schemathesis, with all of its checks."""

import base64
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import yaml
from tests.conftest import free_port
from tests.http.conftest import build_model

from repertory.actors.local_node import LocalNode
from repertory.http.tokens import TokenFile, make_token

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Requests that change what serves come last: the others are to be answered by models.
CHANGES = '/x-repertory-role == "publish"'
PHASES = "examples,coverage,fuzzing"
# Up to so many seconds what is sent is the same each time, so that nobody is told of a fault that
# others made; longer runs look for what is new.
SAME_SECONDS = 20
# Of those, some hundred; on a machine that does much else, this is what there must be.
FEWEST = 50


class Api(NamedTuple):
    """A node that asks for tokens, and one of them."""

    url: str
    token: str

    def call(self, path: str, document: object = None, method: str | None = None) -> Any:
        """Send a request that is answered well."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if document is None else orjson.dumps(document)
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return orjson.loads(reply.read())

    def publish(self, data_type: str, name: str, content: bytes) -> None:
        """Have a model serve."""
        data = base64.b64encode(content).decode()
        self.call("/models", {"dataType": data_type, "name": name, "data": data})


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, wine_models: Path) -> Iterator[Api]:
    """A node of three data types: with two classifiers and a policy, with a regressor, with nothing."""
    folder = tmp_path_factory.mktemp("api")
    config = folder / "cluster.yaml"
    config.write_text(yaml.safe_dump(_document(folder)))
    with LocalNode(config, log=folder / "node.log") as node:
        node.wait_until(ready=False)
        secret, kept = make_token(("admin",))
        api = Api(node.url, secret)
        for name in ("05-mlp", "02-random-forest"):
            api.publish("beer", f"beer-{name}", (wine_models / f"{name}.onnx").read_bytes())
        api.publish("wine", "alcohol", build_model())
        slots = ["beer-05-mlp", "beer-02-random-forest"]
        api.call("/policies/beer", {"policy": "majority", "slots": slots}, "PUT")
        TokenFile(node.paths.tokens).add(kept)
        yield api
    node.wait_gone()


def _document(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    wine = document["data_types"]["wine"] | {"topics": [], "required": False}
    http = {"port": free_port(), "trusted_proxies": ["127.0.0.0/8"]}
    types = {"wine": wine, "beer": wine, "cider": wine}
    return document | {"data_dir": str(folder / "data"), "http": http, "data_types": types}


@pytest.fixture
def schemathesis(api: Api, pytestconfig: pytest.Config, tmp_path: Path) -> Callable[..., int]:
    """Run it over some operations; how many requests it made up."""
    seconds = pytestconfig.getoption("api_seconds")

    def run(*which: str) -> int:
        command = [sys.executable, "-m", "schemathesis.cli"]
        command += ["--config-file", str(HERE / "schemathesis.toml"), "run"]
        command += [f"{api.url}/openapi.json", "--url", api.url, "--phases", PHASES, *which]
        command += ["--header", f"Authorization: Bearer {api.token}", "--no-color"]
        command += ["--max-time", str(seconds), "--continue-on-failure", "--checks", "all"]
        if seconds <= SAME_SECONDS:
            command += ["--seed", "1"]
        hooks = {"SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py")}
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | hooks,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        print(done.stdout)  # pytest shows it when the test failed
        assert done.returncode == 0
        found = re.search(r"(\d+) generated", done.stdout)
        assert found
        return int(found[1])

    return run


def test_examples_can_be_sent_as_they_are(api: Api) -> None:
    paths = api.call("/openapi.json")["paths"]
    names = {"dataType": "wine", "model": "wine"}
    for path in ("/score/{dataType}", "/v2/models/{model}/infer", "/v1/models/{model}:predict"):
        content = paths[path]["post"]["requestBody"]["content"]["application/json"]
        assert api.call(path.format_map(names), content["examples"]["wine"]["value"])


def test_what_looks_and_scores_is_as_documented(schemathesis: Callable[..., int]) -> None:
    assert schemathesis("--exclude-by", CHANGES) > FEWEST


def test_what_changes_something_is_as_documented(schemathesis: Callable[..., int]) -> None:
    assert schemathesis("--include-by", CHANGES) > FEWEST
