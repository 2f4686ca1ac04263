"""The hosts, and what they have in common."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from repertory.config.values import SECRET_CHARACTERS, Name, Port, Section


class Tls(Section):
    """Mutual TLS between routers. `repertory certs` makes a set for development."""

    certificate: Path
    """This node's certificate, PEM. `{node}` stands for the node's name."""
    key: Path
    """Its private key, PEM. `{node}` stands for the node's name."""
    authority: Path
    """Certificate of the authority that signed those of all nodes, PEM."""


class Cluster(Section):
    """What several nodes have in common. Of no use to a single one."""

    secret: SecretStr | None = None
    """What nodes prove to each other that they know; best given as REPERTORY_CLUSTER__SECRET. 16
    characters at least. Needed as soon as there are several nodes."""
    tls: Tls | None = None
    """Certificates for the doors between nodes; without them, these are not encrypted."""
    leaders: tuple[Name, ...] = ()
    """Leader of the Thespian convention, then its standbys, in order; all nodes as they are listed,
    if empty."""
    heartbeat_ms: int = Field(default=500, ge=50)
    """How often a node tells the others that it is there."""
    suspect_ms: int = Field(default=1500, ge=100)
    """A node that is silent for so long is sent nothing any more."""
    down_ms: int = Field(default=5000, ge=200)
    """One that is silent for so long is taken to be gone: others serve what it served."""
    handover_ms: int = Field(default=20_000, ge=0)
    """How long a node that ends waits at most for others to serve what it served; it serves
    meanwhile."""

    spare_actors: int = Field(default=2, ge=0, le=64)
    """Actors that each node has started beside those that serve, for what it may have to take over:
    60 MB each, and a second sooner."""

    @model_validator(mode="after")
    def _patience_grows(self) -> Self:
        if not self.heartbeat_ms < self.suspect_ms < self.down_ms:
            raise ValueError("heartbeat_ms < suspect_ms < down_ms is needed")
        if self.secret is not None and len(self.secret.get_secret_value()) < SECRET_CHARACTERS:
            raise ValueError(f"secret has fewer than {SECRET_CHARACTERS} characters")
        return self


class Node(Section):
    """One host of the cluster."""

    host: str = "127.0.0.1"
    """The one address that the node's actors bind to and advertise."""
    admin_port: Port = 0
    """Port of the Thespian admin; 0: any free port, or 5591 if there are several nodes."""
    door_port: Port = 0
    """Port at which the other nodes' routers come in; 0: 5590. A single node has no such door."""
    http_host: str | None = None
    """Address of this node's HTTP face; `http.host` if not set."""
    http_port: Port | None = None
    """Port of this node's HTTP face; `http.port` if not set."""
    grpc_port: Port | None = None
    """Port of this node's HTTP face for gRPC; `http.grpc_port` if not set."""
    weight: float = Field(default=1.0, ge=0, le=1000)
    """How much it serves: one of twice the weight is given twice as many data types; 0: none."""
    capabilities: dict[Name, bool | str] = {}
    """What it has that data types may need, such as `gpu: true`."""
    only: tuple[str, ...] | None = None
    """The data types that it may serve; all if not set."""
