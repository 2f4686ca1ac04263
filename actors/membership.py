"""Which nodes of the cluster are there: by heartbeats between routers. Pure.

Each router judges for itself, by its own monotonic clock; nodes need not agree on the time.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

BEAT_SECONDS = 0.5
# Three beats were missed: it may only be slow, so nothing moves; but nothing is sent there either.
SUSPECT_SECONDS = 1.5
# It is taken to be gone, and others own what it owned. A single copy is to serve again within ten
# seconds, of which loading it takes one or two.
DOWN_SECONDS = 5.0


class MemberState(StrEnum):
    """What a router thinks of another one's node."""

    UNKNOWN = "unknown"  # it was never heard
    UP = "up"
    SUSPECT = "suspect"  # it missed some beats: it owns what it owned, and is sent nothing
    LEAVING = "leaving"  # it said so: it serves what it has until others are ready
    DOWN = "down"  # it was silent for too long, or said that it is gone


@dataclass(frozen=True, slots=True)
class Beat:
    """What a router tells of its node, every BEAT_SECONDS.

    `ready` has the journal position at which each data type that it can serve stands there.
    """

    node: str
    incarnation: str
    leaving: bool = False
    ready: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """A member came to another state."""

    node: str
    before: MemberState
    after: MemberState
    reason: str


@dataclass(slots=True)
class _Member:
    state: MemberState = MemberState.UNKNOWN
    beat: Beat | None = None
    heard: float = 0.0
    since: float = 0.0


class Membership:
    """All nodes of the cluster, as one router sees them. Its own node is always up here."""

    def __init__(
        self, own: str, nodes: Iterable[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._own = own
        self._clock = clock
        now = clock()
        self._members = {node: _Member(heard=now, since=now) for node in nodes}
        self._members[own].state = MemberState.UP

    def heard(self, beat: Beat) -> list[Change]:
        """Take a beat. One of an undeclared node is ignored."""
        member = self._members.get(beat.node)
        if member is None or beat.node == self._own:
            return []
        member.beat, member.heard = beat, self._clock()
        state = MemberState.LEAVING if beat.leaving else MemberState.UP
        return self._move(beat.node, state, "it says so" if beat.leaving else "it is heard")

    def gone(self, node: str) -> list[Change]:
        """Take it that a node has said farewell."""
        return self._move(node, MemberState.DOWN, "it has left")

    def tick(self) -> list[Change]:
        """Judge who was silent. To be called some times a second."""
        now, changes = self._clock(), []
        for node, member in self._members.items():
            silence = now - member.heard
            if node == self._own or member.state in (MemberState.UNKNOWN, MemberState.DOWN):
                continue
            if silence >= DOWN_SECONDS:
                changes += self._move(node, MemberState.DOWN, f"silent for {silence:.1f} s")
            elif silence >= SUSPECT_SECONDS and member.state is MemberState.UP:
                changes += self._move(node, MemberState.SUSPECT, f"silent for {silence:.1f} s")
        return changes

    def owning(self) -> list[str]:
        """Return the nodes that own data types, or are to: those up, and those only suspected."""
        return self._in(MemberState.UP, MemberState.SUSPECT)

    def reachable(self) -> list[str]:
        """Return the nodes that batches may be sent to."""
        return self._in(MemberState.UP, MemberState.LEAVING)

    def ready(self, data_type: str) -> dict[str, int]:
        """Return which reachable nodes can serve a data type, and at which journal position."""
        found = {}
        for node in self.reachable():
            beat = self._members[node].beat
            if beat is not None and data_type in beat.ready:
                found[node] = beat.ready[data_type]
        return found

    def state(self, node: str) -> MemberState:
        """Return what is thought of a node."""
        return self._members[node].state

    def _in(self, *states: MemberState) -> list[str]:
        return [node for node, member in self._members.items() if member.state in states]

    def _move(self, node: str, state: MemberState, reason: str) -> list[Change]:
        member = self._members[node]
        if member.state is state:
            return []
        change = Change(node, member.state, state, reason)
        member.state, member.since = state, self._clock()
        return [change]
