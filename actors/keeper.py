"""The keeper: the process of a node that keeps its models.

It appends what is published to the journal, follows the journal, has each new version checked in
the green room, and asks the router to put it on stage. It answers what became of each version.
"""

import asyncio
import contextlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import structlog
from google.protobuf.message import DecodeError

from repertory.actors.admission import Admission, Store
from repertory.actors.client import RouterClient
from repertory.actors.process import NodeProcess, run_process
from repertory.config import MEBIBYTE, ClusterConfig
from repertory.errors import (
    InternalError,
    InvalidRequest,
    JournalError,
    PublishRejected,
    UnknownDataType,
)
from repertory.journal.catalog import ModelVersion
from repertory.journal.journal import Entry, Journal
from repertory.journal.kafka import KafkaJournal
from repertory.journal.lifecycle import ModelState
from repertory.journal.sqlite import SqliteJournal
from repertory.models.green_room import GreenRoom
from repertory.models.schema import schema_of
from repertory.models.sniff import guess_model_type
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

# How soon another process's append to the SQLite journal is seen; our own wake the follower.
FOLLOW_SECONDS = 0.25
RETRY_SECONDS = 1.0
# A publisher waits for its model this long; a check may take half a minute, and others queue before.
WAIT_SECONDS = 80.0

log = structlog.get_logger(__name__)


class Keeper:
    """Publishes, admits and lists model versions."""

    def __init__(self, process: NodeProcess) -> None:
        self._config = process.config
        self._paths = process.paths
        self._store = Store(lambda: open_journal(process), process.paths.catalog)
        self._router = RouterClient(process.paths.router_door, role="keeper", answer=self._answer)
        self._process = process
        self._appended = asyncio.Event()
        self._opened = asyncio.Event()
        self._waiting: dict[int, list[asyncio.Future[ModelVersion | None]]] = {}
        self._done = 0  # position up to which entries were admitted

    async def run(self, stop: asyncio.Event) -> None:
        """Keep models until `stop` is set."""
        schemas = {name: schema_of(name, each) for name, each in self._config.data_types.items()}
        async with self._router:
            await self._open(stop)
            green_room = await asyncio.to_thread(GreenRoom, self._config.models, schemas)
            admission = Admission(
                self._config,
                self._paths,
                self._store,
                green_room=green_room,
                router=self._router,
            )
            following = asyncio.create_task(self._follow(admission))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((following, stopping), return_when=asyncio.FIRST_COMPLETED)
            for task in (following, stopping):
                task.cancel()
            if following.done() and not following.cancelled():
                following.result()
        await asyncio.to_thread(green_room.close)

    # --- the journal

    async def _open(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._store.open()
                self._opened.set()
                return
            except JournalError as error:
                log.error("the journal cannot be opened; it is tried again", why=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, admission: Admission) -> None:
        kind = self._config.journal.kind
        self._done = await self._store.run(lambda: self._store.catalog.processed(kind))
        reader = ThreadPoolExecutor(1, thread_name_prefix="journal")
        loop = asyncio.get_running_loop()
        journal = await loop.run_in_executor(reader, open_journal, self._process)
        incarnation = None
        while True:
            await self._router.connected.wait()
            if self._router.welcome and self._router.welcome.incarnation != incarnation:
                incarnation = self._router.welcome.incarnation
                await admission.restage()
            entries = await self._read(loop, reader, journal)
            for entry in entries:
                await self._admit(admission, entry, kind)
            if not entries:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._appended.wait(), FOLLOW_SECONDS)
                self._appended.clear()

    async def _read(
        self, loop: asyncio.AbstractEventLoop, reader: ThreadPoolExecutor, journal: Journal
    ) -> list[Entry]:
        try:
            return list(await loop.run_in_executor(reader, journal.read, self._done))
        except JournalError as error:
            log.error("the journal cannot be read; it is tried again", why=str(error))
            await asyncio.sleep(RETRY_SECONDS)
            return []

    async def _admit(self, admission: Admission, entry: Entry, kind: str) -> None:
        model = await admission.admit(entry)
        await self._store.run(lambda: self._store.catalog.mark_processed(kind, entry.position))
        self._done = entry.position
        for waiting in self._waiting.pop(entry.position, []):
            if not waiting.done():
                waiting.set_result(model)

    # --- questions

    async def _answer(self, subject: str, data: dict[str, Any]) -> dict[str, Any]:
        await self._opened.wait()
        if subject == "publish":
            return await self._publish(data)
        if subject == "rollback":
            return await self._roll_back(data)
        if subject == "versions":
            return await self._versions(data)
        raise InternalError(f"the keeper does not answer {subject!r}")

    async def _publish(self, data: dict[str, Any]) -> dict[str, Any]:
        # The asker removes its files once it has an answer: a question may come twice.
        descriptor = await asyncio.to_thread(self._build, data)
        self._check_data_type(descriptor.dataType)
        serialised = descriptor.SerializeToString()
        origin = data.get("origin") or f"door/{uuid.uuid4()}"
        journal = self._store.journal
        entry = await self._store.run(
            lambda: journal.append(descriptor.dataType, serialised, origin=origin)
        )
        return await self._finished(entry, wait=bool(data.get("wait", True)), name=descriptor.name)

    async def _roll_back(self, data: dict[str, Any]) -> dict[str, Any]:
        data_type, version = str(data.get("data_type")), data.get("version")
        self._check_data_type(data_type)
        if not isinstance(version, int) or isinstance(version, bool):
            raise InvalidRequest(f"version must be a whole number, not {version!r}")
        model = await self._store.run(lambda: self._store.catalog.get(data_type, version))
        if model.state not in (ModelState.RETIRED, ModelState.SERVING):
            raise InvalidRequest(f"version {version} never served: it is {model.state}")
        entry = await self._store.run(lambda: self._store.journal.roll_back(data_type, version))
        return await self._finished(entry, wait=True, name=model.name)

    async def _finished(self, entry: Entry, *, wait: bool, name: str) -> dict[str, Any]:
        """Return what became of an entry, once it is admitted if that is to be waited for."""
        self._appended.set()
        version = entry.rollback_to or entry.position
        if entry.position > self._done:
            future = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(entry.position, []).append(future)
            done, _ = await asyncio.wait((future,), timeout=WAIT_SECONDS if wait else 0)
            if not done:
                return {
                    "dataType": entry.data_type,
                    "name": name,
                    "version": version,
                    "state": ModelState.PUBLISHED,
                }
        catalog = self._store.catalog
        model = await self._store.run(lambda: catalog.get(entry.data_type, version))
        return _outcome(model)

    async def _versions(self, data: dict[str, Any]) -> dict[str, Any]:
        data_type = str(data.get("data_type"))
        self._check_data_type(data_type)
        models = await self._store.run(lambda: self._store.catalog.versions(data_type))
        return {"dataType": data_type, "versions": [_version(model) for model in models]}

    def _check_data_type(self, data_type: str) -> None:
        if data_type not in self._config.data_types:
            known = ", ".join(sorted(self._config.data_types))
            raise UnknownDataType(
                f"no data type {data_type!r} is declared in cluster.yaml; there are: {known}"
            )

    def _build(self, data: dict[str, Any]) -> ModelDescriptor:
        """Return the descriptor that a question describes. Raises PublishRejected."""
        if (path := data.get("descriptor_file")) is not None:
            return _parse(_read(Path(path), self._config))
        descriptor = ModelDescriptor(
            name=data.get("name") or "",
            description=data.get("description") or "",
            dataType=data.get("data_type") or "",
        )
        if location := data.get("location"):
            descriptor.location = location
        elif (path := data.get("content_file")) is not None:
            descriptor.data = _read(Path(path), self._config)
        else:
            raise InvalidRequest("there is no model: send a file, data or a location")
        descriptor.modeltype = _model_type(data.get("model_type"), descriptor)
        return descriptor


def open_journal(process: NodeProcess) -> Journal:
    """Open the journal that the configuration names. Raises JournalError."""
    config = process.config
    if config.journal.kind == "sqlite":
        return SqliteJournal(process.paths.journal)
    return KafkaJournal(
        config.kafka.bootstrap_servers or "",
        config.kafka.models_topic,
        config.kafka.client_properties(),
        create_topic=config.kafka.create_topics,
        max_bytes=config.models.max_mb * MEBIBYTE,
    )


def _read(path: Path, config: ClusterConfig) -> bytes:
    size = path.stat().st_size
    if size > (config.models.max_mb + 1) * MEBIBYTE:
        raise PublishRejected(
            f"the model has {size // MEBIBYTE} MiB, more than models.max_mb = "
            f"{config.models.max_mb} allows"
        )
    return path.read_bytes()


def _parse(data: bytes) -> ModelDescriptor:
    try:
        descriptor = ModelDescriptor.FromString(data)
    except DecodeError as error:
        raise PublishRejected(f"this is no ModelDescriptor, or not a whole one: {error}") from error
    if not descriptor.dataType:
        raise PublishRejected("the descriptor has no dataType: is it a ModelDescriptor, and whole?")
    return descriptor


def _model_type(name: str | None, descriptor: ModelDescriptor) -> ModelDescriptor.ModelType:
    if name:
        known = ModelDescriptor.ModelType.keys()
        if name.upper() not in known:
            raise InvalidRequest(f"no modelType {name!r}; there are: {', '.join(known)}")
        return cast(ModelDescriptor.ModelType, ModelDescriptor.ModelType.Value(name.upper()))
    guess = guess_model_type(descriptor.data) if descriptor.data else None
    if guess is None:
        raise PublishRejected(
            "the type of the model cannot be told from its content: say modelType"
        )
    return guess


def _outcome(model: ModelVersion) -> dict[str, Any]:
    return {
        "dataType": model.data_type,
        "name": model.name,
        "version": model.version,
        "sha256": model.sha256,
        "state": model.state,
        "reason": model.reason,
    }


def _version(model: ModelVersion) -> dict[str, Any]:
    return {
        **_outcome(model),
        "description": model.description,
        "modelType": model.model_type,
        "published": model.published_ms,
        "servingSince": model.serving_since_ms,
        "retired": model.retired_ms,
        "history": [
            {"state": step.state, "at": step.at_ms, "reason": step.reason} for step in model.history
        ],
    }


if __name__ == "__main__":
    run_process("keeper", lambda process, stop: Keeper(process).run(stop))
