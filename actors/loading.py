"""Loads models beside the running one, on a thread of the serving actor, and keeps its snapshots.

An actor must be back in its loop within a tenth of a second; opening a model may take seconds.
"""

import os
import queue
import shutil
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from repertory.actors.messages import ClearStage, StageModel
from repertory.actors.shared_copies import SharedCopies
from repertory.errors import JournalError, ModelRejected, SnapshotCorrupt
from repertory.journal.snapshot import Snapshot, retired_snapshot
from repertory.journal.snapshots import Fault, LoadResult, SnapshotStore
from repertory.models.loader import load_model, warm
from repertory.models.model import Model, ModelBroken
from repertory.models.prepared import load_prepared

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model is open and warm; `since_ms` is set when it comes from a snapshot."""

    update: StageModel
    model: Model
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A model could not be opened, and why."""

    update: StageModel
    reason: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """No model is to serve: a restart will say so, too, or just found it so."""

    update: ClearStage


@dataclass(frozen=True, slots=True)
class Restored:
    """The search for a snapshot is over; `Loaded` or `Cleared` came before if there was one."""

    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SharedFaults:
    """What is wrong with the snapshots that hosts share, from now on; nothing if empty."""

    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Save:
    update: StageModel
    since_ms: int


Result = Loaded | LoadFailed | Cleared | Restored | SharedFaults
_Job = StageModel | ClearStage | _Save | LoadResult | Model | None


class Loader:
    """A thread with a queue. Results come through `results`, and make `fileno` readable.

    Snapshots are in the folder `snapshots`, and if `shared` is an URL, copies of them are there.
    `SharedFaults` may come at any time; and after `Restored` another `Loaded` or `Cleared`, if the
    copies were slow to come and are newer.
    """

    def __init__(
        self, data_type: str, snapshots: Path, *, slot: str = "", shared: str | None = None
    ) -> None:
        self._data_type = data_type
        self._store = SnapshotStore(snapshots)
        self._trouble: tuple[str, ...] = ()
        self._late_faults: tuple[str, ...] = ()
        self._copies: SharedCopies | None = None
        if shared is not None:
            self._copies = SharedCopies(shared, data_type, slot, tell=self._troubled)
        # A restored model is opened from here, and again from here if its engine dies.
        self._restored = snapshots / f".restored-{data_type}"
        self._fetched = snapshots / f".fetched-{data_type}"
        self._jobs: queue.SimpleQueue[_Job | str] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the file that is readable while there are results."""
        return self._wake

    def restore(self) -> None:
        """Begin to load the newest snapshot, one's own or a shared one.

        Gives `Loaded` or `Cleared` if there is one, then `Restored`.
        """
        self._jobs.put("restore")

    def load(self, update: StageModel) -> None:
        """Begin to load a version. Gives `Loaded` or `LoadFailed`."""
        self._jobs.put(update)

    def save(self, update: StageModel, since_ms: int) -> None:
        """Begin to write the snapshot of what is on stage now."""
        self._jobs.put(_Save(update, since_ms))

    def clear(self, update: ClearStage) -> None:
        """Begin to replace the snapshots by a mark that there is no model. Gives `Cleared`."""
        self._jobs.put(update)

    def close_model(self, model: Model) -> None:
        """Close a model that has left the stage."""
        self._jobs.put(model)

    def results(self) -> Iterator[Result]:
        """Yield what is done."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return
        while not self._results.empty():
            yield self._results.get()

    def close(self) -> None:
        """Finish what is queued (the last snapshot, too), and end the thread."""
        self._jobs.put(None)
        if self._copies is not None:
            self._copies.give_up()
        self._thread.join(timeout=5)
        if self._copies is not None:
            self._copies.close()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._do(job)
            except Exception:  # the thread must outlive any one job
                log.exception("a job of the loader failed", data_type=self._data_type)

    def _do(self, job: _Job | str) -> None:
        if isinstance(job, StageModel):
            self._give(self._open(job, Path(job.folder)))
        elif isinstance(job, ClearStage):
            self._clear(job)
        elif isinstance(job, _Save):
            self._save(job)
        elif isinstance(job, str):
            self._restore()
        elif isinstance(job, LoadResult):
            self._late(job)
        elif job is not None:
            job.close()

    def _give(self, result: Result) -> None:
        self._results.put(result)
        os.eventfd_write(self._wake, 1)

    def _open(
        self, update: StageModel, folder: Path, since_ms: int | None = None
    ) -> Loaded | LoadFailed:
        try:
            model = load_model(load_prepared(folder))
            warm(model)
        except (ModelRejected, ModelBroken, SnapshotCorrupt) as error:
            return LoadFailed(update, str(error))
        except Exception as error:  # noqa: BLE001 - engines raise what they like
            return LoadFailed(update, f"{type(error).__name__}: {error}")
        return Loaded(update, model, since_ms)

    def _restore(self) -> None:
        """Give what the newest snapshot has: one's own, or a newer one that is shared and opens.

        The store is asked while one's own is opened, which takes a while, too.
        """
        try:
            found = self._store.load(self._data_type)
        except JournalError as error:
            found = LoadResult(None, (Fault("", str(error), None),))  # the error names the path
        faults = list(_told(found.faults))
        position = found.snapshot.position if found.snapshot else 0
        search = self._copies.search(after=position) if self._copies else None
        result = self._result_of(found.snapshot, self._restored)
        faults += _not_opened(result)
        if search is not None:
            copy = search.wait(late=self._jobs.put, has_other=isinstance(result, Loaded | Cleared))
            newer = self._copy(copy)
            faults += [*_told(copy.faults), *_not_opened(newer)]
            if isinstance(newer, Loaded | Cleared):
                if isinstance(result, Loaded):
                    result.model.close()
                result = newer
        if isinstance(result, Loaded | Cleared):
            self._give(result)
        self._give(Restored(tuple(faults)))
        self._share(position)

    def _late(self, copy: LoadResult) -> None:
        """Give a copy that came when something else was restored already."""
        result = self._copy(copy)
        if isinstance(result, Loaded | Cleared):
            self._give(result)
        self._late_faults = (*_told(copy.faults), *_not_opened(result))
        self._tell_faults()

    def _copy(self, copy: LoadResult) -> Loaded | LoadFailed | Cleared | None:
        """Open a shared snapshot, which is newer than one's own, and if it is good, keep it here."""
        result = self._result_of(copy.snapshot, self._fetched)
        if copy.snapshot is not None and isinstance(result, Loaded | Cleared):
            try:
                self._store.save(copy.snapshot)
            except JournalError as error:
                log.error("a shared snapshot could not be kept", why=str(error))
            log.info(
                "a shared snapshot is taken",
                data_type=self._data_type,
                version=copy.snapshot.version,
                position=copy.snapshot.position,
            )
        return result

    def _result_of(
        self, snapshot: Snapshot | None, folder: Path
    ) -> Loaded | LoadFailed | Cleared | None:
        if snapshot is None:
            return None
        if snapshot.retired:
            return Cleared(ClearStage(self._data_type, snapshot.position, snapshot.since_ms))
        return self._open_snapshot(snapshot, folder)

    def _open_snapshot(self, snapshot: Snapshot, folder: Path) -> Loaded | LoadFailed:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in snapshot.files.items():
            (folder / Path(name).name).write_bytes(content)
        update = StageModel(
            data_type=snapshot.data_type,
            position=snapshot.position,
            version=snapshot.version,
            name=snapshot.name,
            description=snapshot.description,
            model_type=snapshot.model_type,
            sha256=snapshot.sha256,
            folder=str(folder),
        )
        return self._open(update, folder, snapshot.since_ms)

    def _clear(self, update: ClearStage) -> None:
        mark = retired_snapshot(
            update.data_type, position=update.position, since_ms=update.since_ms
        )
        try:
            self._store.save(mark)
        except JournalError as error:
            # The journal still says so: after a restart, until the keeper tells it, it would serve.
            log.error("that a model is retired could not be noted", why=str(error))
        for folder in (self._restored, self._fetched):
            shutil.rmtree(folder, ignore_errors=True)
        self._give(Cleared(update))
        self._share(update.position)

    def _save(self, job: _Save) -> None:
        update = job.update
        try:
            files = {path.name: path.read_bytes() for path in Path(update.folder).iterdir()}
            self._store.save(
                Snapshot(
                    data_type=update.data_type,
                    name=update.name,
                    description=update.description,
                    model_type=update.model_type,
                    version=update.version,
                    sha256=update.sha256,
                    position=update.position,
                    since_ms=job.since_ms,
                    files=files,
                )
            )
        except (OSError, JournalError) as error:
            # The journal still has the version: a restart is slower, and nothing is lost.
            log.error("a snapshot could not be written", version=update.version, why=str(error))
        else:
            self._share(update.position)

    # --- what is shared

    def _share(self, position: int) -> None:
        if self._copies is not None and position:
            self._copies.bring(self._store, position)

    def _troubled(self, trouble: str | None) -> None:
        self._trouble = () if trouble is None else (trouble,)
        self._tell_faults()

    def _tell_faults(self) -> None:
        self._give(SharedFaults((*self._late_faults, *self._trouble)))


def _told(faults: Iterable[Fault]) -> list[str]:
    return [f"{fault.path}: {fault.reason}" if fault.path else fault.reason for fault in faults]


def _not_opened(result: Result | None) -> list[str]:
    if not isinstance(result, LoadFailed):
        return []
    return [f"the snapshot of version {result.update.version}: {result.reason}"]
