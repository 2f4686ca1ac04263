"""Where a node keeps its files."""

import hashlib
import os
import tempfile
from pathlib import Path

from repertory.config.cluster import ClusterConfig
from repertory.config.values import SOCKET_PATH_BYTES
from repertory.errors import ConfigError


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

    @property
    def face_figures(self) -> Path:
        """The folder in which several processes of the HTTP face count together."""
        return self.run / "http-figures"

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
