"""Which nodes of the cluster are there: by heartbeats between routers. Pure.

Each router judges for itself, by its own monotonic clock; nodes need not agree on the time.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

# A clock that jumped so far between two ticks tells that this process was stopped: what others
# sent meanwhile waits to be read, and their silence means nothing.
PAUSE_SECONDS = 1.0


class MemberState(StrEnum):
    """What a router thinks of another one's node."""

    UNKNOWN = "unknown"  # it was not heard yet: it may be about to come, so it keeps its share
    UP = "up"
    SUSPECT = "suspect"  # it missed some beats: it owns what it owned, and is sent nothing
    LEAVING = "leaving"  # it said so: it serves what it has until others are ready
    DOWN = "down"  # it was silent for too long, or said that it is gone


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a node may be silent, in seconds, before it is suspected, and taken to be gone."""

    suspect: float = 1.5
    down: float = 5.0


class Standing(NamedTuple):
    """How a data type stands on a node that serves it.

    `position` is the journal position of what was put on stage last. Where a policy chooses among
    several models, their positions say nothing about which answer is the newer one.
    """

    position: int
    has_policy: bool = False

    def is_at(self, floor: int) -> bool:
        """Return whether what it answers is not older than a position."""
        return self.has_policy or self.position >= floor


@dataclass(frozen=True, slots=True)
class Beat:
    """What a router tells of its node, again and again.

    `ready` has the data types that it serves, `out` why it cannot serve what others do, and `about`
    what is shown of the node.
    """

    node: str
    incarnation: str
    leaving: bool = False
    ready: Mapping[str, Standing] = field(default_factory=dict)
    out: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A member came to another state."""

    node: str
    before: MemberState
    after: MemberState
    reason: str


@dataclass(slots=True)
class Member:
    """A node as it was heard last."""

    state: MemberState = MemberState.UNKNOWN
    reason: str = "it was not heard yet"
    beat: Beat | None = None
    heard: float = 0.0  # monotonic seconds
    since: float = 0.0  # monotonic seconds: in this state


class Membership:
    """All nodes of the cluster, as one router sees them. Its own node is always up here."""

    def __init__(
        self,
        own: str,
        nodes: Iterable[str],
        *,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = own
        self._patience = patience or Patience()
        self._clock = clock
        self._ticked = now = clock()
        self.members = {node: Member(heard=now, since=now) for node in nodes}
        self.members[own].state, self.members[own].reason = MemberState.UP, "this node"

    def heard(self, beat: Beat) -> list[Change]:
        """Take a beat. One of an undeclared node is ignored."""
        member = self.members.get(beat.node)
        if member is None or beat.node == self._own:
            return []
        member.beat, member.heard = beat, self._clock()
        state = MemberState.LEAVING if beat.leaving else MemberState.UP
        return self._move(beat.node, state, "it says so" if beat.leaving else "it is heard")

    def gone(self, node: str) -> list[Change]:
        """Take it that a node has said farewell."""
        return self._move(node, MemberState.DOWN, "it has left")

    def leave(self) -> None:
        """Have the own node own nothing any more: it is about to end."""
        self._move(self._own, MemberState.LEAVING, "it is about to end")

    def tick(self) -> list[Change]:
        """Judge who was silent. To be called some times a second."""
        now, changes = self._clock(), []
        if now - self._ticked > PAUSE_SECONDS:
            for member in self.members.values():
                member.heard = now
        self._ticked = now
        for node, member in self.members.items():
            silence = now - member.heard
            if node == self._own or member.state is MemberState.DOWN:
                continue
            if silence >= self._patience.down:
                changes += self._move(node, MemberState.DOWN, f"silent for {silence:.1f} s")
            elif silence >= self._patience.suspect and member.state is MemberState.UP:
                changes += self._move(node, MemberState.SUSPECT, f"silent for {silence:.1f} s")
        return changes

    def owning(self) -> list[str]:
        """Return the nodes that own data types: all but those that leave, or are gone."""
        return self._in(MemberState.UP, MemberState.SUSPECT, MemberState.UNKNOWN)

    def reachable(self) -> list[str]:
        """Return the nodes that batches may be sent to."""
        return self._in(MemberState.UP, MemberState.LEAVING)

    def ready(self, data_type: str) -> dict[str, Standing]:
        """Return which other nodes serve a data type, and how it stands there.

        Also of those that are only suspected to be gone.
        """
        found = {}
        for node, member in self.members.items():
            there = member.state is not MemberState.DOWN and member.beat is not None
            if there and member.beat is not None and data_type in member.beat.ready:
                found[node] = member.beat.ready[data_type]
        return found

    def state(self, node: str) -> MemberState:
        """Return what is thought of a node."""
        return self.members[node].state

    def _in(self, *states: MemberState) -> list[str]:
        return [node for node, member in self.members.items() if member.state in states]

    def _move(self, node: str, state: MemberState, reason: str) -> list[Change]:
        member = self.members[node]
        if member.state is state:
            return []
        change = Change(node, member.state, state, reason)
        member.state, member.reason, member.since = state, reason, self._clock()
        return [change]
