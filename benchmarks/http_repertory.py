"""A node of a checkout of Repertory that serves the small wine model."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import yaml
from benchmarks.stream_job import environment
from benchmarks.stream_workloads import ROOT
from benchmarks.wine import MODEL

from repertory.actors.local_node import LocalNode
from repertory.http.caller import upload


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody listens at."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextlib.contextmanager
def started(tree: Path, folder: Path, *, grpc: bool = False) -> Iterator[LocalNode]:
    """Run a node as `repertory up` does, with the cluster.yaml of the example.

    Raises RuntimeError, TimeoutError or CallFailed when it does not come to serve.
    """
    folder.mkdir(exist_ok=True)
    document = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    ports = dict(zip(("port", "grpc_port"), free_ports(2 if grpc else 1), strict=False))
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(document | {"data_dir": str(folder / "data"), "http": ports}))
    node = LocalNode(path, log=folder / "contender.log")
    try:
        with environment({"PYTHONPATH": f"{tree / 'src'}:{ROOT}"}):
            node.start()
        node.wait_until(ready=False)
        asyncio.run(upload(node.url, MODEL, {"dataType": "wine", "name": "mlp"}))
        node.wait_until()
        yield node
    finally:
        node.stop()
