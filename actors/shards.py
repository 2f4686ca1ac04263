"""The actors of a node, by what they are there for, and what is told of them. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from repertory.actors.membership import Standing
from repertory.actors.messages import ClearStage, SetPolicy, Shard, StageModel
from repertory.actors.policies.settings import PolicySettings, read_settings
from repertory.actors.target import Target
from repertory.config import DataType

Update = StageModel | ClearStage | SetPolicy

# What is told of a model to routers, and not to people.
_MERGING = frozenset({"position", "pid"})


@dataclass(slots=True)
class Staging:
    """What an actor was told to do by the keeper, and how far that is."""

    message: Update
    keeper: int
    number: int  # correlation id of the keeper's question
    before: "Staging | None"  # the last one that succeeded: what counts again if this one fails
    answered: bool = False  # the keeper knows what became of it
    acknowledged: bool = False  # by the actor that is there now


@dataclass(slots=True)
class ShardActor:
    """The serving actor of a slot, or the policy actor of a data type."""

    shard: Shard
    target: Target
    config: DataType
    status: dict[str, Any] = field(default_factory=dict)  # what the actor told last
    staging: Staging | None = None
    unneeded_since: float | None = None  # monotonic seconds

    @property
    def serving(self) -> bool:
        """Whether it is there, and has a model."""
        return self.target.peer is not None and self.status.get("model") is not None


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """What stands before the slots of a data type. Slots without a name: the default one."""

    message: SetPolicy
    settings: PolicySettings

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that answer, by rank."""
        return self.settings.slots or ("",)

    @property
    def names(self) -> tuple[str, ...]:
        """The slots that answer and the shadows."""
        return (*self.slots, *self.settings.shadows)


class Shards:
    """All actors of a node's data types: the default slot of each, and what policies ask for.

    Those of `owned` data types are wanted; others are there until they are not needed any more.
    """

    def __init__(self, data_types: Mapping[str, DataType]) -> None:
        self._data_types = data_types
        self.actors: dict[Shard, ShardActor] = {}
        self.policies: dict[str, PolicyInForce] = {}
        self.owned: frozenset[str] = frozenset()
        self.unsettled: set[str] = set()  # the keeper has not told yet what is to be on stage

    def add(self, shard: Shard) -> ShardActor:
        """Have an actor for a shard of a declared data type. Idempotent."""
        if shard not in self.actors:
            config = self._data_types[shard.data_type]
            target = Target(str(shard), window=config.credit)
            self.actors[shard] = ShardActor(shard, target, config)
        return self.actors[shard]

    def front(self, data_type: str) -> ShardActor | None:
        """Return who takes the batches of a data type; None when it is not declared."""
        shard = Shard(data_type, is_policy=data_type in self.policies)
        return self.actors.get(shard)

    def put_in_force(self, message: SetPolicy) -> None:
        """Have a policy, or none, stand before the slots of a data type."""
        before = self.front(message.data_type)
        if message.settings:
            settings = read_settings(message.settings)
            self.policies[message.data_type] = PolicyInForce(message, settings)
        else:
            self.policies.pop(message.data_type, None)
        after = self.front(message.data_type)
        if before is not None and after is not None and before is not after:
            before.target.hand_over(after.target)

    def undeclared(self, data_type: str) -> str | None:
        """Return why there is no such data type; None when there is."""
        if data_type in self._data_types:
            return None
        known = ", ".join(sorted(self._data_types))
        return f"no data type {data_type!r} is declared in cluster.yaml; there are: {known}"

    def config(self, data_type: str) -> DataType:
        """Return how a declared data type is configured."""
        return self._data_types[data_type]

    def has(self, data_type: str) -> bool:
        """Return whether a data type is here: owned, or not given up yet."""
        return data_type in self.owned or self.front(data_type) is not None

    def here(self) -> list[str]:
        """Return the data types that are here."""
        return [name for name in self._data_types if self.has(name)]

    def given_up(self) -> set[str]:
        """Return the data types whose actors are here though another node owns them."""
        return {shard.data_type for shard in self.actors} - self.owned

    def forget(self, data_type: str) -> None:
        """Forget the policy of a data type that has no actors here any more."""
        self.policies.pop(data_type, None)

    def unneeded(self, let_go: Collection[str] = ()) -> Iterator[ShardActor]:
        """Yield the actors that no policy in force, or on its way, asks for, and those of `let_go`."""
        for shard, actor in self.actors.items():
            if shard.data_type in let_go:
                yield actor
            if shard.data_type not in self.owned:
                continue
            policy = self.policies.get(shard.data_type)
            if shard.is_policy:
                if policy is None and (actor.staging is None or actor.staging.answered):
                    yield actor
            elif shard.slot and (policy is None or shard.slot not in policy.names):
                yield actor

    # --- what is told

    def required_without_model(self) -> list[str]:
        """Return the data types that are required, and that nothing serves here."""
        return [
            name
            for name, config in self._data_types.items()
            if config.required and not self.serves(name)
        ]

    def serves(self, data_type: str) -> bool:
        """Return whether a data type has a model here, in one slot that answers at least."""
        return any(actor.serving for actor in self._answering(data_type))

    def standing(self, data_type: str) -> Standing | None:
        """Return how a data type stands here; None: it is not served."""
        policy = self.policies.get(data_type)
        if policy is None:  # a short way, since this is asked for each batch
            front = self.front(data_type)
            if front is None or not front.serving:
                return None
            return Standing(front.status.get("position", 0))
        serving = [actor for actor in self._answering(data_type) if actor.serving]
        if not serving:
            return None
        positions = [actor.status.get("position", 0) for actor in serving]
        return Standing(max(*positions, policy.message.position), has_policy=True)

    def troubles(self) -> list[str]:
        """Return what keeps policies in force from their work."""
        return [
            str(sentence)
            for name in self.policies
            if (front := self.front(name)) is not None
            for sentence in front.status.get("troubles", ())
        ]

    def models_json(self) -> list[dict[str, Any]]:
        """Return the models that serve, by rank, with what merging needs beside."""
        return [
            actor.status["model"]
            | {key: actor.status[key] for key in _MERGING & actor.status.keys()}
            for name in self._data_types
            for actor in self._on_stage(name)
            if actor.serving
        ]

    def status_json(self) -> dict[str, Any]:
        """Return by data type how it does."""
        return {name: self._status(name) for name in self._data_types}

    def _status(self, data_type: str) -> dict[str, Any]:
        front, policy = self.front(data_type), self.policies.get(data_type)
        if front is None:
            return {"serving": False, "owned": False, "waiting": 0, "in_flight": 0}
        status = {
            "serving": self.serves(data_type),
            "owned": data_type in self.owned,
            "waiting": front.target.waiting,
            "in_flight": front.target.flying,
        }
        if policy is None:
            return status | front.status
        actors = self._on_stage(data_type)
        best = next((actor.status for actor in actors if actor.serving), {})
        slots = {actor.shard.slot: {"serving": actor.serving, **actor.status} for actor in actors}
        about = {"name": policy.settings.policy, "version": policy.message.position}
        about |= {"settings": policy.settings.model_dump(mode="json", by_alias=True)}
        return {**status, **best, "policy": {**about, **front.status}, "slots": slots}

    def _answering(self, data_type: str) -> list[ShardActor]:
        policy = self.policies.get(data_type)
        slots = ("",) if policy is None else policy.slots
        return self._there(data_type, slots)

    def _on_stage(self, data_type: str) -> list[ShardActor]:
        policy = self.policies.get(data_type)
        names = ("",) if policy is None else policy.names
        return self._there(data_type, names)

    def _there(self, data_type: str, slots: Iterable[str]) -> list[ShardActor]:
        shards = (Shard(data_type, slot) for slot in slots)
        return [self.actors[shard] for shard in shards if shard in self.actors]
