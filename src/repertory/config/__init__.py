"""The configuration: one cluster.yaml, read once at the edge, overridable from the environment.

Every key can be overridden by a `REPERTORY_` variable, with `__` between levels:
`REPERTORY_HTTP__PORT=8080`, `REPERTORY_KAFKA__BOOTSTRAP_SERVERS=broker:9092`. A list is written as
in YAML, `REPERTORY_MODELS__ROOTS=[/models]`; anything else is taken as it is; nothing is null.
"""

from repertory.config.cluster import ClusterConfig
from repertory.config.data_types import DataType, Delivery, SlotDelay, ValueFormat
from repertory.config.faces import Http, HttpTls, Kafka, Oidc, Role
from repertory.config.nodes import Node, Tls
from repertory.config.paths import NodePaths
from repertory.config.reading import SECTIONS, load_config, parse_config
from repertory.config.stores import Models
from repertory.config.values import MASK, MEBIBYTE, SOCKET_PATH_BYTES, Name, split_feature

__all__ = [
    "MASK",
    "MEBIBYTE",
    "SECTIONS",
    "SOCKET_PATH_BYTES",
    "ClusterConfig",
    "DataType",
    "Delivery",
    "Http",
    "HttpTls",
    "Kafka",
    "Models",
    "Name",
    "Node",
    "NodePaths",
    "Oidc",
    "Role",
    "SlotDelay",
    "Tls",
    "ValueFormat",
    "load_config",
    "parse_config",
    "split_feature",
]
