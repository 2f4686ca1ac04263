"""A node that the clients of others talk to, and how these are run, each in its environment."""

import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import orjson
import pytest
import yaml
from tests.conftest import ROOT, free_port
from tests.foreign.environment import EnvironmentMissing, environment_python

from repertory.actors.local_node import LocalNode
from repertory.client import Client

CLIENTS = Path(__file__).parent / "clients"
CACHE = ROOT / ".cache" / "foreign"
CLIENT_SECONDS = 60

RunClient = Callable[..., Any]


@pytest.fixture(scope="session")
def run_client() -> RunClient:
    """Run clients/NAME_client.py with what clients/NAME.txt pins; what it saw, from JSON.

    `environment` names other pins than NAME's. With `beside`, our own packages are there, too.
    """

    def run(name: str, *arguments: str, environment: str = "", beside: bool = False) -> Any:
        python = _python(environment or name, beside)
        command = [str(python), "-I", str(CLIENTS / f"{name}_client.py"), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=CLIENT_SECONDS
        )
        assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}{done.stderr[-8000:]}"
        return orjson.loads(done.stdout)

    return run


@cache
def _python(environment: str, beside: bool) -> Path:
    pins = CLIENTS / f"{environment}.txt"
    try:
        return environment_python(CACHE / environment, pins, resolve=False, beside=beside)
    except EnvironmentMissing as error:
        _do_without(f"the client's packages are not here, and could not be installed: {error}")


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}\n(CI is set: there, others' clients are obligatory)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def foreign_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A node with the example's configuration that serves gRPC, too, and no model yet."""
    folder = tmp_path_factory.mktemp("foreign")
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    document["data_dir"] = str(folder / "data")
    document["http"] = {"port": free_port(), "grpc_port": free_port()}
    # For a regression, beside the classification of `forest_node`.
    wine = document["data_types"]["wine"]
    document["data_types"]["grade"] = wine | {"topics": [], "required": False}
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(document))
    with LocalNode(path, log=folder / "node.log") as node:
        node.wait_until(ready=False)
        yield node
    node.wait_gone()


@pytest.fixture(scope="session")
def forest_node(foreign_node: LocalNode) -> LocalNode:
    """The node, with the example's forest on stage: a classification with probabilities."""
    content = ROOT / "examples" / "wine" / "models" / "02-random-forest.onnx"
    with Client(foreign_node.url) as client:
        client.publish("wine", content, name="forest")
    return foreign_node


@pytest.fixture(scope="session")
def addresses(forest_node: LocalNode) -> tuple[str, str]:
    """Where the node with the forest answers: the URL of HTTP, and the address of gRPC."""
    return forest_node.url, f"127.0.0.1:{forest_node.config.http.grpc_port}"
