"""Bringing model versions to the stage: prepared files, the router's word, the catalog's note."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from repertory.actors.client import RouterClient
from repertory.actors.messages import ClearStage, SetPolicy, StageModel
from repertory.actors.shared_checks import SharedChecks
from repertory.actors.store import Store
from repertory.actors.trust import Trust
from repertory.config import NodePaths
from repertory.errors import InvalidRequest, ModelRejected, RequestFailed
from repertory.journal.catalog import ModelVersion, Retirement
from repertory.journal.lifecycle import ModelState
from repertory.models.green_room import GreenRoom, GreenRoomFailed
from repertory.models.model import Signature
from repertory.models.prepared import load_prepared, save_prepared

# A serving actor that is being restarted takes a model a second later; one that cannot be brought
# up must not hold up the models of other data types for ever.
STAGE_SECONDS, STAGE_ATTEMPTS = 20.0, 3
GREEN_ROOM_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class StageHand:
    """Prepares versions, has the router stage them, and notes in the catalog what serves."""

    def __init__(
        self,
        paths: NodePaths,
        store: Store,
        *,
        keep_versions: int,
        green_room: GreenRoom,
        shared: SharedChecks,
        trust: Trust,
        router: RouterClient,
    ) -> None:
        self._models = paths.models
        self._store = store
        self._keep_versions = keep_versions
        self._green_room = green_room
        self._shared = shared
        self._trust = trust
        self._router = router

    async def prepare(self, model: ModelVersion, descriptor: bytes, *, reason: str = "") -> None:
        """Have a version checked and compiled; then it is WARM, and why it stays so is `reason`.

        Raises ModelRejected.
        """
        if model.state is not ModelState.WARM:
            await self.move(model, ModelState.LOADING)
        await asyncio.to_thread(self._trust.refuse_untrusted, model, descriptor)
        while True:
            try:
                if not await self._shared.take(model, self._folder(model)):
                    await self._check(model, descriptor)
                break
            except GreenRoomFailed as error:  # not the model's fault
                log.error("the green room failed; it is tried again", why=str(error))
                await asyncio.sleep(GREEN_ROOM_RETRY_SECONDS)
        await self.move(model, ModelState.WARM, reason)

    async def prepare_again(self, model: ModelVersion) -> None:
        """Have the prepared files of a version that was WARM before, from the journal if need be.

        Raises ModelRejected, and JournalError.
        """
        self._trust.refuse_untrusted(model)
        folder = self._folder(model)
        if folder.exists() or await self._shared.take(model, folder):
            return
        entry = await self._store.run(lambda: self._store.journal.get(model.version))
        if entry is None or entry.descriptor is None:
            raise ModelRejected(f"version {model.version} is not in the journal any more")
        await self._check(model, entry.descriptor)

    async def _check(self, model: ModelVersion, descriptor: bytes) -> None:
        admitted = await asyncio.to_thread(self._green_room.prepare, descriptor)
        if admitted.sha256 != model.sha256:  # what is known of it, and signed, is of other content
            raise ModelRejected("what is at the location changed since the model was published")
        mark = self._shared.mark(model.data_type)
        save = partial(save_prepared, admitted.prepared, self._folder(model), checked=mark)
        await asyncio.to_thread(save)

    async def signature(self, model: ModelVersion) -> Signature:
        """Return what a prepared version takes and gives."""
        return (await asyncio.to_thread(load_prepared, self._folder(model))).signature

    async def stage(self, model: ModelVersion, position: int, slot: str) -> ModelVersion:
        """Have a version serve a slot, and return it in its new state; REJECTED if it cannot."""
        try:
            answer = await self.ask_to_stage(model, position, slot)
        except RequestFailed as error:
            answer = {"staged": False, "reason": f"no serving actor took it: {error}"}
        if not answer["staged"]:
            if model.state is ModelState.RETIRED:
                return model
            return await self.move(model, ModelState.REJECTED, answer["reason"])
        serving = await self.note(model, position, slot, since_ms=answer["since_ms"])
        log.info(
            "serving",
            data_type=model.data_type,
            slot=slot,
            model=model.name,
            version=model.version,
        )
        return serving

    async def note(
        self, model: ModelVersion, position: int, slot: str, *, since_ms: int | None
    ) -> ModelVersion:
        """Note that a version serves a slot since then (epoch; None: now), and return it."""
        catalog, data_type, version = self._store.catalog, model.data_type, model.version
        await self._store.run(
            lambda: catalog.put_on_stage(data_type, version, position=position, slot=slot)
        )
        serving = await self._store.run(
            lambda: catalog.move(data_type, version, ModelState.SERVING, slot=slot, at_ms=since_ms)
        )
        count = self._keep_versions
        keep = await self._store.run(lambda: catalog.versions_to_keep(data_type, count))
        await asyncio.to_thread(self._prune, data_type, keep)
        return serving

    async def move(self, model: ModelVersion, state: ModelState, reason: str = "") -> ModelVersion:
        """Take a version to a state in the catalog, and return it."""
        catalog = self._store.catalog
        return await self._store.run(
            lambda: catalog.move(model.data_type, model.version, state, reason=reason)
        )

    # --- what the router is asked

    async def ask_to_stage(self, model: ModelVersion, position: int, slot: str) -> dict[str, Any]:
        """Return whether a serving actor has a version on stage, and since when or why not."""
        message = StageModel(
            data_type=model.data_type,
            position=position,
            version=model.version,
            name=model.name,
            description=model.description,
            model_type=model.model_type,
            sha256=model.sha256,
            folder=str(self._folder(model)),
            slot=slot,
        )
        return await self._ask("stage", asdict(message))

    async def ask_to_clear(self, retired: Retirement, slot: str) -> None:
        """Have a serving actor take its model from the stage."""
        message = ClearStage(retired.data_type, retired.position, retired.at_ms, slot)
        await self._ask("clear", asdict(message))

    async def ask_to_set_policy(self, message: SetPolicy) -> None:
        """Have a policy, or none, decide from now on. Raises InvalidRequest when it cannot."""
        answer = await self._ask("set_policy", asdict(message))
        if not answer["staged"]:
            raise InvalidRequest(answer["reason"])

    async def ask_to_trim(self, data_type: str) -> None:
        """Have the actors ended that no policy names."""
        await self._ask("trim", {"data_type": data_type})

    async def here(self) -> list[str]:
        """Return the data types whose actors are on this node."""
        found: list[str] = (await self._ask("here", {}))["data_types"]
        return found

    async def state(self, data_type: str, slot: str) -> dict[str, Any]:
        """Return how the model in a slot does."""
        return await self._ask("state", {"data_type": data_type, "slot": slot})

    async def _ask(self, subject: str, data: dict[str, Any]) -> dict[str, Any]:
        return await _attempts(lambda: self._router.ask(subject, timeout=STAGE_SECONDS, **data))

    # --- files

    def _folder(self, model: ModelVersion) -> Path:
        return self._models / model.data_type / str(model.version)

    def _prune(self, data_type: str, keep: frozenset[int]) -> None:
        for folder in (self._models / data_type).iterdir():
            if folder.name.isdecimal() and int(folder.name) not in keep:
                shutil.rmtree(folder, ignore_errors=True)


async def _attempts(ask: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    for attempt in range(1, STAGE_ATTEMPTS + 1):
        try:
            return await ask()
        except RequestFailed as error:
            if attempt == STAGE_ATTEMPTS:
                raise
            log.warning("a version is not on stage yet", why=str(error), attempt=attempt)
    raise AssertionError("unreachable")
