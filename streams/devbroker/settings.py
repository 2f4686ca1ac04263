"""How the development broker is set up."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class BrokerSettings:
    """All that can be set. The defaults suit one developer's machine."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 0
    """Port to listen on; 0: any free port."""
    advertised_host: str | None = None
    """Name under which clients reach this broker, if that is not `host`."""
    data_dir: Path | None = None
    """Folder for topics and offsets, kept. None: a temporary one, removed on a clean stop."""
    default_partitions: int = 1
    """Partitions of a topic that is created by its first use; 0: topics are not."""
    durable: bool = False
    """Wait for the disk before anything is acknowledged, so that it survives a power failure.
    Without it all that is acknowledged survives the end of the process, however sudden."""
    verify_checksums: bool = True
    """Check the CRC-32C of each batch that is produced (some 3 ms per MiB)."""
    max_request_bytes: int = 100 * _MEBIBYTE
    """A connection that announces a larger request is closed, as Apache Kafka does."""
    max_connections: int = 1000
    """Connections beyond this number are closed at once."""
    initial_rebalance_delay_ms: int = 200
    """How long an empty group waits for further members after its first one came."""
    min_session_timeout_ms: int = 6000
    """Least session timeout that a group's member may ask for."""
    max_transaction_timeout_ms: int = 900_000
    """Largest transaction timeout that a producer may ask for."""
    tick_seconds: float = 0.1
    """How often expired sessions, joins and transactions are looked for."""
    clean_seconds: float = 1.0
    """How often retention and compaction look for something to do."""
    users: Mapping[str, str] = field(default_factory=dict)
    """Passwords by name. If there are any, clients must log in by SASL PLAIN."""
    tls: ssl.SSLContext | None = None
    """Speak TLS, with this server-side context."""
