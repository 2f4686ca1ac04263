"""A node with Kafka is ready only when its Kafka face is well."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

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


def test_a_broker_that_is_away_is_the_reason_until_it_is_there(
    node: LocalNode, tmp_path: Path
) -> None:
    health = not_ready(node)
    assert (health["ready"], health["waiting_for"]) == (False, [])
    assert health["error"] == "; ".join(health["troubles"]["streams"])
    command = (sys.executable, "-m", "repertory", "status", "--url", node.url)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.startswith("node a is not ready\n")
    port = str(node.config.kafka.bootstrap_servers).rpartition(":")[2]
    broker = (sys.executable, "-m", "repertory", "broker", "--port", port)
    with (tmp_path / "broker.log").open("wb") as log:
        process = subprocess.Popen(broker, stdout=log, stderr=log)
    try:
        node.wait_until(ready=True)
        wait_until(lambda: node.get("/status")["troubles"] == {}, "the node says that it is well")
    finally:
        process.terminate()
        process.wait()
