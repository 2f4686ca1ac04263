"""Prepared models that another node's green room made: they need not be checked once more."""

import asyncio
import hashlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import orjson
import structlog

from repertory import __version__
from repertory.actors.sharing import Sharing
from repertory.errors import JournalError, SnapshotCorrupt
from repertory.journal.catalog import ModelVersion
from repertory.journal.snapshot import Snapshot
from repertory.models.model import Schema
from repertory.models.prepared import CHECKED, load_prepared, save_prepared

# How long a version waits for what others prepared: to check it takes about as long.
TAKE_SECONDS = 5.0
# A store that took longer is not asked for so long: a whole journal may have to be caught up with.
REST_SECONDS = 60.0

log = structlog.get_logger(__name__)


class SharedChecks:
    """Takes prepared models from the snapshots that hosts share, if `url` is set.

    What is taken is of exactly that version and content, whole, and was checked by the same
    version of Repertory against the same schema: that is its `mark`.
    """

    def __init__(self, url: str | None, schemas: Mapping[str, Schema]) -> None:
        self._sharing = Sharing(url) if url is not None else None
        self._schemas = schemas
        self._not_before = 0.0

    def mark(self, data_type: str) -> str:
        """Return what says by whom, and against what, a model of this type is checked here."""
        checked = [__version__, asdict(self._schemas[data_type])]
        return hashlib.sha256(orjson.dumps(checked)).hexdigest()

    async def take(self, model: ModelVersion, folder: Path) -> bool:
        """Put a version's prepared files into `folder`; return whether they were there."""
        snapshot = await self._find(model)
        if snapshot is None:
            return False
        mark = self.mark(model.data_type)
        if snapshot.model_type != model.model_type or snapshot.files.get(CHECKED) != mark.encode():
            return False
        try:
            await asyncio.to_thread(_put, snapshot, folder, mark)
        except (OSError, SnapshotCorrupt) as error:
            log.error("shared prepared files are not used", version=model.version, why=str(error))
            return False
        log.info(
            "prepared files are taken from the shared snapshots: no check",
            data_type=model.data_type,
            version=model.version,
        )
        return True

    async def close(self) -> None:
        """End what is begun."""
        if self._sharing is not None:
            await asyncio.to_thread(self._sharing.close)

    async def _find(self, model: ModelVersion) -> Snapshot | None:
        if self._sharing is None or time.monotonic() < self._not_before:
            return None
        asked = self._sharing.ask(
            lambda store: store.find(model.data_type, model.version, model.sha256)
        )
        try:
            async with asyncio.timeout(TAKE_SECONDS):
                found = await asyncio.wrap_future(asked)
        except (JournalError, TimeoutError):  # the former is in the log
            self._not_before = time.monotonic() + REST_SECONDS
            return None
        for fault in found.faults:
            log.error("a shared snapshot is not used", path=fault.path, why=fault.reason)
        return found.snapshot


def _put(snapshot: Snapshot, folder: Path, mark: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".shared-", dir=folder.parent) as name:
        for file, content in snapshot.files.items():
            (Path(name) / Path(file).name).write_bytes(content)
        save_prepared(load_prepared(Path(name)), folder, checked=mark)
