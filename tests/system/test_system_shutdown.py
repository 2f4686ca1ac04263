"""SIGTERM under load: readiness falls first, nothing that is in flight fails, exit 0, in phases."""

import http.client
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from repertory.actors.local_node import LocalNode, wait_until
from repertory.protos.winerecord_pb2 import WineRecord

RECORDS = [dict.fromkeys([f.name for f in WineRecord.DESCRIPTOR.fields][:11], 1.0)] * 20
BODY = json.dumps(RECORDS).encode()
CLIENTS = 4
PHASES = [
    "1, readiness false",
    "2, stop taking",
    "3, finish what is in flight",
    "4, commit offsets",
    "5, hand over shards",
    "6, leave",
    "7, stop actors",
    "8, exit 0",
]


@dataclass
class Client:
    """Posts on one connection, which is kept until a reply closes it, until nobody listens."""

    node: LocalNode
    answered: int = 0
    closed_by_reply: int = 0
    failed: list[str] = field(default_factory=list)
    refused: bool = False

    def run(self) -> None:
        http_config = self.node.config.http
        while not self.refused:
            connection = http.client.HTTPConnection(http_config.host, http_config.port, timeout=20)
            try:
                connection.connect()
            except OSError:
                self.refused = True  # nothing was sent: a client goes to another node
                return
            try:
                self._post_while_open(connection)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
            finally:
                connection.close()

    def _post_while_open(self, connection: http.client.HTTPConnection) -> None:
        while True:
            connection.request("POST", "/score/wine", BODY, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            results = json.load(reply)
            if reply.status != 200 or len(results["results"]) != len(RECORDS):
                self.failed.append(f"{reply.status} {results}")
            self.answered += 1
            if reply.will_close:
                self.closed_by_reply += 1
                return


def readiness(node: LocalNode) -> int:
    """Return the status of the readiness probe, on a new connection; 0 when it is refused."""
    connection = http.client.HTTPConnection(node.config.http.host, node.config.http.port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def phases(node: LocalNode) -> list[tuple[str, str]]:
    """Return the names of the phases that the log tells of, and the time that each one took."""
    lines = (json.loads(line) for line in node.log_tail(100_000).splitlines() if line[:1] == "{")
    told = [(str(line["event"]), str(line.get("took"))) for line in lines]
    return [(name.removeprefix("phase "), took) for name, took in told if name[:6] == "phase "]


@pytest.fixture
def serve(
    local_node: Callable[..., LocalNode],
    write_config: Callable[..., Path],
    publish: Callable[..., Any],
    wine_models: Path,
) -> Callable[[int], LocalNode]:
    """Start a node that serves wines, and gives load balancers time to see that it ends."""

    def start(drain_ms: int) -> LocalNode:
        node = local_node(config=write_config(http={"drain_ms": drain_ms}))
        publish(node, wine_models / "05-mlp.onnx")
        node.wait_until(ready=True)
        return node

    return start


@pytest.mark.parametrize("drain_ms", [0, 1000])
def test_sigterm_under_load_fails_no_request_that_is_in_flight(
    serve: Callable[[int], LocalNode], drain_ms: int
) -> None:
    node = serve(drain_ms)
    clients = [Client(node) for _ in range(CLIENTS)]
    threads = [Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(client.answered > 5 for client in clients), "all are served")
    node.tell_to_end()
    probes = [200]
    while probes[-1] != 0:
        probes.append(readiness(node))
    assert node.stop() == 0
    for thread in threads:
        thread.join(timeout=20)
    print(f"{sum(client.answered for client in clients)} answered; phases: {phases(node)}")
    assert [client.failed for client in clients] == [[]] * CLIENTS
    assert all(client.refused and client.closed_by_reply for client in clients)
    assert probes[-2] == 503 or not drain_ms, "it was not ready while it still listened"
    assert [name for name, _ in phases(node)] == PHASES


def test_a_second_signal_kills_what_is_left(serve: Callable[[int], LocalNode]) -> None:
    node = serve(30_000)
    node.tell_to_end()
    wait_until(lambda: readiness(node) == 503, "it is in its first phase")
    time.sleep(0.35)  # a signal that comes at once is the same one
    os.kill(node.pid, signal.SIGINT)
    assert node.stop(timeout=15) == 128 + signal.SIGINT
    node.wait_gone()
    assert phases(node) == []
