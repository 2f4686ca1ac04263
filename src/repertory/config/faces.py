"""How records, models and questions come in."""

from ipaddress import IPv4Network, IPv6Network
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
    grpc_clients: bool = False
    """Whether `clients` counts over gRPC, too. Then everybody needs a certificate there, tokens or
    not: gRPC cannot ask for one without demanding it."""

    @model_validator(mode="after")
    def _clients_have_an_authority(self) -> Self:
        if self.clients and self.client_ca is None:
            raise ValueError("clients are listed, but client_ca is not set")
        if self.grpc_clients and self.client_ca is None:
            raise ValueError("grpc_clients is set, but client_ca is not")
        return self


# Those whose key to verify is not one to sign with.
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class Oidc(Section):
    """Tokens (JWT) of an OpenID provider."""

    issuer: str = Field(min_length=1)
    """Who makes the tokens: their claim `iss`, letter by letter."""
    audience: str = Field(min_length=1)
    """Whom they must be for: one of their claim `aud`."""
    jwks: str | None = None
    """The keys that sign them: a file or an https URL. If not set,
    `ISSUER/.well-known/openid-configuration` says where they are."""
    role_claim: str = Field(default="roles", min_length=1)
    """The claim that tells roles, a list or words of a string; `a.b` is `b` in `a`, unless there is a
    claim of this whole name."""
    roles: dict[str, Role] = Field(min_length=1)
    """What each value of that claim may do; others may do nothing."""
    data_types_claim: str | None = None
    """The claim that tells for which data types, in the same way; `*` is for all, and without it a
    token is for none. If not set, tokens are for all."""
    algorithms: tuple[Algorithm, ...] = Field(
        default=("RS256", "PS256", "ES256", "EdDSA"), min_length=1
    )
    """How they may be signed."""
    leeway_seconds: int = Field(default=30, ge=0, le=300)
    """How far the issuer's clock may be off."""

    @model_validator(mode="after")
    def _keys_are_safe_on_the_way(self) -> Self:
        source = self.issuer if self.jwks is None else self.jwks
        if ("://" in source or self.jwks is None) and not source.startswith("https://"):
            key = "issuer, which is to say where the keys are," if self.jwks is None else "jwks"
            raise ValueError(f"{key} must begin with https://, not be {source!r}")
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
    oidc: Oidc | None = None
    """Tokens of an OpenID provider, beside our own: `issuer`, `audience`, `roles` and more."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of proxies whose `X-Forwarded-For` says who the client is, for limits and logs."""
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
