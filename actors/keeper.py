"""The keeper: the process of a node that keeps its models.

It appends what is published to the journal, follows the journal, has each new version checked in
the green room, and asks the router to put it on stage. It answers what became of each version.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson

from repertory.actors.admission import Admission
from repertory.actors.client import RouterClient
from repertory.actors.follower import RETRY_SECONDS, Follower
from repertory.actors.policies.settings import make_policy, read_settings
from repertory.actors.policy_admission import PolicyAdmission
from repertory.actors.process import NodeProcess, run_process
from repertory.actors.shared_checks import SharedChecks
from repertory.actors.stage_hand import StageHand
from repertory.actors.store import Store
from repertory.actors.submission import build_descriptor
from repertory.actors.troubles import Troubles
from repertory.actors.trust import Trust
from repertory.config import MEBIBYTE
from repertory.errors import (
    InternalError,
    InvalidRequest,
    JournalError,
    ModelRejected,
    PublishRejected,
    RequestFailed,
    Unavailable,
    UnknownDataType,
)
from repertory.journal.catalog import ModelVersion
from repertory.journal.journal import Entry, Journal
from repertory.journal.kafka import KafkaJournal
from repertory.journal.lifecycle import ModelState, PolicyState
from repertory.journal.sqlite import SqliteJournal
from repertory.journal.versions import PolicyVersion
from repertory.models.green_room import GreenRoom
from repertory.models.schema import schema_of
from repertory.protos.policy_pb2 import Policy

# How soon another process's append to the SQLite journal is seen; our own wake the follower.
FOLLOW_SECONDS = 0.25
# A publisher waits for its model this long; a check may take half a minute, and others queue before.
WAIT_SECONDS = 80.0
# … and, once it is admitted here, for owners on other nodes to have it on stage.
OWNERS_SECONDS = 5.0
# Origins of the last appends: a question comes again at once, or not at all.
MOST_ORIGINS = 100


class Keeper:
    """Publishes, admits and lists model versions."""

    def __init__(self, process: NodeProcess) -> None:
        self._config = process.config
        self._paths = process.paths
        self._store = Store(lambda: open_journal(process), process.paths.catalog)
        self._router = RouterClient(process.paths.router_door, role="keeper", answer=self._answer)
        self._trust = Trust(process.config.models)
        self._process = process
        self._troubles = Troubles()
        self._appended = asyncio.Event()
        self._opened = asyncio.Event()  # the catalog, and then
        self._appendable = asyncio.Event()  # the journal, too
        self._appends: dict[str, asyncio.Future[Entry]] = {}
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._done = 0  # position up to which entries were admitted
        self._admission: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()
        self._behind: dict[str, tuple[int, asyncio.Future[str]]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Keep models until `stop` is set."""
        async with self._router:
            tasks = [self._work(), self._troubles.tell(self._router), stop.wait()]
            running = [asyncio.ensure_future(task) for task in tasks]
            done, pending = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            await self._store.close()
            for task in done:
                task.result()

    # --- the journal

    async def _work(self) -> None:
        schemas = {name: schema_of(name, each) for name, each in self._config.data_types.items()}
        await self._open(self._store.open_catalog)
        self._opened.set()
        await self._open(self._store.open_journal)
        self._appendable.set()
        green_room = await asyncio.to_thread(GreenRoom, self._config.models, schemas)
        shared = SharedChecks(self._config.snapshots.url, schemas)
        try:
            stage = StageHand(
                self._paths,
                self._store,
                keep_versions=self._config.models.keep_versions,
                green_room=green_room,
                shared=shared,
                trust=self._trust,
                router=self._router,
            )
            policies = PolicyAdmission(self._config, self._paths, self._store, stage)
            admission = Admission(self._config, self._store, stage, policies)
            self._admission.set_result(admission)
            await self._follow(admission)
        finally:
            await asyncio.to_thread(green_room.close)
            await shared.close()

    async def _open(self, opening: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await opening()
            except JournalError as error:
                self._troubles.note("the journal", str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._troubles.note("the journal", None)
                return

    async def _follow(self, admission: Admission) -> None:
        kind = self._config.journal.kind
        self._done = await self._store.run(lambda: self._store.catalog.processed(kind))
        follower = Follower(lambda: open_journal(self._process), self._troubles)
        try:
            await self._follow_with(follower, admission, kind)
        finally:
            await follower.close()

    async def _follow_with(self, follower: Follower, admission: Admission, kind: str) -> None:
        incarnation = None
        while True:
            await self._router.connected.wait()
            if self._router.welcome and self._router.welcome.incarnation != incarnation:
                incarnation = self._router.welcome.incarnation
                if not await admission.restage(None):
                    incarnation = None  # it is tried again, with the next entries
            await self._catch_up(admission)
            entries = await follower.read(self._done)
            for entry in entries:
                await self._admit(admission, entry, kind)
            if not entries:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FOLLOW_SECONDS):
                        await self._appended.wait()
                self._appended.clear()

    async def _catch_up(self, admission: Admission) -> None:
        """Try again to stage what other nodes serve, and this one does not."""
        for data_type, (position, answer) in list(self._behind.items()):
            del self._behind[data_type]
            if position > self._done:
                why = f"the journal was read up to {self._done}, not yet to {position}"
            else:
                why = await admission.catch_up(data_type, position)
            if not answer.done():
                answer.set_result(why)

    async def _admit(self, admission: Admission, entry: Entry, kind: str) -> None:
        catalog = self._store.catalog
        while True:
            try:
                await admission.admit(entry)
                await self._store.run(lambda: catalog.mark_processed(kind, entry.position))
                break
            except JournalError as error:
                self._troubles.note(f"entry {entry.position}", str(error))
                await asyncio.sleep(RETRY_SECONDS)
        self._troubles.note(f"entry {entry.position}", None)
        self._done = entry.position
        for waiting in self._waiting.pop(entry.position, []):
            if not waiting.done():
                waiting.set_result(None)

    # --- questions

    async def _answer(self, subject: str, data: dict[str, Any]) -> dict[str, Any]:
        changes = {
            "publish": self._publish,
            "retire": self._retire,
            "rollback": self._roll_back,
            "policy": self._set_policy,
            "policy_rollback": self._roll_policy_back,
        }
        catching_up = {"restage": self._stage_gained, "catch_up": self._note_behind}
        if subject in catching_up:
            return await catching_up[subject](data)
        histories = {"versions": self._versions, "policies": self._policies}
        if subject in histories:
            await self._until(self._opened)
            return await histories[subject](data)
        if subject not in changes:
            raise InternalError(f"the keeper does not answer {subject!r}")
        await self._until(self._appendable)
        self._refuse_in_trouble()  # what was appended now could be lost, or wait for long
        return await changes[subject](data)

    async def _until(self, opened: asyncio.Event) -> None:
        while not opened.is_set():
            self._refuse_in_trouble()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW_SECONDS):
                    await opened.wait()

    def _refuse_in_trouble(self) -> None:
        if self._troubles:
            raise Unavailable(f"the journal is in trouble: {self._troubles}")

    async def _publish(self, data: dict[str, Any]) -> dict[str, Any]:
        # The asker removes its files once it has an answer: a question may come twice.
        descriptor = await asyncio.to_thread(build_descriptor, data, self._config)
        data_type = descriptor.dataType
        self._check_data_type(data_type)
        serialised = descriptor.SerializeToString()
        origin, journal = _origin(data), self._store.journal
        entry = await self._append(
            origin, lambda: journal.append(data_type, serialised, origin=origin)
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
        try:
            self._trust.refuse_untrusted(model)
        except ModelRejected as error:
            raise PublishRejected(error.reason) from error
        policy = await self._store.run(lambda: self._store.catalog.policy_in_force(data_type))
        if policy is not None:
            _refuse_off_stage(model, policy)
        journal = self._store.journal
        entry = await self._append(_origin(data), lambda: journal.roll_back(data_type, version))
        return await self._finished(entry, wait=True, name=model.name)

    async def _retire(self, data: dict[str, Any]) -> dict[str, Any]:
        data_type = str(data.get("data_type"))
        self._check_data_type(data_type)
        origin, journal = _origin(data), self._store.journal
        entry = await self._append(origin, lambda: journal.retire(data_type, origin=origin))
        if not await self._admitted(entry, wait=bool(data.get("wait", True))):
            return {"dataType": data_type, "state": ModelState.PUBLISHED}
        catalog = self._store.catalog
        retired = await self._store.run(lambda: catalog.retirement(data_type))
        if retired is None or retired.version is None:
            return {"dataType": data_type, "state": ModelState.RETIRED}
        version = retired.version
        return _outcome(await self._store.run(lambda: catalog.get(data_type, version)))

    async def _set_policy(self, data: dict[str, Any]) -> dict[str, Any]:
        data_type, text = str(data.get("data_type")), str(data.get("settings") or "")
        self._check_data_type(data_type)
        if text:
            settings = read_settings(text)
            make_policy(settings)
            text = settings.model_dump_json(by_alias=True, exclude_defaults=True)
        if (version := data.get("supersedes")) is not None:
            await self._refuse_outdated(data_type, version)
        policy = Policy(
            dataType=data_type, description=str(data.get("description") or ""), settings=text
        ).SerializeToString()
        origin, journal = _origin(data), self._store.journal
        entry = await self._append(
            origin, lambda: journal.set_policy(data_type, policy, origin=origin)
        )
        if not await self._admitted(entry, wait=bool(data.get("wait", True))):
            return {
                "dataType": data_type,
                "version": entry.position,
                "state": PolicyState.PUBLISHED,
            }
        catalog, version = self._store.catalog, entry.position
        return _policy(await self._store.run(lambda: catalog.get_policy(data_type, version)))

    async def _refuse_outdated(self, data_type: str, version: int) -> None:
        """Refuse what follows from a policy when somebody has published a later one meanwhile."""
        policies = await self._store.run(lambda: self._store.catalog.policies(data_type))
        later = [
            each.version
            for each in policies
            if each.version > version and each.state is not PolicyState.REJECTED
        ]
        if later:
            raise InvalidRequest(f"policy {max(later)} was published after policy {version}")

    async def _roll_policy_back(self, data: dict[str, Any]) -> dict[str, Any]:
        """Publish the settings of an earlier version again: the history only grows."""
        data_type, version = str(data.get("data_type")), data.get("version")
        self._check_data_type(data_type)
        if not isinstance(version, int) or isinstance(version, bool):
            raise InvalidRequest(f"version must be a whole number, not {version!r}")
        catalog = self._store.catalog
        policy = await self._store.run(lambda: catalog.get_policy(data_type, version))
        if policy.state not in (PolicyState.IN_FORCE, PolicyState.REPLACED):
            raise InvalidRequest(f"policy {version} never was in force: it is {policy.state}")
        description = f"roll back to version {version}"
        return await self._set_policy(
            {**data, "settings": policy.settings, "description": description}
        )

    async def _policies(self, data: dict[str, Any]) -> dict[str, Any]:
        data_type = str(data.get("data_type"))
        self._check_data_type(data_type)
        policies = await self._store.run(lambda: self._store.catalog.policies(data_type))
        return {"dataType": data_type, "policies": list(map(_policy, policies))}

    async def _append(self, origin: str, append: Callable[[], Entry]) -> Entry:
        """Return the new entry, without its bytes; of one origin the same, if asked again."""
        if origin not in self._appends:
            appending = self._store.run(lambda: replace(append(), descriptor=None))
            self._appends[origin] = asyncio.ensure_future(appending)
            if len(self._appends) > MOST_ORIGINS:
                del self._appends[next(iter(self._appends))]
        try:
            entry = await asyncio.shield(self._appends[origin])
        except JournalError as error:
            self._appends.pop(origin, None)
            raise Unavailable(str(error)) from error
        self._appended.set()
        return entry

    async def _admitted(self, entry: Entry, *, wait: bool) -> bool:
        """Return whether an entry is admitted, at once or, if that is to be waited for, later."""
        if entry.position <= self._done:
            return True
        future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(entry.position, []).append(future)
        done, _ = await asyncio.wait((future,), timeout=WAIT_SECONDS if wait else 0)
        return bool(done)

    async def _finished(self, entry: Entry, *, wait: bool, name: str) -> dict[str, Any]:
        """Return what became of an entry, once it is admitted if that is to be waited for."""
        version = entry.rollback_to or entry.position
        if not await self._admitted(entry, wait=wait):
            return {
                "dataType": entry.data_type,
                "name": name,
                "version": version,
                "state": ModelState.PUBLISHED,
            }
        catalog = self._store.catalog
        model = await self._store.run(lambda: catalog.get(entry.data_type, version))
        if wait and self._config.is_cluster and model.state is ModelState.SERVING:
            await self._served(entry)
        return _outcome(model)

    async def _served(self, entry: Entry) -> None:
        """Wait until an owner of the data type, which may be another node, has an entry on stage."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + OWNERS_SECONDS
        while loop.time() < deadline:
            with contextlib.suppress(RequestFailed):
                shard = (await self._router.ask("cluster"))["shards"][entry.data_type]
                if any(position >= entry.position for position in shard["ready"].values()):
                    return
            await asyncio.sleep(FOLLOW_SECONDS / 5)

    async def _stage_gained(self, data: dict[str, Any]) -> dict[str, Any]:
        # At once, and not in turn with the journal: whoever gained them has callers that wait.
        admission = await asyncio.shield(self._admission)
        gained = set(data["data_types"]) & set(self._config.data_types)
        await asyncio.gather(*(admission.restage({name}) for name in gained))
        return {}

    async def _note_behind(self, data: dict[str, Any]) -> dict[str, Any]:
        data_type, position = str(data.get("data_type")), int(data["position"])
        self._check_data_type(data_type)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if (before := self._behind.get(data_type)) is not None:
            before[1].cancel()
        self._behind[data_type] = position, answer
        self._appended.set()
        return {"reason": await answer}

    async def _versions(self, data: dict[str, Any]) -> dict[str, Any]:
        data_type = str(data.get("data_type"))
        self._check_data_type(data_type)
        models = await self._store.run(lambda: self._store.catalog.versions(data_type))
        return {"dataType": data_type, "versions": list(map(self._version, models))}

    def _version(self, model: ModelVersion) -> dict[str, Any]:
        return {
            **_outcome(model),
            "description": model.description,
            "modelType": model.model_type,
            "signedBy": self._trust.signed_by(model),
            "publishedBy": _publisher(model.origin),
            "origin": model.origin,
            "published": model.published_ms,
            "servingSince": model.serving_since_ms,
            "retired": model.retired_ms,
            "history": [
                {"state": step.state, "at": step.at_ms, "reason": step.reason}
                for step in model.history
            ],
        }

    def _check_data_type(self, data_type: str) -> None:
        if data_type not in self._config.data_types:
            known = ", ".join(sorted(self._config.data_types))
            raise UnknownDataType(
                f"no data type {data_type!r} is declared in cluster.yaml; there are: {known}"
            )


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


def _origin(data: dict[str, Any]) -> str:
    return data.get("origin") or f"door/{uuid.uuid4()}"


def _publisher(origin: str | None) -> str | None:
    """Return whose token or certificate an origin names; None when it names none."""
    _, _, who = (origin or "").partition(" ")
    return who or None


def _outcome(model: ModelVersion) -> dict[str, Any]:
    return {
        "dataType": model.data_type,
        "name": model.name,
        "version": model.version,
        "sha256": model.sha256,
        "state": model.state,
        "reason": model.reason,
        **({"slot": model.slot} if model.slot else {}),
    }


def _policy(policy: PolicyVersion) -> dict[str, Any]:
    settings = None
    with contextlib.suppress(orjson.JSONDecodeError):
        settings = orjson.loads(policy.settings) if policy.settings else None
    return {
        "dataType": policy.data_type,
        "version": policy.version,
        "policy": settings.get("policy") if isinstance(settings, dict) else None,
        "settings": settings,
        "state": policy.state,
        "reason": policy.reason,
        "description": policy.description,
        "published": policy.published_ms,
        "decided": policy.decided_ms,
    }


def _refuse_off_stage(model: ModelVersion, policy: PolicyVersion) -> None:
    settings = read_settings(policy.settings)
    names = (*settings.slots, *settings.shadows)
    if settings.slots and model.name not in names:
        raise InvalidRequest(
            f"policy {policy.version} has no slot for version {model.version}, {model.name!r};"
            f" it has {', '.join(names)}"
        )


if __name__ == "__main__":
    run_process("keeper", lambda process, stop: Keeper(process).run(stop))
