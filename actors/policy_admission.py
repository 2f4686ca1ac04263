"""What happens to a policy of the journal: checked against the models on stage, put in force."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import orjson
import structlog
from google.protobuf.message import DecodeError

from repertory.actors.batch import JSON, RecordBatch
from repertory.actors.client import RouterClient
from repertory.actors.messages import SetPolicy
from repertory.actors.policies.kinds import CanaryOptions
from repertory.actors.policies.quality_check import check_confidences
from repertory.actors.policies.records import FieldReader
from repertory.actors.policies.settings import PolicySettings, make_policy, read_settings
from repertory.actors.stage_hand import StageHand
from repertory.actors.store import Store
from repertory.config import ClusterConfig, DataType, NodePaths, split_feature
from repertory.errors import InvalidRequest, ModelRejected, RequestFailed
from repertory.journal.catalog import ModelVersion
from repertory.journal.clock import epoch_ms
from repertory.journal.journal import Entry
from repertory.journal.lifecycle import PolicyState
from repertory.journal.versions import DEFAULT_SLOT, PolicyVersion
from repertory.models.green_room import GreenRoomFailed
from repertory.models.model import FeatureKind, Signature
from repertory.models.schema import schema_of
from repertory.protos.loading import load_message
from repertory.protos.policy_pb2 import Policy

# What a model did in service tells more than probes do, once there is so much of it.
ENOUGH_BATCHES = 200
PROBES, PROBE_SECONDS = 200, 10.0

log = structlog.get_logger(__name__)


class PolicyAdmission:
    """Takes policies from the journal into force, one after the other."""

    def __init__(
        self, config: ClusterConfig, paths: NodePaths, store: Store, stage: StageHand
    ) -> None:
        self._config = config
        self._paths = paths
        self._store = store
        self._stage = stage

    async def in_force(self, data_type: str) -> PolicyVersion | None:
        """Return the policy of a data type, or None when there is none."""
        catalog = self._store.catalog
        return await self._store.run(lambda: catalog.policy_in_force(data_type))

    async def slots(self, data_type: str) -> Sequence[str]:
        """Return the slots that a data type has, shadows included."""
        policy = await self.in_force(data_type)
        return _names(None if policy is None else read_settings(policy.settings))

    async def admit(self, entry: Entry, serialised: bytes) -> None:
        """Put a policy in force, or reject it; the catalog tells which. Raises JournalError."""
        catalog, published = self._store.catalog, _describe(entry, serialised)
        policy = await self._store.run(lambda: catalog.record_policy(published))
        if policy.state is not PolicyState.PUBLISHED:
            return
        state, reason = PolicyState.IN_FORCE, ""
        try:
            await self._put_in_force(policy)
        except (RequestFailed, ModelRejected, GreenRoomFailed) as error:
            state, reason = PolicyState.REJECTED, str(error)
            log.warning("a policy is rejected", data_type=entry.data_type, why=reason)
        data_type, version = policy.data_type, policy.version
        await self._store.run(
            lambda: catalog.decide_policy(data_type, version, state, reason=reason)
        )
        if state is PolicyState.IN_FORCE:
            log.info("a policy is in force", data_type=data_type, version=version)
        else:
            await self._trim(data_type)

    async def restore(self, data_type: str) -> None:
        """Tell a new router which policy is in force, or that none is any more."""
        catalog = self._store.catalog
        for policy in await self._store.run(lambda: catalog.policies(data_type)):
            if policy.state is PolicyState.IN_FORCE:
                since = policy.decided_ms or policy.published_ms
                message = SetPolicy(data_type, policy.version, policy.settings, since)
                await self._stage.ask_to_set_policy(message)

    async def check_newcomer(self, model: ModelVersion, slot: str) -> None:
        """Raise ModelRejected when a version cannot stand beside those in the other slots."""
        policy = await self.in_force(model.data_type)
        if policy is None:
            return
        settings = read_settings(policy.settings)
        try:
            models = await self._on_stage(model.data_type, settings)
            await self._check(settings, models | {slot: model})
        except InvalidRequest as error:
            raise ModelRejected(f"policy {policy.version} forbids it: {error}") from error

    # --- putting in force

    async def _put_in_force(self, policy: PolicyVersion) -> None:
        """Do all that has to be done. Raises a RequestFailed when the policy cannot be.

        1. Find a version for each slot. 2. Check that these go together. 3. Stage them, beside what
        serves now. 4. Check that the deadline can be met. 5. Have the router switch. 6. Note it.
        """
        data_type, position = policy.data_type, policy.version
        settings = read_settings(policy.settings) if policy.settings else None
        models = await self._cast(data_type, settings)
        for model in models.values():
            await self._stage.prepare_again(model)
        if settings is not None:
            await self._check(settings, models)
            _check_field(settings, self._config.data_types[data_type])
        staging = (self._stage_one(model, position, slot) for slot, model in models.items())
        since = dict(zip(models, await asyncio.gather(*staging), strict=True))
        if settings is not None:
            await self._check_deadline(data_type, settings)
        await self._stage.ask_to_set_policy(
            SetPolicy(data_type, position, policy.settings, epoch_ms())
        )
        for slot, model in models.items():
            await self._stage.note(model, position, slot, since_ms=since[slot])
        catalog, keep = self._store.catalog, _names(settings)
        why = f"policy {position} has no slot for it"
        await self._store.run(
            lambda: catalog.clear_slots(data_type, keep=keep, position=position, reason=why)
        )

    async def _cast(
        self, data_type: str, settings: PolicySettings | None
    ) -> dict[str, ModelVersion]:
        """Return the version for each slot. Raises InvalidRequest when there is none."""
        catalog = self._store.catalog
        models: dict[str, ModelVersion] = {}
        for slot in _names(settings):
            if slot == DEFAULT_SLOT:
                serving = await self._store.run(lambda: catalog.all_serving(data_type))
                models |= {slot: max(serving, key=lambda each: each.version)} if serving else {}
                continue
            model = await self._store.run(partial(catalog.newest, data_type, slot))
            if model is None:
                versions = await self._store.run(lambda: catalog.versions(data_type))
                known = ", ".join(sorted({each.name for each in versions})) or "none"
                raise InvalidRequest(
                    f"slot {slot!r} has no model: publish one of this name first (there are:"
                    f" {known})"
                )
            models[slot] = model
        return models

    async def _on_stage(self, data_type: str, settings: PolicySettings) -> dict[str, ModelVersion]:
        catalog = self._store.catalog
        serving = await self._store.run(lambda: catalog.all_serving(data_type))
        return {each.slot: each for each in serving if each.slot in _names(settings)}

    async def _check(self, settings: PolicySettings, models: Mapping[str, ModelVersion]) -> None:
        make_policy(settings)
        signatures = {slot: await self._stage.signature(each) for slot, each in models.items()}
        _check_tasks(signatures)
        check_confidences(settings, signatures)

    async def _stage_one(self, model: ModelVersion, position: int, slot: str) -> int | None:
        """Have a version on stage, if it is not yet; return since when, None: it was before."""
        catalog = self._store.catalog
        wanted = await self._store.run(lambda: catalog.on_stage(model.data_type, slot))
        if wanted is not None and wanted.version == model.version:
            return model.serving_since_ms
        answer = await self._stage.ask_to_stage(model, position, slot)
        if not answer["staged"]:
            raise InvalidRequest(f"slot {slot!r}: {answer['reason']}")
        return int(answer["since_ms"])

    async def _trim(self, data_type: str) -> None:
        try:
            await self._stage.ask_to_trim(data_type)
        except RequestFailed as error:
            log.warning("actors of slots may be left over", why=str(error))

    # --- the deadline

    async def _check_deadline(self, data_type: str, settings: PolicySettings) -> None:
        if settings.deadline_ms is None or not settings.slots:
            return
        if data_type not in await self._stage.here():
            return  # its owners measure it
        fallback = settings.slots[-1]
        state = await self._stage.state(data_type, fallback)
        if state["batches"] >= ENOUGH_BATCHES:
            p99, batches = state["percentiles"]["p99"], state["batches"]
        else:
            p99, batches = await self._probe(data_type, fallback), PROBES
        if p99 > settings.deadline_ms:
            raise InvalidRequest(
                f"deadlineMs {settings.deadline_ms:g} cannot be met: the fallback {fallback!r},"
                f" which is ranked last, took {p99:.1f} ms at the 99th percentile of {batches}"
                f" batches; allow {math.ceil(p99 * 1.5)} ms, or rank a faster model last"
            )

    async def _probe(self, data_type: str, slot: str) -> float:
        """Return the 99th percentile (ms) of answers to single records, as a caller sees them."""
        batch = RecordBatch(data_type, [_record(data_type, self._config)], JSON)
        loop = asyncio.get_running_loop()
        taken = []
        door = self._paths.serving_door(data_type, slot)
        async with RouterClient(door, role="keeper") as client:
            async with asyncio.timeout(PROBE_SECONDS):
                await client.connected.wait()
            for _ in range(PROBES):
                start = loop.time()
                await client.score_columns(batch, timeout=PROBE_SECONDS, probe=True)
                taken.append((loop.time() - start) * 1000)
        return float(np.percentile(taken, 99))


def _names(settings: PolicySettings | None) -> tuple[str, ...]:
    if settings is None:
        return (DEFAULT_SLOT,)
    return (*(settings.slots or (DEFAULT_SLOT,)), *settings.shadows)


def _describe(entry: Entry, serialised: bytes) -> PolicyVersion:
    try:
        policy = Policy.FromString(serialised)
    except DecodeError:
        # Not empty, which would mean that there is to be no policy.
        policy = Policy(description="no Policy message", settings="{}")
    return PolicyVersion(
        data_type=entry.data_type,
        version=entry.position,
        settings=policy.settings,
        description=policy.description,
        published_ms=entry.published_ms,
    )


def _check_tasks(signatures: Mapping[str, Signature]) -> None:
    tasks = {slot: signature.task for slot, signature in signatures.items()}
    if len(set(tasks.values())) > 1:
        told = ", ".join(f"{slot or 'the default slot'} {task}" for slot, task in tasks.items())
        raise InvalidRequest(f"the models on stage do not answer the same question: {told}")


def _check_field(settings: PolicySettings, config: DataType) -> None:
    if settings.policy == "canary":
        by = CanaryOptions.model_validate(settings.options).by
        if by is not None:
            FieldReader(load_message(config.message)).check(by)


def _record(data_type: str, config: ClusterConfig) -> bytes:
    """Return a record of this type, as JSON."""
    schema = schema_of(data_type, config.data_types[data_type])
    kinds = {each.name: each.kind for each in schema.features}
    record: dict[str, object] = {}
    for text in config.data_types[data_type].features:
        name, width = split_feature(text)
        is_text = kinds.get(name) is FeatureKind.TEXT
        record[name] = [1.0] * width if width is not None else ("" if is_text else 1.0)
    return orjson.dumps(record)
