"""Nodes on hosts, with a broker that they all reach: what the tests do things to.

`python -m tests.cluster` starts one by hand, and says where its nodes are.
"""

import os
import signal
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson
import yaml
from confluent_kafka.admin import AdminClient, NewTopic
from tests.apache_kafka.server import ApacheKafka
from tests.cluster.hosts import Host, Hosts

from repertory.actors.local_node import LocalNode, wait_until
from repertory.http.tokens import TokenFile, make_token
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor
from repertory.streams.devbroker.process import BrokerProcess
from repertory.streams.publish import publish_model

ROOT = Path(__file__).parent.parent.parent
MODEL = ROOT / "examples" / "wine" / "models" / "05-mlp.onnx"
HTTP_PORT = 5500
PARTITIONS = 3  # of each topic of records: each node's face has one
START_SECONDS = 120.0
STOP_SECONDS = 40.0


@dataclass(frozen=True)
class Kind:
    """What tells the data types of a cluster apart: how many nodes serve them, and the promise."""

    replicas: int
    delivery: str

    def __str__(self) -> str:
        word = {1: "single", 2: "replicated"}.get(self.replicas, f"{self.replicas} replicas")
        return f"{word}, {self.delivery}"


def data_types(replicated: int, single: int = 2) -> dict[str, Kind]:
    """Return data types by name: of each sort half at least once, half exactly once."""
    deliveries = ("at-least-once", "exactly-once")
    kinds = {f"r{each + 1:02}": Kind(2, deliveries[each % 2]) for each in range(replicated)}
    return kinds | {f"s{each + 1:02}": Kind(1, deliveries[each % 2]) for each in range(single)}


class HostedNode(LocalNode):
    """A node on a host."""

    def __init__(self, config: Path, host: Host, *, log: Path) -> None:
        super().__init__(config, node=host.name, log=log)
        self.host = host

    def start(self) -> None:
        """Start the node, without waiting for anything."""
        self._process = self.host.run(self._command, output=self._log)

    @property
    def running(self) -> bool:
        """Whether it was started, and has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End all of its processes at once."""
        self.host.kill()
        self._process = None

    def terminate(self) -> None:
        """Ask it to end, and do not wait."""
        os.kill(self.pid, signal.SIGTERM)

    def post(self, path: str, body: bytes, content_type: str = "application/json") -> Any:
        """Return the JSON that comes of a POST. Raises urllib's errors."""
        headers = {"Content-Type": content_type, **self.headers}
        request = urllib.request.Request(self.url + path, body, headers)
        with urllib.request.urlopen(request, timeout=30) as reply:
            return orjson.loads(reply.read())

    def publish(self, data_type: str, *, wait: bool = True) -> Any:
        """Publish a model over HTTP and return what became of it. Raises urllib's errors."""
        descriptor = ModelDescriptor(
            name=MODEL.stem, dataType=data_type, modeltype=ModelDescriptor.ONNX
        )
        descriptor.data = MODEL.read_bytes()
        path = f"/models?wait={str(wait).lower()}"
        return self.post(path, descriptor.SerializeToString(), "application/x-protobuf")


class Cluster:
    """Nodes by name, one to a host; all know of all, but only those that are started run."""

    def __init__(
        self,
        hosts: Hosts,
        folder: Path,
        *,
        brokers: str,
        kinds: Mapping[str, Kind],
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        self.hosts, self.folder, self.brokers, self.kinds = hosts, folder, brokers, dict(kinds)
        self.config_path = folder / "cluster.yaml"
        self.config_path.write_text(yaml.safe_dump(self._document() | dict(changes or {})))
        secret, token = make_token(("admin",))
        TokenFile(folder / "data" / "tokens.json").add(token)
        self.headers = {"Authorization": f"Bearer {secret}"}
        self.nodes = {
            name: HostedNode(self.config_path, hosts[name], log=folder / f"{name}.log")
            for name in hosts.names
        }
        for node in self.nodes.values():
            node.headers = self.headers
        _create_topics(brokers, [topic_of(each) for each in kinds])

    def _document(self) -> dict[str, Any]:
        example = yaml.safe_load((ROOT / "cluster.yaml").read_text())
        wine = example["data_types"]["wine"]
        addresses = {name: self.hosts[name].address for name in self.hosts.names}
        return {
            "data_dir": str(self.folder / "data"),
            "nodes": {
                name: {"host": address, "http_host": address, "http_port": HTTP_PORT}
                for name, address in addresses.items()
            },
            "http": {"insecure": True},
            "kafka": {"bootstrap_servers": self.brokers},
            "journal": {"kind": "kafka"},
            "cluster": {"secret": "known to all nodes of the tests"},
            "data_types": {
                name: wine
                | {"topics": [topic_of(name)]}
                | {"replicas": kind.replicas, "delivery": kind.delivery}
                for name, kind in self.kinds.items()
            },
        }

    @property
    def running(self) -> list[HostedNode]:
        """The nodes that run, by the names' order."""
        return [node for node in self.nodes.values() if node.running]

    def start(self, *names: str) -> None:
        """Start nodes, and wait until all data types are served wherever they should be."""
        for name in names:
            self.nodes[name].start()
        self.wait_whole()

    def publish_all(self) -> None:
        """Publish a model of each data type over Kafka."""
        for name in self.kinds:
            publish_model(MODEL, bootstrap_servers=self.brokers, data_type=name)

    def wait_whole(self, seconds: float = START_SECONDS, *, same: bool = False) -> None:
        """Wait until the nodes that run agree who serves what, and these are ready.

        With `same`, of the same versions, too: while models are published, they hardly ever are.
        Raises TimeoutError, with what is amiss.
        """
        try:
            wait_until(lambda: not self.amiss(same=same), "the cluster is whole", seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.amiss(same=same)}; see {self.folder}") from error

    def amiss(self, *, same: bool = False) -> str:
        """Return why the cluster is not whole; empty if it is."""
        names = [node.host.name for node in self.running]
        for node in self.running:
            try:
                answer = node.get("/cluster")
            except OSError as error:
                return f"{node.host.name} does not answer: {error}"
            if fault := _fault(answer, names, self.kinds) or (same and _difference(answer)):
                return f"{node.host.name} says that {fault}"
        return ""

    def set_right(self, *names: str) -> None:
        """Have these nodes run, and no others, on hosts to which nothing is done any more."""
        self.hosts.set_right()
        for name, node in self.nodes.items():
            if node.running and name not in names:
                node.stop(STOP_SECONDS)
            elif not node.running and name in names:
                node.kill()  # what may be left
                node.start()
        try:
            self.wait_whole(30, same=True)
        except TimeoutError:  # one test that fails is enough
            for name in names:
                self.nodes[name].kill()
            self.start(*names)

    def positions(self, data_type: str) -> dict[str, int]:
        """Return the journal positions of a data type's models, by the nodes that run and serve it."""
        found: dict[str, int] = {}
        for node in self.running:
            found |= node.get("/cluster")["shards"][data_type]["ready"]
        return found

    def close(self) -> None:
        """End all nodes."""
        self.hosts.set_right()
        for node in self.running:
            node.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fault(answer: Any, running: Sequence[str], kinds: Mapping[str, Kind]) -> str:
    up = [each["node"] for each in answer["members"] if each["state"] == "up"]
    if sorted(up) != sorted(running):
        return f"{up} are up, and not {running}"
    for name, kind in kinds.items():
        shard = answer["shards"][name]
        owners = [each for each in shard["owners"] if each in running]
        if len(owners) != min(kind.replicas, len(running)) or owners != shard["owners"]:
            return f"the owners of {name} are {shard['owners']}"
        if missing := set(shard["owners"]) - set(shard["ready"]):
            return f"{missing} are not ready to serve {name}"
    return ""


def _difference(answer: Any) -> str:
    for name, shard in answer["shards"].items():
        if len(set(shard["ready"].values())) != 1:
            return f"{name} is served of different versions: {shard['ready']}"
        if shard["out"]:
            return f"{shard['out']} do not serve {name}"
    return ""


def topic_of(data_type: str) -> str:
    """Return the topic of a data type's records."""
    return f"records-{data_type}"


def _create_topics(brokers: str, topics: Sequence[str]) -> None:
    forever = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    new = [NewTopic(each, PARTITIONS, 1) for each in topics]
    new.append(NewTopic("models", 1, 1, config=forever))
    client = AdminClient({"bootstrap.servers": brokers})
    for done in client.create_topics(new).values():
        done.result()


@contextmanager
def broker(hosts: Hosts, folder: Path, kind: str = "embedded") -> Iterator[str]:
    """Run a broker where all hosts reach it, and yield its `host:port`."""
    if kind == "embedded":
        with BrokerProcess(data_dir=folder, host=hosts.address) as embedded:
            yield embedded.bootstrap_servers
        return
    with ApacheKafka(data_dir=folder, host=hosts.address) as apache:
        yield apache.bootstrap_servers


@contextmanager
def cluster_of(
    names: str,
    folder: Path,
    *,
    kinds: Mapping[str, Kind],
    start: str | None = None,
    kafka: str = "embedded",
    changes: Mapping[str, Any] | None = None,
) -> Iterator[Cluster]:
    """Make hosts of these names (one letter each), and a cluster on them of which some nodes run."""
    with ExitStack() as stack:
        hosts = stack.enter_context(Hosts(names))
        (folder / "broker").mkdir()
        brokers = stack.enter_context(broker(hosts, folder / "broker", kafka))
        cluster = Cluster(hosts, folder, brokers=brokers, kinds=kinds, changes=changes)
        stack.enter_context(cluster)
        cluster.publish_all()
        cluster.start(*(names if start is None else start))
        yield cluster
