"""The actors of a node, by what they are there for, and what is told of them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from repertory.actors.messages import ClearStage, SetPolicy, Shard, StageModel
from repertory.actors.policies.settings import PolicySettings, read_settings
from repertory.actors.target import Target
from repertory.config import DataType

Update = StageModel | ClearStage | SetPolicy


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
    """All actors of a node's data types: the default slot of each, and what policies ask for."""

    def __init__(self, data_types: Mapping[str, DataType]) -> None:
        self._data_types = data_types
        self.actors: dict[Shard, ShardActor] = {}
        self.policies: dict[str, PolicyInForce] = {}
        for name in data_types:
            self.add(Shard(name))

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

    def unneeded(self) -> Iterator[ShardActor]:
        """Yield the actors that no policy in force, or on its way, asks for."""
        for shard, actor in self.actors.items():
            policy = self.policies.get(shard.data_type)
            if shard.is_policy:
                if policy is None and (actor.staging is None or actor.staging.answered):
                    yield actor
            elif shard.slot and (policy is None or shard.slot not in policy.names):
                yield actor

    # --- what is told

    def required_without_model(self) -> list[str]:
        """Return the data types that are required, and that nothing serves."""
        return [
            name
            for name, config in self._data_types.items()
            if config.required and not self.serves(name)
        ]

    def serves(self, data_type: str) -> bool:
        """Return whether a data type has a model, in one slot that answers at least."""
        return any(actor.serving for actor in self._answering(data_type))

    def troubles(self) -> list[str]:
        """Return what keeps policies in force from their work."""
        return [
            str(sentence)
            for name in self.policies
            for sentence in self.actors[Shard(name, is_policy=True)].status.get("troubles", ())
        ]

    def models_json(self) -> list[dict[str, Any]]:
        """Return the models that serve, by rank."""
        return [
            actor.status["model"]
            for name in self._data_types
            for actor in self._on_stage(name)
            if actor.serving
        ]

    def status_json(self) -> dict[str, Any]:
        """Return by data type how it does."""
        return {name: self._status(name) for name in self._data_types}

    def _status(self, data_type: str) -> dict[str, Any]:
        front, policy = self.front(data_type), self.policies.get(data_type)
        assert front is not None
        status = {
            "serving": self.serves(data_type),
            "waiting": front.target.waiting,
            "in_flight": front.target.flying,
        }
        if policy is None:
            return status | front.status
        actors = list(self._on_stage(data_type))
        best = next((actor for actor in actors if actor.serving), actors[0])
        slots = {
            name: {"serving": actor.serving, **actor.status}
            for name, actor in zip(policy.names, actors, strict=True)
        }
        about = {"name": policy.settings.policy, "version": policy.message.position}
        about |= {"settings": policy.settings.model_dump(mode="json", by_alias=True)}
        return {**status, **best.status, "policy": {**about, **front.status}, "slots": slots}

    def _answering(self, data_type: str) -> list[ShardActor]:
        policy = self.policies.get(data_type)
        slots = ("",) if policy is None else policy.slots
        return [self.add(Shard(data_type, slot)) for slot in slots]

    def _on_stage(self, data_type: str) -> list[ShardActor]:
        policy = self.policies.get(data_type)
        names = ("",) if policy is None else policy.names
        return [self.add(Shard(data_type, slot)) for slot in names]
