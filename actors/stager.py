"""What the keeper has done on stage, and how far that is. Pure.

Of a data type that only other nodes serve there is nothing to do: what is to be on stage is noted
by all nodes, and each owner puts it there itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict

from repertory.actors.cluster import Cluster
from repertory.actors.desk import Desk
from repertory.actors.instructions import BringUp, Keep, Stage
from repertory.actors.messages import (
    ClearStage,
    ModelStaged,
    PolicyFailed,
    PolicySet,
    SetPolicy,
    Shard,
    StageModel,
    StagingFailed,
)
from repertory.actors.shards import ShardActor, Shards, Staging, Update
from repertory.journal.clock import epoch_ms

# What the keeper has done: the message that it is turned into.
UPDATES: Mapping[str, type[Update]] = {
    "stage": StageModel,
    "clear": ClearStage,
    "set_policy": SetPolicy,
}
# The peer that replies go to which nobody waits for.
NOBODY = 0


class Stager:
    """Has actors stage models and policies, and tells the keeper what became of it.

    `front_changed` is called with a data type that another actor answers for from now on.
    """

    def __init__(
        self,
        shards: Shards,
        cluster: Cluster,
        desk: Desk,
        *,
        front_changed: Callable[[str], None],
    ) -> None:
        self._shards = shards
        self._cluster = cluster
        self._desk = desk
        self._front_changed = front_changed

    def restore(self, policy: SetPolicy) -> None:
        """Put a policy in force that was so before a restart. Raises InvalidRequest."""
        actor = self.bring_up(Shard(policy.data_type, is_policy=True))
        actor.staging = Staging(policy, NOBODY, 0, None, answered=True)
        self._put_in_force(policy)

    def stage(self, keeper: int, number: int, message: Update) -> None:
        """Begin what the keeper asks for, of a declared data type."""
        if not self._shards.has(message.data_type):
            fact = {"staged": True, "elsewhere": True, "since_ms": epoch_ms()}
            self._desk.answer(keeper, number, fact)
            return
        if isinstance(message, SetPolicy):
            in_force = self._shards.policies.get(message.data_type)
            older = in_force is not None and in_force.message.position > message.position
            if older or not message.settings:
                if not older:
                    self._put_in_force(message)
                self._desk.answer(keeper, number, {"staged": True})
                return
            shard = Shard(message.data_type, is_policy=True)
        else:
            shard = Shard(message.data_type, message.slot)
        actor = self.bring_up(shard)
        last = actor.staging
        before = last if last is None or last.answered else last.before
        actor.staging = Staging(message, keeper, number, before)
        self._desk.outbox.append(Stage(shard, message))

    def staged(self, fact: ModelStaged | StagingFailed | PolicySet | PolicyFailed) -> None:
        """Take an actor's answer to a staging, and pass it on to the keeper."""
        if isinstance(fact, PolicySet | PolicyFailed):
            shard = Shard(fact.data_type, is_policy=True)
        else:
            shard = Shard(fact.data_type, fact.slot)
        actor = self._shards.actors.get(shard)
        staging = None if actor is None else actor.staging
        if actor is None or staging is None or staging.message.position != fact.position:
            return
        staged = isinstance(fact, ModelStaged | PolicySet)
        staging.acknowledged = True
        if staged and isinstance(staging.message, SetPolicy):
            self._put_in_force(staging.message)
        if not staging.answered:
            staging.answered = True
            self._desk.answer(staging.keeper, staging.number, {"staged": staged, **asdict(fact)})
        if not staged:
            actor.staging = staging.before

    def unacknowledged(self) -> list[Stage]:
        """Return the stagings that no actor has answered yet: they are sent again."""
        return [
            Stage(shard, actor.staging.message)
            for shard, actor in self._shards.actors.items()
            if actor.staging is not None and not actor.staging.acknowledged
        ]

    def bring_up(self, shard: Shard) -> ShardActor:
        """Have an actor for a shard, if there is none."""
        if shard not in self._shards.actors:
            self._desk.outbox.append(BringUp(shard))
        actor = self._shards.add(shard)
        actor.unneeded_since = None
        return actor

    def _put_in_force(self, message: SetPolicy) -> None:
        self._shards.put_in_force(message)
        self._desk.outbox.append(Keep(message))
        if (policy := self._shards.policies.get(message.data_type)) is not None:
            for slot in policy.names:
                self.bring_up(Shard(message.data_type, slot))
        self._front_changed(message.data_type)
