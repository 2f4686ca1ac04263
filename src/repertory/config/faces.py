"""How records, models and questions come in."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_serializer, model_validator

from repertory.config.data_types import Delivery, ValueFormat
from repertory.config.values import MASK, SECRET, Port, Section, servers


class Kafka(Section):
    """The Kafka face. Without `bootstrap_servers` there is none."""

    bootstrap_servers: Annotated[str, AfterValidator(servers)] | None = None
    """`host:port,…` of the brokers."""
    group_id: str = "repertory"
    """Consumer group of the record topics."""
    models_topic: str = "models"
    """Topic on which models arrive, as ModelDescriptor messages."""
    results_topic: str = "results"
    """Topic that gets a ScoredRecord for each record scored."""
    dead_letters_topic: str = "dead-letters"
    """Topic that gets each record that could not be scored, as it was, and in headers why."""
    mixed_topics: tuple[str, ...] = ()
    """Topics whose records say themselves, by header or field `dataType`, of which type they are."""
    delivery: Delivery = "at-least-once"
    """What is promised for records, unless a data type says otherwise."""
    result_format: ValueFormat = "protobuf"
    """What a result's value is: a ScoredRecord as `protobuf` or as `json`."""
    create_topics: bool = True
    """Create missing topics at start-up."""
    deadline_ms: int = Field(default=30_000, ge=1)
    """How long one attempt to score a batch may take before it is sent again."""
    properties: dict[str, str | int | float | bool] = {}
    """Further librdkafka properties (`security.protocol`, `sasl.username`, …)."""
    password: SecretStr | None = None
    """`sasl.password`; best given as REPERTORY_KAFKA__PASSWORD."""

    @field_serializer("properties")
    def _mask(self, properties: dict[str, Any]) -> dict[str, Any]:
        return {key: MASK if SECRET.search(key) else each for key, each in properties.items()}

    def client_properties(self) -> dict[str, str | int | float | bool]:
        """Return the librdkafka properties of every client: brokers and security."""
        properties = {"bootstrap.servers": self.bootstrap_servers or "", **self.properties}
        if self.password is not None:
            properties["sasl.password"] = self.password.get_secret_value()
        return properties


Role = Literal["read", "score", "publish", "admin"]


class Client(Section):
    """Whoever shows a certificate of some name."""

    role: Role
    """What it may do: `read`, also `score`, also `publish` models and policies, or all (`admin`)."""
    data_types: tuple[str, ...] = ()
    """For which data types; all if empty."""


class HttpTls(Section):
    """TLS of the HTTP face."""

    certificate: Path
    """This node's certificate and those between it and its authority, PEM. `{node}` stands for the
    node's name."""
    key: Path
    """Its private key, PEM. `{node}` stands for the node's name."""
    client_ca: Path | None = None
    """Certificate of the authority that signs those of clients, PEM: mutual TLS."""
    clients: dict[str, Client] = {}
    """What clients may do, by a name in their certificates."""

    @model_validator(mode="after")
    def _clients_have_an_authority(self) -> Self:
        if self.clients and self.client_ca is None:
            raise ValueError("clients are listed, but client_ca is not set")
        return self


class Http(Section):
    """The HTTP face."""

    enabled: bool = True
    """Whether this face runs."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 5500
    """Port to listen on."""
    grpc_port: Port | None = None
    """Port to listen on for gRPC, such as 5501; no gRPC if not set."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes of this face, which share its ports."""
    deadline_ms: int = Field(default=10_000, ge=1)
    """How long a request may wait for its score."""
    drain_ms: int = Field(default=0, ge=0, le=60_000)
    """How long a node that ends still accepts requests, while it says that it is not ready: what a
    load balancer needs to see that."""
    max_body_mb: int = Field(default=64, ge=1)
    """Largest body of a scoring request, and largest message over gRPC, MiB. Uploads of models obey
    `models.max_mb`."""
    tls: HttpTls | None = None
    """TLS, for HTTP and gRPC: `certificate`, `key`, and for mutual TLS `client_ca` and `clients`."""
    insecure: bool = False
    """Whether this face may listen beyond loopback without `tls`: where a proxy or the network encrypts."""
    tokens_file: Path | None = None
    """What `repertory token` writes; `DATA_DIR/tokens.json` if not set. Where there is such a file,
    nobody gets in without a token, or a certificate in `tls.clients`."""
    rate_limit: float | None = Field(default=None, gt=0)
    """Requests a second that one client may send, to each process; no limit if not set."""
    rate_burst: int = Field(default=100, ge=1)
    """Requests that it may send at once before `rate_limit` counts."""

    @property
    def ports(self) -> tuple[tuple[str, int], ...]:
        """The keys and values of the ports that this face listens on."""
        ports = {"http.port": self.port, "http.grpc_port": self.grpc_port}
        return tuple(
            (key, port) for key, port in ports.items() if port is not None and self.enabled
        )
