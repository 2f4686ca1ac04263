"""The configuration: one cluster.yaml, read once at the edge, overridable from the environment.

Every key can be overridden by a `REPERTORY_` variable, with `__` between levels:
`REPERTORY_HTTP__PORT=8080`, `REPERTORY_KAFKA__BOOTSTRAP_SERVERS=broker:9092`. A list is written as
in YAML, `REPERTORY_MODELS__ROOTS=[/models]`; anything else is taken as it is; nothing is null.
"""

import base64
import difflib
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
    model_validator,
)

from repertory.errors import ConfigError

MEBIBYTE = 1024 * 1024
# Longest path that the kernel takes for a UNIX socket.
SOCKET_PATH_BYTES = 107
# Ports that several nodes use if nothing else is said: of doors, and of Thespian's admins.
DOOR_PORT, ADMIN_PORT = 5590, 5591
SECRET_CHARACTERS = 16
PUBLIC_KEY_BYTES = 32  # of Ed25519

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
Name = Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]
Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any free port

# Numbers of one vector feature; what models see of it is as many features.
WIDEST_VECTOR = 65536
_VECTOR = re.compile(r"(\w+)\[([0-9]+)\]", re.ASCII)

_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_SECRET = re.compile(r"password|secret|token|\.pem|_key$")
MASK = "**********"


def _servers(text: str) -> str:
    servers = [each.strip() for each in text.split(",")]
    for each in servers:
        if _SERVER.fullmatch(each) is None:
            raise ValueError(f"{each!r} is not host:port")
    return ",".join(servers)


def _public_key(text: str) -> str:
    algorithm, _, key = text.partition(":")
    try:
        raw = base64.b64decode(key, validate=True)
    except ValueError:  # no base64, or no ASCII
        raw = b""
    if algorithm != "ed25519" or len(raw) != PUBLIC_KEY_BYTES:
        raise ValueError("not a public key as `repertory sign --new-key` prints it, ed25519:…")
    return text


def _message(text: str) -> str:
    if re.fullmatch(r"[\w.]+:\w+", text) is None:
        raise ValueError("a message is written module:Class")
    return text


def split_feature(text: str) -> tuple[str, int | None]:
    """Return the field that a feature names, and its width if it is a vector: `pixels[784]`.

    Raises ValueError, saying how it is written.
    """
    if "[" not in text and "]" not in text:
        return text, None
    found = _VECTOR.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r}: a vector is written field[width], such as pixels[784]")
    # Digits are counted first: turning millions of them into a number takes minutes.
    width = int(found[2]) if len(found[2]) <= 5 else 0
    if not 1 <= width <= WIDEST_VECTOR:
        raise ValueError(f"{text!r}: the width of a vector is 1 to {WIDEST_VECTOR}")
    return found[1], width


def _distinct(features: tuple[str, ...]) -> tuple[str, ...]:
    fields = [split_feature(each)[0] for each in features]
    for each in fields:
        if fields.count(each) > 1:
            raise ValueError(f"{each!r} is listed {fields.count(each)} times")
    return features


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_section(cls, value: Any) -> Any:
        return {} if value is None else value  # all of its keys are commented out


Delivery = Literal["at-least-once", "exactly-once"]
ValueFormat = Literal["protobuf", "json"]


class SlotDelay(_Section):
    """Slowness on purpose, of the model in a slot."""

    median_ms: float = Field(default=0.0, ge=0)
    """Half of all batches are answered so much later, or less."""
    sigma: float = Field(default=0.0, ge=0, le=10)
    """How heavy the tail is: the standard deviation of the delay's logarithm; 0: none."""
    most_ms: float = Field(default=10_000.0, ge=0)
    """No batch is held up for longer."""
    seed: int = 0
    """Where the series of delays begins."""


class DataType(_Section):
    """What a record is, and how records of this type are served."""

    message: Annotated[str, AfterValidator(_message)]
    """The protobuf message of a record: `module:Class` of a generated module."""
    features: Annotated[tuple[str, ...], AfterValidator(_distinct)] = Field(min_length=1)
    """The record's fields that models see, in the order in which unnamed model inputs take them.
    A repeated field of numbers is declared with its width: `pixels[784]`."""
    topics: tuple[str, ...] = ()
    """Kafka topics whose records are of this type."""
    value_format: ValueFormat = "protobuf"
    """What a record's value is on Kafka: `protobuf`, its message, or `json`, an object of its fields."""
    delivery: Delivery | None = None
    """What is promised for the records of `topics`; `kafka.delivery` if not set."""
    explain: bool = False
    """Whether results on Kafka hold each slot's own answer, where a policy chooses among several."""
    required: bool = True
    """Whether the node is ready only when a model serves this type."""
    replicas: int = Field(default=1, ge=1, le=64)
    """Nodes that serve this type at the same time, as far as there are as many."""
    needs: dict[Name, bool | str] = {}
    """Capabilities that a node must have to serve this type, such as `gpu: true`."""
    max_batch: int = Field(default=1024, ge=1, le=65536)
    """Records scored together at most."""
    max_delay_ms: float = Field(default=5.0, ge=0)
    """How long a record waits for others to share its batch, while the actor is busy."""
    batches_in_flight: int = Field(default=4, ge=1, le=1024)
    """Batches that the Kafka face has scored at the same time, up to `credit`."""
    credit: int = Field(default=64, ge=1, le=4096)
    """Batches of this type that one connection may have in flight."""
    delays: dict[str, SlotDelay] = {}
    """For trying out policies: makes the models in slots slow on purpose (`median_ms`, `sigma`,
    `most_ms`, `seed`)."""


class Kafka(_Section):
    """The Kafka face. Without `bootstrap_servers` there is none."""

    bootstrap_servers: Annotated[str, AfterValidator(_servers)] | None = None
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
        return {key: MASK if _SECRET.search(key) else each for key, each in properties.items()}

    def client_properties(self) -> dict[str, str | int | float | bool]:
        """Return the librdkafka properties of every client: brokers and security."""
        properties = {"bootstrap.servers": self.bootstrap_servers or "", **self.properties}
        if self.password is not None:
            properties["sasl.password"] = self.password.get_secret_value()
        return properties


Role = Literal["read", "score", "publish", "admin"]


class Client(_Section):
    """Whoever shows a certificate of some name."""

    role: Role
    """What it may do: `read`, also `score`, also `publish` models and policies, or all (`admin`)."""
    data_types: tuple[str, ...] = ()
    """For which data types; all if empty."""


class HttpTls(_Section):
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


class Http(_Section):
    """The HTTP face."""

    enabled: bool = True
    """Whether this face runs."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 5500
    """Port to listen on."""
    grpc_port: Port | None = None
    """Port to listen on for gRPC, such as 5501; no gRPC if not set."""
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


class Journal(_Section):
    """Where the log of model updates lives."""

    kind: Literal["sqlite", "kafka"] = "sqlite"
    """`sqlite`: a file of the node. `kafka`: the topic `kafka.models_topic` (one partition)."""


class Decoy(_Section):
    """Where the inputs go that policies with a `decoy` archive. A policy decides whether they do."""

    url: str | None = None
    """A folder for Parquet files, or any fsspec URL (`s3://bucket/decoy`); `DATA_DIR/NODE/archive`
    if neither it nor `topic` is set. Needs `pip install 'repertory[parquet]'`."""
    topic: str | None = None
    """A Kafka topic, instead of Parquet files."""
    spool_mb: int = Field(default=1024, ge=1)
    """What waits for the archive on the node's disk, MiB of each data type; when that is full,
    inputs are served, and not archived."""

    @model_validator(mode="after")
    def _one_archive(self) -> Self:
        if self.url is not None and self.topic is not None:
            raise ValueError("url and topic are both set; an archive is one of them")
        return self


class Models(_Section):
    """What the green room allows."""

    max_mb: int = Field(default=256, ge=1)
    """Largest model content, MiB."""
    roots: tuple[Path, ...] = ()
    """Folders below which a descriptor's `location` may lie. Empty: no location is accepted."""
    trusted_keys: tuple[Annotated[str, AfterValidator(_public_key)], ...] = ()
    """Public keys of those who may sign models, as `repertory sign --new-key` prints them. Empty: no
    model needs a signature. Otherwise each one needs one by one of these keys, or is rejected."""
    check_seconds: float = Field(default=30.0, gt=0)
    """Wall-clock limit of the check of one model."""
    check_memory_mb: int = Field(default=6144, ge=256)
    """Address-space limit of the process that checks a model, MiB."""
    keep_versions: int = Field(default=10, ge=1)
    """Prepared versions of a data type that stay on disk, for roll back at once."""


class Snapshots(_Section):
    """Where snapshots are shared among hosts. Each node keeps its own on disk in any case."""

    url: str | None = None
    """A folder that all hosts see, or any fsspec URL (`s3://bucket/snapshots`): a node that gains a
    data type takes the newest snapshot from there. Not needed: the journal has everything."""


class Tls(_Section):
    """Mutual TLS between routers. `repertory certs` makes a set for development."""

    certificate: Path
    """This node's certificate, PEM. `{node}` stands for the node's name."""
    key: Path
    """Its private key, PEM. `{node}` stands for the node's name."""
    authority: Path
    """Certificate of the authority that signed those of all nodes, PEM."""


class Cluster(_Section):
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


class Node(_Section):
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


class ClusterConfig(_Section):
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


class NodePaths:
    """Where one node keeps its files.

    Sockets live in a folder of their own under the temporary folder, because the path of a UNIX
    socket holds at most 107 bytes.
    """

    def __init__(self, config: ClusterConfig, node: str) -> None:
        self.root = (config.data_dir / node).absolute()
        self.journal = self.root / "journal.sqlite"
        self.catalog = self.root / "catalog.sqlite"
        self.models = self.root / "models"
        self.snapshots = self.root / "snapshots"
        self.spool = self.root / "spool"
        self.decoy = self.root / "decoy"
        self.archive = self.root / "archive"
        self.logs = self.root / "logs"
        self.audit = self.logs / "audit.log"
        self.tokens = (config.http.tokens_file or config.data_dir / "tokens.json").absolute()
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        self.run = Path(tempfile.gettempdir()) / f"repertory-{os.getuid()}-{digest}"

    @property
    def router_door(self) -> Path:
        """The socket on which the router listens."""
        return self.run / "router.sock"

    def serving_door(self, data_type: str, slot: str = "") -> Path:
        """The socket on which the serving actor of a data type's slot listens."""
        return self._socket("serving", f"{data_type}+{slot}" if slot else data_type)

    def policy_door(self, data_type: str) -> Path:
        """The socket on which the policy actor of a data type listens."""
        return self._socket("policy", data_type)

    def snapshots_of(self, slot: str) -> Path:
        """The folder with the snapshots of all data types' slots of this name."""
        # No name of a data type begins with a dot.
        return self.snapshots / ".slots" / slot if slot else self.snapshots

    @property
    def policies(self) -> Path:
        """The folder with the snapshots of policies."""
        return self.snapshots / ".policies"

    def _socket(self, kind: str, name: str) -> Path:
        # The longest name would not fit into the path of a socket.
        short = name if len(name) <= 32 else hashlib.sha256(name.encode()).hexdigest()[:32]
        return self.run / f"{kind}-{short}.sock"

    def create(self) -> None:
        """Create the folders, readable by this user only. Idempotent.

        Raises ConfigError when sockets cannot be in the temporary folder, or it is another's.
        """
        if len(os.fsencode(self.serving_door("x" * 32))) > SOCKET_PATH_BYTES:
            raise ConfigError(f"{self.run} is too long a path for sockets; set TMPDIR=/tmp")
        for folder in (self.root, self.models, self.snapshots, self.spool, self.logs, self.run):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"{folder} cannot be created: {error.strerror}") from error
        if self.run.stat().st_uid != os.getuid():
            raise ConfigError(f"{self.run} belongs to another user; remove it or set TMPDIR")


def load_config(path: Path, environ: Mapping[str, str] | None = None) -> ClusterConfig:
    """Read cluster.yaml and the environment. Raises ConfigError, naming file, key and value."""
    try:
        document = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; --config names another file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path}: a mapping is expected at the top, not {type(document).__name__}"
        )
    variables = {}
    for key, value in (os.environ if environ is None else environ).items():
        if key.startswith("REPERTORY_") and key not in _OTHER_VARIABLES:
            variables[_override(document, key, value)] = key
    return parse_config(document, source=str(path), variables=variables)


def parse_config(
    document: Mapping[str, Any],
    *,
    source: str = "configuration",
    variables: Mapping[tuple[str, ...], str] | None = None,
) -> ClusterConfig:
    """Validate a document. Raises ConfigError, naming source, key and value.

    `variables` tells which keys were taken from which variables of the environment.
    """
    try:
        return ClusterConfig.model_validate(document)
    except ValidationError as error:
        lines = [
            f"{_source(item['loc'], source, variables or {})}: {_fault(item)}"
            for item in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(lines)) from error


def _source(loc: Sequence[object], file: str, variables: Mapping[tuple[str, ...], str]) -> str:
    place = tuple(map(str, loc))
    for key, variable in variables.items():
        shared = min(len(key), len(place))
        if shared and key[:shared] == place[:shared]:
            return variable
    return file


def _fault(item: Any) -> str:
    loc = item["loc"]
    key = ".".join(map(str, loc)) or "top level"
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(loc[-1]), _keys_at(loc[:-1]), n=1, cutoff=0.5)
        return f"{key}: unknown key" + (f"; did you mean {close[0]!r}?" if close else "")
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] in ("model_type", "dict_type"):
        message = "keys and values are expected"
    if not loc or item["type"] == "missing" or _SECRET.search(key):
        return f"{key}: {message}"
    return f"{key}: {message} (got {item['input']!r:.80})"


def _keys_at(loc: Sequence[object]) -> list[str]:
    """Return the keys of the section at a place; `data_types` and `nodes` have one more level."""
    sections: dict[object, type[_Section]] = {
        (): ClusterConfig,
        **{(key,): section for key, section in SECTIONS.items()},
    }
    place = tuple(loc[:1]) if len(loc) == 2 and loc[0] in ("data_types", "nodes") else tuple(loc)
    return list(sections[place].model_fields) if place in sections else []


# The sections of cluster.yaml, by key; of `nodes` and `data_types` there are many, by name.
SECTIONS: dict[str, type[_Section]] = {
    "nodes": Node,
    "http": Http,
    "kafka": Kafka,
    "journal": Journal,
    "models": Models,
    "decoy": Decoy,
    "snapshots": Snapshots,
    "cluster": Cluster,
    "data_types": DataType,
}


# Variables of this prefix that are not keys of the configuration.
_OTHER_VARIABLES = frozenset(
    {
        "REPERTORY_CONFIG",
        "REPERTORY_LIFELINE",
        "REPERTORY_LIFELINE_OWNER",
        "REPERTORY_TEST_KAFKA",
        "REPERTORY_TOKEN",
        "REPERTORY_URL",
        "REPERTORY_WIRE_KEY",
    }
)


def _override(document: dict[str, Any], variable: str, value: str) -> tuple[str, ...]:
    """Put a variable's value in its place in the document, and return that place."""
    place = tuple(variable.removeprefix("REPERTORY_").lower().split("__"))
    for parent in place[:-1]:
        if document.get(parent) is None:
            document[parent] = {}
        document = document[parent]
        if not isinstance(document, dict):
            raise ConfigError(f"{variable}: {parent} is not a section")
    document[place[-1]] = _value(variable, value, secret=bool(_SECRET.search(place[-1])))
    return place


def _value(variable: str, text: str, *, secret: bool) -> Any:
    if not secret and text.startswith(("[", "{")):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"{variable}: {text!r:.80} is not YAML: {error}") from error
    return text or None
