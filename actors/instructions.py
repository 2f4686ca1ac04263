"""What a router's core has its shell do."""

from dataclasses import dataclass

from repertory.actors.messages import SetPolicy, Shard
from repertory.actors.shards import Update
from repertory.protos.door_pb2 import Envelope


@dataclass(frozen=True, slots=True)
class Send:
    """Send a frame to a peer."""

    peer: int
    envelope: Envelope
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class BringUp:
    """Have an actor for a shard, from now on."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class End:
    """End the actor of a shard, which nobody needs any more."""

    shard: Shard


@dataclass(frozen=True, slots=True)
class Stage:
    """Have a shard's actor do as the message says. Repeated until acked."""

    shard: Shard
    message: Update


@dataclass(frozen=True, slots=True)
class Keep:
    """Remember a policy over restarts; one without settings: that there is none."""

    message: SetPolicy


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the link to another node, which does not answer; it is tried again."""

    node: str
    reason: str


Instruction = Send | BringUp | End | Stage | Keep | Drop
