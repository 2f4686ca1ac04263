"""Which policies were in force when the node stopped: a restart decides like before, at once."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import orjson
import structlog

from repertory.actors.messages import SetPolicy
from repertory.actors.sharing import Sharing
from repertory.errors import JournalError
from repertory.journal.shared_snapshots import POLICY, SharedSnapshots
from repertory.journal.snapshot import Snapshot, retired_snapshot
from repertory.journal.snapshots import LoadResult, SnapshotStore

# How long a router that starts waits for shared policies: its own are good enough, mostly.
LOAD_SECONDS = 0.5

_SETTINGS = "settings.json"

log = structlog.get_logger(__name__)


class PolicyStore:
    """Snapshots of policies, beside those of models. The journal is the truth: a loss costs time.

    If `shared` is an URL, copies are there for all hosts: one that was never here, or was away,
    does not serve past a policy until its keeper has read the journal.
    """

    def __init__(self, folder: Path, *, shared: str | None = None) -> None:
        self._store = SnapshotStore(folder)
        self._sharing = Sharing(shared) if shared is not None else None
        self._positions: dict[str, int] = {}

    def load(self, data_types: Iterable[str]) -> Iterator[SetPolicy]:
        """Yield the policies of these data types. Waits for shared ones, but not for long."""
        own = {name: self._own(name) for name in data_types}
        newer = self._newer({name: each.position if each else 0 for name, each in own.items()})
        for name, mine in own.items():
            snapshot = newer.get(name) or mine
            if snapshot is None:
                continue
            self._positions[name] = snapshot.position
            if name in newer:
                self._write(snapshot)
            else:
                self._share(snapshot)
            if not snapshot.retired:
                settings = snapshot.files[_SETTINGS].decode()
                yield SetPolicy(name, snapshot.position, settings, snapshot.since_ms)

    def save(self, policy: SetPolicy) -> None:
        """Remember a policy, or that there is none, unless that is known."""
        if self._positions.get(policy.data_type, 0) >= policy.position:
            return
        snapshot = _snapshot(policy)
        if self._write(snapshot):
            self._positions[policy.data_type] = policy.position
        self._share(snapshot)

    def _own(self, name: str) -> Snapshot | None:
        try:
            found = self._store.load(name)
        except JournalError as error:
            log.error("the snapshot of a policy cannot be read", why=str(error))
            return None
        _log_faults(found)
        return found.snapshot

    def _newer(self, positions: Mapping[str, int]) -> Mapping[str, Snapshot]:
        """Return the shared policies of higher positions than these."""
        if self._sharing is None:
            return {}

        def load(store: SharedSnapshots) -> Mapping[str, Snapshot]:
            found = {
                name: store.load(name, POLICY, after=position)
                for name, position in positions.items()
            }
            for each in found.values():
                _log_faults(each)
            return {name: each.snapshot for name, each in found.items() if each.snapshot}

        asked = self._sharing.ask(load)
        try:
            return asked.result(timeout=LOAD_SECONDS)
        except (JournalError, TimeoutError) as error:
            asked.cancel()
            log.warning("shared policies are not taken", why=str(error) or "no answer in time")
            return {}

    def _write(self, snapshot: Snapshot) -> bool:
        try:
            self._store.save(snapshot)
        except JournalError as error:
            log.error("a policy could not be noted", why=str(error))
            return False
        return True

    def _share(self, snapshot: Snapshot) -> None:
        if self._sharing is not None:
            name = snapshot.data_type
            self._sharing.keep(name, lambda store: store.save(snapshot, POLICY))


def has_slots(policy: Snapshot) -> bool:
    """Return whether a policy, of which this is the snapshot, leaves nothing to the default slot."""
    return not policy.retired and bool(orjson.loads(policy.files[_SETTINGS]).get("slots"))


def _log_faults(found: LoadResult) -> None:
    for fault in found.faults:
        log.error("the snapshot of a policy is not used", path=fault.path, why=fault.reason)


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
