"""What happens to each entry of the journal: recorded, checked in the green room, put on stage."""

import contextlib
import hashlib
from collections.abc import Collection
from functools import partial

import structlog
from google.protobuf.message import DecodeError

from repertory.actors.policies.settings import read_settings
from repertory.actors.policy_admission import PolicyAdmission
from repertory.actors.stage_hand import StageHand
from repertory.actors.store import Store
from repertory.config import ClusterConfig, Models
from repertory.errors import JournalError, ModelRejected, RequestFailed
from repertory.journal.catalog import ModelVersion, Retirement
from repertory.journal.journal import Entry
from repertory.journal.lifecycle import ModelState
from repertory.models.descriptor import read_descriptor
from repertory.models.green_room import GreenRoomFailed
from repertory.protos.modeldescriptor_pb2 import ModelDescriptor

log = structlog.get_logger(__name__)


class Admission:
    """Takes model versions and policies from the journal to the stage, one after the other."""

    def __init__(
        self, config: ClusterConfig, store: Store, stage: StageHand, policies: PolicyAdmission
    ) -> None:
        self._config = config
        self._store = store
        self._stage = stage
        self._policies = policies

    async def admit(self, entry: Entry) -> None:
        """Do what an entry asks for; the catalog tells what became of it.

        Idempotent: after a crash an entry is admitted again. Raises JournalError: then it is to be
        admitted again.
        """
        if entry.data_type not in self._config.data_types:
            log.warning(
                "an entry of an undeclared data type is skipped",
                data_type=entry.data_type,
                position=entry.position,
                retires=entry.retires,
            )
        elif entry.policy is not None:
            await self._policies.admit(entry, entry.policy)
        elif entry.retires:
            await self._retire(entry)
        elif entry.rollback_to is not None:
            await self._roll_back(entry, entry.rollback_to)
        else:
            assert entry.descriptor is not None
            await self._publish(entry, entry.descriptor)

    async def _publish(self, entry: Entry, descriptor: bytes, *, again: bool = False) -> None:
        catalog, published = self._store.catalog, _describe(entry, self._config.models)
        model = await self._store.run(lambda: catalog.record(published))
        decided = {ModelState.SERVING, ModelState.RETIRED, ModelState.REJECTED}
        if model.state in decided and not again:
            return
        slot = await self._slot_of(model)
        try:
            why = "" if slot is not None else "the policy in force does not name it"
            await self._stage.prepare(model, descriptor, reason=why)
            if slot is not None:
                await self._policies.check_newcomer(model, slot)
        except ModelRejected as error:
            await self._stage.move(model, ModelState.REJECTED, error.reason)
            return
        if slot is not None:
            await self._stage.stage(model, entry.position, slot)

    async def restage(self, data_types: Collection[str] | None) -> bool:
        """Tell a new router, or new actors, what should be on stage; None: all that is here.

        Return whether that was all; if not, the journal was not there to look something up.
        """
        try:
            wanted = await self._stage.here() if data_types is None else data_types
        except RequestFailed:  # that router is gone, and the next one will be told
            return False
        complete = True
        for data_type in wanted:
            try:
                await self._policies.restore(data_type)
                await self._restage(data_type)
            except (ModelRejected, RequestFailed, GreenRoomFailed, JournalError) as error:
                log.error("what served cannot be staged", data_type=data_type, why=str(error))
                complete &= not isinstance(error, JournalError)
        return complete

    async def catch_up(self, data_type: str, position: int) -> str:
        """Have on stage what other nodes have there since `position`; return why that fails, or ''.

        What was rejected here and serves elsewhere is tried again: it may have been for want of
        memory, or time.
        """
        catalog = self._store.catalog
        try:
            entry = await self._store.run(lambda: self._store.journal.get(position))
            if entry is None or entry.descriptor is None:
                await self._policies.restore(data_type)
                await self._restage(data_type)
                return ""
            model = await self._store.run(lambda: catalog.get(data_type, position))
            if model.state is ModelState.REJECTED:
                log.warning("another node serves what was rejected here", why=model.reason)
                await self._publish(entry, entry.descriptor, again=True)
            else:
                await self._restage(data_type)
            model = await self._store.run(lambda: catalog.get(data_type, position))
        except (ModelRejected, RequestFailed, GreenRoomFailed, JournalError) as error:
            return str(error)
        return model.reason if model.state is ModelState.REJECTED else ""

    async def _restage(self, data_type: str) -> None:
        catalog = self._store.catalog
        for wanted in await self._store.run(lambda: catalog.all_on_stage(data_type)):
            model = await self._store.run(partial(catalog.get, data_type, wanted.version))
            await self._stage.prepare_again(model)
            await self._stage.ask_to_stage(model, wanted.position, wanted.slot)
        retired = await self._store.run(lambda: catalog.retirement(data_type))
        if retired is not None:
            await self._clear(retired)

    async def _retire(self, entry: Entry) -> None:
        catalog = self._store.catalog
        wanted = await self._store.run(
            lambda: catalog.retire(entry.data_type, position=entry.position)
        )
        if not isinstance(wanted, Retirement):
            return  # a later entry was admitted before
        try:
            await self._clear(wanted)
        except RequestFailed as error:
            # The router knows, and tells the next serving actor first of all.
            log.warning("a retired model may be on stage", why=str(error))
        log.info("retired", data_type=entry.data_type, version=wanted.version)

    async def _clear(self, retired: Retirement) -> None:
        for slot in await self._policies.slots(retired.data_type):
            await self._stage.ask_to_clear(retired, slot)

    async def _roll_back(self, entry: Entry, version: int) -> None:
        catalog = self._store.catalog
        try:
            model = await self._store.run(lambda: catalog.get(entry.data_type, version))
        except RequestFailed as error:
            log.warning("a roll back to what is not there is skipped", why=str(error))
            return
        if model.state not in (ModelState.RETIRED, ModelState.SERVING):
            log.warning("a roll back to what never served is skipped", version=version)
            return
        slot = await self._slot_of(model)
        if slot is None:
            log.warning("a roll back to what no policy names is skipped", version=version)
            return
        try:
            await self._stage.prepare_again(model)
            await self._policies.check_newcomer(model, slot)
        except ModelRejected as error:
            log.error("a version that served cannot serve again", why=error.reason)
            return
        await self._stage.stage(model, entry.position, slot)

    async def _slot_of(self, model: ModelVersion) -> str | None:
        """Return the slot that a version goes to; None: it stays off the stage."""
        policy = await self._policies.in_force(model.data_type)
        if policy is None:
            return ""
        settings = read_settings(policy.settings)
        if model.name in (*settings.slots, *settings.shadows):
            return model.name
        return None if settings.slots else ""


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
        origin=entry.origin,
        signature=descriptor.signature,
    )
