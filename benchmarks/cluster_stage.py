"""Clusters of one to three nodes on this machine, whole ones, for the benchmark of clusters."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from benchmarks.policies import FILES, MODELS, ROOT
from benchmarks.stream_processes import Processes, below

from repertory.actors.client import RouterClient
from repertory.actors.local_node import LocalNode
from repertory.certificates import CertificateSet, make_certificates
from repertory.streams.devbroker.process import BrokerProcess

NAMES = ("a", "b", "c")
# The fastest of the example's models: what nodes cost shows most beside it.
MODEL = MODELS / FILES["mlp"]
START_SECONDS, STOP_SECONDS = 180.0, 40.0


@dataclass(frozen=True)
class Plan:
    """A cluster to start: so many nodes, and data types of wine that some of them may own."""

    nodes: int
    data_types: Sequence[str]
    owners: Sequence[str] = NAMES
    tls: bool = False

    @property
    def hosts(self) -> dict[str, str]:
        """The addresses by node, each of this machine."""
        return {name: f"127.0.0.{number}" for number, name in enumerate(NAMES[: self.nodes], 11)}


class Stage:
    """A cluster, and a client of each node's door."""

    def __init__(self, nodes: Mapping[str, LocalNode], clients: Mapping[str, RouterClient]) -> None:
        self.nodes = nodes
        self.clients = clients
        self.owners: dict[str, str] = {}  # by data type
        self._processes = Processes(self._pids)

    def cpu_seconds(self) -> float:
        """Return the CPU time of all processes of all nodes so far."""
        return self._processes.cpu_seconds()

    async def forwarded(self) -> int:
        """Return how many batches the nodes have sent to each other so far."""
        answers = [await client.ask("status", local=True) for client in self.clients.values()]
        return sum(sum(answer["forwarded"].values()) for answer in answers)

    async def publish(self, data_type: str) -> None:
        """Have a model journaled. Raises RuntimeError when it is not admitted."""
        node, client = next(iter(self.nodes.values())), next(iter(self.clients.values()))
        spooled = node.paths.spool / data_type
        spooled.write_bytes(MODEL.read_bytes())
        question = {"data_type": data_type, "name": MODEL.stem, "content_file": str(spooled)}
        outcome = await client.ask("publish", timeout=START_SECONDS, **question)
        if outcome["state"] == "REJECTED":
            raise RuntimeError(f"a model of {data_type} is rejected: {outcome}")

    async def wait_whole(self, data_types: Sequence[str]) -> None:
        """Wait until every node knows who serves each data type, and has nothing more to check.

        Raises TimeoutError.
        """
        async with asyncio.timeout(START_SECONDS):
            while not all([await self._is_whole(each, data_types) for each in self.clients]):
                await asyncio.sleep(0.1)
            while not all(self._has_checked(each, data_types) for each in self.nodes.values()):
                await asyncio.sleep(0.1)

    @staticmethod
    def _has_checked(node: LocalNode, data_types: Sequence[str]) -> bool:
        return all(any((node.paths.models / name).glob("*/checked")) for name in data_types)

    async def _is_whole(self, node: str, data_types: Sequence[str]) -> bool:
        answer = await self.clients[node].ask("cluster")
        up = [each for each in answer["members"] if each["state"] == "up" and each["linked"]]
        shards = [answer["shards"][name] for name in data_types]
        if len(up) < len(self.nodes) or any(each["owners"] != [*each["ready"]] for each in shards):
            return False
        owners = (each["owners"][0] for each in shards)
        self.owners = dict(zip(data_types, owners, strict=True))
        return True

    def _pids(self) -> set[int]:
        nodes = self.nodes.values()
        return {pid for node in nodes for pid in node.processes()}.union(
            *(below(node.pid) for node in nodes)
        )


@asynccontextmanager
async def stage(plan: Plan) -> AsyncIterator[Stage]:
    """Start a broker and a fresh cluster that serves a model of each data type; end it all."""
    with (
        TemporaryDirectory(prefix="rb-") as name,
        BrokerProcess(data_dir=Path(name) / "broker", options=["--partitions", "0"]) as broker,
        running(plan, Path(name), broker.bootstrap_servers) as nodes,
    ):
        async with AsyncExitStack() as stack:
            clients = {
                name: await stack.enter_async_context(
                    RouterClient(node.paths.router_door, role="benchmark")
                )
                for name, node in nodes.items()
            }
            for client in clients.values():
                async with asyncio.timeout(START_SECONDS):
                    await client.connected.wait()
            found = Stage(nodes, clients)
            for data_type in plan.data_types:
                await found.publish(data_type)
            await found.wait_whole(plan.data_types)
            yield found


@contextmanager
def running(plan: Plan, folder: Path, brokers: str) -> Iterator[dict[str, LocalNode]]:
    """Run the nodes of a plan, without waiting for them; at the end no process of theirs is left."""
    config = folder / "cluster.yaml"
    config.write_text(json.dumps(document(plan, folder, brokers)))  # JSON is YAML
    nodes = {name: LocalNode(config, node=name, log=folder / f"{name}.log") for name in plan.hosts}
    try:
        for node in nodes.values():
            node.start()
        yield nodes
    finally:
        with ThreadPoolExecutor(len(nodes)) as threads:
            list(threads.map(_end, nodes.values()))


def _end(node: LocalNode) -> None:
    node.stop(STOP_SECONDS)
    node.wait_gone()


def document(plan: Plan, folder: Path, brokers: str) -> dict[str, Any]:
    """Return the cluster.yaml of a plan."""
    example = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    wine = example["data_types"]["wine"] | {"topics": []}
    cluster: dict[str, Any] = {"secret": "known to all nodes here", "handover_ms": 0}
    if plan.tls:
        cluster["tls"] = _certificates(plan, folder / "certificates")
    return {
        "data_dir": str(folder / "data"),
        "nodes": {
            name: {
                "host": host,
                "door_port": _free_port(host),
                "admin_port": _free_port(host),
                "weight": float(name in plan.owners),
            }
            for name, host in plan.hosts.items()
        },
        "http": {"enabled": False},
        "kafka": {"bootstrap_servers": brokers},
        "journal": {"kind": "kafka"},
        "cluster": cluster,
        "data_types": dict.fromkeys(plan.data_types, wine),
    }


def _certificates(plan: Plan, folder: Path) -> dict[str, str]:
    files = CertificateSet(folder)
    list(make_certificates(files, plan.hosts, days=1))
    return {
        "certificate": str(files.certificate("{node}")),
        "key": str(files.key("{node}")),
        "authority": str(files.authority),
    }


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
