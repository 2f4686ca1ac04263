"""A node with Kafka is ready only when its Kafka face is well."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import orjson
import pytest
import yaml

from repertory.actors.local_node import LocalNode, wait_until

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    """Return a node whose broker is away, and that needs no model."""
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    document["data_types"]["wine"]["required"] = False
    document |= {
        "data_dir": str(tmp_path / "data"),
        "http": {"port": free_port()},
        "kafka": {"bootstrap_servers": f"127.0.0.1:{free_port()}"},
    }
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(document))
    with LocalNode(path, log=tmp_path / "node.log") as started:
        started.wait_until(ready=False)
        yield started
    started.wait_gone()


def not_ready(node: LocalNode) -> Any:
    """Return what a node answers that it is not ready."""
    with pytest.raises(HTTPError) as raised:
        node.get("/health/ready")
    assert raised.value.code == 503
    return orjson.loads(raised.value.read())


@pytest.fixture
def start_broker(node: LocalNode, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Start the broker that the node is configured with; it ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        port = str(node.config.kafka.bootstrap_servers).rpartition(":")[2]
        command = (sys.executable, "-m", "repertory", "broker", "--port", port)
        with (tmp_path / "broker.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))

    yield start
    for process in started:
        process.terminate()
        process.wait()


def metrics(node: LocalNode) -> str:
    with urlopen(f"{node.url}/metrics", timeout=10) as reply:
        return str(reply.read().decode())


def test_a_broker_that_is_away_is_the_reason_until_it_is_there(
    node: LocalNode, start_broker: Callable[[], None]
) -> None:
    health = not_ready(node)
    assert (health["ready"], health["waiting_for"]) == (False, [])
    assert health["error"] == "; ".join(health["troubles"]["streams"])
    assert "repertory_ready 0.0\n" in metrics(node)
    command = (sys.executable, "-m", "repertory", "status", "--url", node.url)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith("node a is not ready\n")
    start_broker()
    node.wait_until(ready=True)
    assert node.get("/health/ready")["troubles"] == {}
    of_the_face = 'repertory_stream_batches_in_flight{data_type="wine"} 0.0\n'
    wait_until(lambda: of_the_face in metrics(node), "the face tells its metrics")
