"""All Thespian messages: the control plane of a node.

Each request is sent again until its answer comes, so every receiver is idempotent. Records never
travel here (they go through doors), nor do the bytes of models (they go by folder and digest).
"""

from dataclasses import dataclass
from typing import NamedTuple

from repertory.config import ClusterConfig


@dataclass(frozen=True, slots=True)
class StartRouter:
    """Supervisor → router: begin. Answered by the router's door."""

    config: ClusterConfig
    node: str


class Shard(NamedTuple):  # which is looked up by twice as fast as by a dataclass, for each batch
    """What an actor of a data type is there for: a slot's model, or the policy before its slots.

    The default slot has no name: a data type without a policy has this one only.
    """

    data_type: str
    slot: str = ""
    is_policy: bool = False

    def __str__(self) -> str:
        if self.is_policy:
            return f"the policy of {self.data_type}"
        return f"{self.data_type}/{self.slot}" if self.slot else self.data_type


@dataclass(frozen=True, slots=True)
class StandBy:
    """Router → serving actor: get ready to serve whatever you are told to. Not answered."""


@dataclass(frozen=True, slots=True)
class StartServing:
    """Router → serving or policy actor: begin. Answered by the actor's door.

    A serving actor restores its snapshot first.
    """

    config: ClusterConfig
    node: str
    shard: Shard


@dataclass(frozen=True, slots=True)
class Adopted:
    """Serving or policy actor → router, which has called at its door: you are my router now.

    The sender of this message is the address that the router needs for updates.
    """

    shard: Shard


@dataclass(frozen=True, slots=True)
class StageModel:
    """Router → serving actor: load this version beside the running one, then swap.

    `position` is the journal position that put the version on stage: it orders stagings, and one
    that is not newer than what is on stage is answered at once.
    """

    data_type: str
    position: int
    version: int
    name: str
    description: str
    model_type: str
    sha256: str
    folder: str  # of the prepared model
    slot: str = ""


@dataclass(frozen=True, slots=True)
class ClearStage:
    """Router → serving actor: the data type is retired, serve no model.

    `position` is the journal position that retired it, in one order with those of StageModel, and
    `since_ms` (epoch) when that was.
    """

    data_type: str
    position: int
    since_ms: int
    slot: str = ""


@dataclass(frozen=True, slots=True)
class ModelStaged:
    """Serving actor → router: the StageModel or ClearStage of `position` is done, since `since_ms`."""

    data_type: str
    position: int
    since_ms: int
    slot: str = ""


@dataclass(frozen=True, slots=True)
class StagingFailed:
    """Serving actor → router: the version of `position` could not be loaded; the old one serves."""

    data_type: str
    position: int
    reason: str
    slot: str = ""


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """Router → policy actor: from the next batch on, decide so.

    `position` is the journal position of the policy, and its version; `settings` are JSON, empty
    for no policy: that the router keeps to itself.
    """

    data_type: str
    position: int
    settings: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Policy actor → router: the policy of `position` is in force."""

    data_type: str
    position: int


@dataclass(frozen=True, slots=True)
class PolicyFailed:
    """Policy actor → router: the policy of `position` cannot be; the old one is in force."""

    data_type: str
    position: int
    reason: str
