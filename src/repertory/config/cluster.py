"""The whole of cluster.yaml."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from repertory.config.data_types import DataType
from repertory.config.faces import Http, Kafka
from repertory.config.nodes import Cluster, Node
from repertory.config.stores import Decoy, Journal, Models, Snapshots
from repertory.config.values import ADMIN_PORT, DOOR_PORT, Name, Section
from repertory.errors import ConfigError


class ClusterConfig(Section):
    """The whole of cluster.yaml."""

    data_dir: Path = Path("data")
    """Folder for the journal, models, snapshots and logs; each node has a folder below it."""
    nodes: dict[Name, Node] = {"a": Node()}
    """The hosts, by name."""
    http: Http = Http()
    kafka: Kafka = Kafka()
    journal: Journal = Journal()
    models: Models = Models()
    decoy: Decoy = Decoy()
    snapshots: Snapshots = Snapshots()
    cluster: Cluster = Cluster()
    data_types: dict[Name, DataType] = Field(min_length=1)
    """The data types served, by name."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""

    @model_validator(mode="after")
    def _ports_of_a_cluster(self) -> Self:
        if len(self.nodes) > 1:  # others must know them
            ports = {"door_port": DOOR_PORT, "admin_port": ADMIN_PORT}
            for name, node in self.nodes.items():
                free = {key: port for key, port in ports.items() if not getattr(node, key)}
                self.nodes[name] = node.model_copy(update=free)
        return self

    @model_validator(mode="after")
    def _topics_have_one_use(self) -> Self:
        keys = ("models_topic", "results_topic", "dead_letters_topic")
        uses = [(getattr(self.kafka, key), f"kafka.{key}") for key in keys]
        uses += [(topic, "kafka.mixed_topics") for topic in self.kafka.mixed_topics]
        if self.decoy.topic is not None:
            uses.append((self.decoy.topic, "decoy.topic"))
        for name, data_type in self.data_types.items():
            uses += [(topic, f"data_types.{name}.topics") for topic in data_type.topics]
        seen: dict[str, str] = {}
        for topic, use in uses:
            if topic in seen:
                raise ValueError(f"topic {topic!r} is in both {seen[topic]} and {use}")
            seen[topic] = use
        if self.journal.kind == "kafka" and not self.kafka.bootstrap_servers:
            raise ValueError("journal.kind is kafka, but kafka.bootstrap_servers is not set")
        if self.snapshots.url is not None and self.journal.kind != "kafka":
            raise ValueError(
                "snapshots.url: positions of a node's own journal mean nothing to others; set"
                " journal.kind to kafka"
            )
        if self.decoy.topic is not None and not self.kafka.bootstrap_servers:
            raise ValueError("decoy.topic is set, but kafka.bootstrap_servers is not")
        return self

    @model_validator(mode="after")
    def _nodes_make_a_cluster(self) -> Self:
        for leader in self.cluster.leaders:
            if leader not in self.nodes:
                raise ValueError(f"cluster.leaders: there is no node {leader!r}")
        for name, node in self.nodes.items():
            for each in node.only or ():
                if each not in self.data_types:
                    raise ValueError(f"nodes.{name}.only: there is no data type {each!r}")
        for name, client in (self.http.tls.clients if self.http.tls else {}).items():
            for each in client.data_types:
                if each not in self.data_types:
                    raise ValueError(f"http.tls.clients.{name}: there is no data type {each!r}")
        if not self.is_cluster:
            return self
        if self.journal.kind != "kafka":
            raise ValueError("several nodes need one journal: set journal.kind to kafka")
        if self.cluster.secret is None:
            raise ValueError("several nodes need cluster.secret; set REPERTORY_CLUSTER__SECRET")
        doors: dict[tuple[str, int], str] = {}
        for name, node in self.nodes.items():
            for key, port in (("door_port", node.door_port), ("admin_port", node.admin_port)):
                if other := doors.get((node.host, port)):
                    raise ValueError(f"nodes.{name}.{key}: {node.host}:{port} is {other} already")
                doors[node.host, port] = f"nodes.{name}.{key}"
        return self

    @property
    def is_cluster(self) -> bool:
        """Whether there are several nodes."""
        return len(self.nodes) > 1

    def of_node(self, name: str) -> Self:
        """Return the configuration as this node has it: with the ports and addresses of its own.

        Raises ConfigError when there is no such node.
        """
        if name not in self.nodes:
            raise ConfigError(
                f"no node {name!r} in cluster.yaml; there are: {', '.join(self.nodes)}"
            )
        node = self.nodes[name]
        http = {"host": node.http_host, "port": node.http_port, "grpc_port": node.grpc_port}
        given = {key: value for key, value in http.items() if value is not None}
        return self.model_copy(update={"http": self.http.model_copy(update=given)})
