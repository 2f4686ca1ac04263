"""What happens to each entry of the journal: recorded, checked in the green room, put on stage."""

import asyncio
import contextlib
import hashlib
import shutil
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import structlog
from google.protobuf.message import DecodeError

from repertory.actors.client import RouterClient
from repertory.actors.messages import ClearStage, StageModel
from repertory.config import ClusterConfig, Models, NodePaths
from repertory.errors import JournalError, ModelRejected, RequestFailed
from repertory.journal.catalog import Catalog, ModelVersion, Retirement
from repertory.journal.journal import Entry, Journal
from repertory.journal.lifecycle import ModelState
from repertory.models.descriptor import read_descriptor
from repertory.models.green_room import GreenRoom, GreenRoomFailed
from repertory.models.prepared import save_prepared
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

T = TypeVar("T")

# A serving actor that is being restarted takes a model a second later; one that cannot be brought
# up must not hold up the models of other data types for ever.
STAGE_SECONDS, STAGE_ATTEMPTS = 20.0, 3
GREEN_ROOM_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Store:
    """Journal and catalog on a thread of their own: their calls block."""

    def __init__(self, open_journal: Callable[[], Journal], catalog: Path) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._open_journal = open_journal
        self._catalog_path = catalog

    async def open_catalog(self) -> None:
        """Open the catalog. Raises JournalError."""
        self.catalog = await self.run(lambda: Catalog(self._catalog_path))

    async def open_journal(self) -> None:
        """Open the journal. Raises JournalError."""
        self.journal = await self.run(self._open_journal)

    async def run(self, function: Callable[[], T]) -> T:
        """Call `function` on the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def close(self) -> None:
        """Close both."""
        await self.run(self.journal.close)
        await self.run(self.catalog.close)
        self._thread.shutdown()


class Admission:
    """Takes model versions from the journal to the stage, one after the other."""

    def __init__(
        self,
        config: ClusterConfig,
        paths: NodePaths,
        store: Store,
        *,
        green_room: GreenRoom,
        router: RouterClient,
    ) -> None:
        self._config = config
        self._models = paths.models
        self._store = store
        self._green_room = green_room
        self._router = router

    async def admit(self, entry: Entry) -> ModelVersion | None:
        """Do what an entry asks for, and return the version it is about, in its last state.

        Idempotent: after a crash an entry is admitted again. None when there is nothing to serve:
        its data type is not declared, or is retired, or it rolls back to what never served. Raises
        JournalError: then it is to be admitted again.
        """
        if entry.data_type not in self._config.data_types:
            log.warning(
                "an entry of an undeclared data type is skipped",
                data_type=entry.data_type,
                position=entry.position,
                retires=entry.retires,
            )
            return None
        if entry.retires:
            await self._retire(entry)
            return None
        if entry.rollback_to is not None:
            return await self._roll_back(entry, entry.rollback_to)
        assert entry.descriptor is not None
        catalog, published = self._store.catalog, _describe(entry, self._config.models)
        model = await self._store.run(lambda: catalog.record(published))
        if model.state in (ModelState.REJECTED, ModelState.SERVING, ModelState.RETIRED):
            return model
        try:
            await self._prepare(model, entry.descriptor)
        except ModelRejected as error:
            return await self._move(model, ModelState.REJECTED, error.reason)
        return await self._stage(model, entry.position)

    async def restage(self) -> bool:
        """Tell a new router, or a new node, what should be on stage.

        Return whether that was all; if not, the journal was not there to look something up.
        """
        complete = True
        for data_type in self._config.data_types:
            try:
                await self._restage(data_type)
            except (ModelRejected, RequestFailed, GreenRoomFailed, JournalError) as error:
                log.error("what served cannot be staged", data_type=data_type, why=str(error))
                complete &= not isinstance(error, JournalError)
        return complete

    async def _restage(self, data_type: str) -> None:
        catalog = self._store.catalog
        wanted = await self._store.run(lambda: catalog.on_stage(data_type))
        if wanted is not None:
            version = wanted.version
            model = await self._store.run(lambda: catalog.get(data_type, version))
            await self._prepare_again(model)
            await self._ask_to_stage(model, wanted.position)
        retired = await self._store.run(lambda: catalog.retirement(data_type))
        if retired is not None:
            await self._ask_to_clear(retired)

    async def _retire(self, entry: Entry) -> None:
        catalog = self._store.catalog
        wanted = await self._store.run(
            lambda: catalog.retire(entry.data_type, position=entry.position)
        )
        if not isinstance(wanted, Retirement):
            return  # a later entry was admitted before
        try:
            await self._ask_to_clear(wanted)
        except RequestFailed as error:
            # The router knows, and tells the next serving actor first of all.
            log.warning("a retired model may be on stage", why=str(error))
        log.info("retired", data_type=entry.data_type, version=wanted.version)

    async def _roll_back(self, entry: Entry, version: int) -> ModelVersion | None:
        catalog = self._store.catalog
        try:
            model = await self._store.run(lambda: catalog.get(entry.data_type, version))
        except RequestFailed as error:
            log.warning("a roll back to what is not there is skipped", why=str(error))
            return None
        if model.state not in (ModelState.RETIRED, ModelState.SERVING):
            log.warning("a roll back to what never served is skipped", version=version)
            return None
        try:
            await self._prepare_again(model)
        except ModelRejected as error:
            log.error("a version that served cannot be prepared again", why=error.reason)
            return model
        return await self._stage(model, entry.position)

    async def _prepare(self, model: ModelVersion, descriptor: bytes) -> None:
        folder = self._folder(model)
        if model.state is not ModelState.WARM:
            await self._move(model, ModelState.LOADING)
        while True:
            try:
                admitted = await asyncio.to_thread(self._green_room.prepare, descriptor)
                break
            except GreenRoomFailed as error:  # not the model's fault
                log.error("the green room failed; it is tried again", why=str(error))
                await asyncio.sleep(GREEN_ROOM_RETRY_SECONDS)
        await asyncio.to_thread(save_prepared, admitted.prepared, folder)
        await self._move(model, ModelState.WARM)

    async def _prepare_again(self, model: ModelVersion) -> None:
        """Have the prepared files of a version that served before, from the journal if need be."""
        folder = self._folder(model)
        if folder.exists():
            return
        entry = await self._store.run(lambda: self._store.journal.get(model.version))
        if entry is None or entry.descriptor is None:
            raise ModelRejected(f"version {model.version} is not in the journal any more")
        descriptor = entry.descriptor
        admitted = await asyncio.to_thread(self._green_room.prepare, descriptor)
        await asyncio.to_thread(save_prepared, admitted.prepared, folder)

    async def _stage(self, model: ModelVersion, position: int) -> ModelVersion:
        try:
            answer = await self._ask_to_stage(model, position)
        except RequestFailed as error:
            answer = {"staged": False, "reason": f"no serving actor took it: {error}"}
        if not answer["staged"]:
            if model.state is ModelState.RETIRED:
                return model
            return await self._move(model, ModelState.REJECTED, answer["reason"])
        catalog = self._store.catalog
        await self._store.run(
            lambda: catalog.put_on_stage(model.data_type, model.version, position=position)
        )
        serving = await self._move(model, ModelState.SERVING, at_ms=answer["since_ms"])
        log.info("serving", data_type=model.data_type, model=model.name, version=model.version)
        await asyncio.to_thread(self._prune, model.data_type, await self._keep(model.data_type))
        return serving

    async def _ask_to_stage(self, model: ModelVersion, position: int) -> dict[str, Any]:
        message = StageModel(
            data_type=model.data_type,
            position=position,
            version=model.version,
            name=model.name,
            description=model.description,
            model_type=model.model_type,
            sha256=model.sha256,
            folder=str(self._folder(model)),
        )
        return await _attempts(
            lambda: self._router.ask("stage", timeout=STAGE_SECONDS, **asdict(message))
        )

    async def _ask_to_clear(self, retired: Retirement) -> None:
        message = ClearStage(retired.data_type, retired.position, retired.at_ms)
        await _attempts(lambda: self._router.ask("clear", timeout=STAGE_SECONDS, **asdict(message)))

    async def _move(
        self, model: ModelVersion, state: ModelState, reason: str = "", at_ms: int | None = None
    ) -> ModelVersion:
        catalog = self._store.catalog
        return await self._store.run(
            lambda: catalog.move(model.data_type, model.version, state, reason=reason, at_ms=at_ms)
        )

    async def _keep(self, data_type: str) -> frozenset[int]:
        count = self._config.models.keep_versions
        catalog = self._store.catalog
        return await self._store.run(lambda: catalog.versions_to_keep(data_type, count))

    def _folder(self, model: ModelVersion) -> Path:
        return self._models / model.data_type / str(model.version)

    def _prune(self, data_type: str, keep: frozenset[int]) -> None:
        for folder in (self._models / data_type).iterdir():
            if folder.name.isdecimal() and int(folder.name) not in keep:
                shutil.rmtree(folder, ignore_errors=True)


def _describe(entry: Entry, limits: Models) -> ModelVersion:
    """Return what the catalog records of an entry; of one that will be rejected, what can be told."""
    serialised = entry.descriptor or b""
    descriptor, digest = ModelDescriptor(), hashlib.sha256(serialised).hexdigest()
    with contextlib.suppress(DecodeError):
        descriptor.MergeFromString(serialised)
    with contextlib.suppress(ModelRejected):
        digest = read_descriptor(serialised, limits).sha256
    known = descriptor.modeltype in ModelDescriptor.ModelType.values()
    return ModelVersion(
        data_type=entry.data_type,
        version=entry.position,
        name=descriptor.name,
        description=descriptor.description,
        model_type=ModelDescriptor.ModelType.Name(descriptor.modeltype) if known else "UNKNOWN",
        sha256=digest,
        published_ms=entry.published_ms,
    )


async def _attempts(ask: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    for attempt in range(1, STAGE_ATTEMPTS + 1):
        try:
            return await ask()
        except RequestFailed as error:
            if attempt == STAGE_ATTEMPTS:
                raise
            log.warning("a version is not on stage yet", why=str(error), attempt=attempt)
    raise AssertionError("unreachable")
