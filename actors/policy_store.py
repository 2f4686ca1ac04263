"""Which policies were in force when the node stopped: a restart decides like before, at once."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import structlog

from repertory.actors.messages import SetPolicy
from repertory.errors import JournalError
from repertory.journal.snapshot import Snapshot, retired_snapshot
from repertory.journal.snapshots import SnapshotStore

_SETTINGS = "settings.json"

log = structlog.get_logger(__name__)


class PolicyStore:
    """Snapshots of policies, beside those of models. The journal is the truth: a loss costs time."""

    def __init__(self, folder: Path) -> None:
        self._store = SnapshotStore(folder)
        self._positions: dict[str, int] = {}

    def load(self, data_types: Iterable[str]) -> Iterator[SetPolicy]:
        """Yield the policies of these data types."""
        for name in data_types:
            try:
                found = self._store.load(name)
            except JournalError as error:
                log.error("the snapshot of a policy cannot be read", why=str(error))
                continue
            for fault in found.faults:
                log.error("the snapshot of a policy is not used", path=fault.path, why=fault.reason)
            if (snapshot := found.snapshot) is not None and not snapshot.retired:
                settings = snapshot.files[_SETTINGS].decode()
                self._positions[name] = snapshot.position
                yield SetPolicy(name, snapshot.position, settings, snapshot.since_ms)

    def save(self, policy: SetPolicy) -> None:
        """Remember a policy, or that there is none, unless that is known."""
        if self._positions.get(policy.data_type, 0) >= policy.position:
            return
        try:
            self._store.save(_snapshot(policy))
            self._positions[policy.data_type] = policy.position
        except JournalError as error:
            log.error("a policy could not be noted", why=str(error))


def _snapshot(policy: SetPolicy) -> Snapshot:
    if not policy.settings:
        return retired_snapshot(
            policy.data_type, position=policy.position, since_ms=policy.since_ms
        )
    return Snapshot(
        data_type=policy.data_type,
        name="",
        description="",
        model_type="policy",
        version=policy.position,
        sha256="",
        position=policy.position,
        since_ms=policy.since_ms,
        files={_SETTINGS: policy.settings.encode()},
    )
