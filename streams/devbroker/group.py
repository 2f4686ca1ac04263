"""The state of one consumer group: requests and the passing of time in, answers out.

Nothing here waits or looks at a clock. A join or a sync that cannot be answered yet is parked under
its ticket; every method returns the answers that have become due, by ticket. The rules are those
of Apache Kafka's classic group coordinator.

States and legal transitions:

EMPTY       no members                            -> PREPARING
PREPARING   members are asked to join again       -> COMPLETING, EMPTY
COMPLETING  joined; the leader's plan is awaited  -> STABLE, PREPARING, EMPTY
STABLE      each member has its assignment        -> PREPARING, EMPTY
"""

import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from repertory.streams.devbroker.group_messages import (
    Answers,
    Identity,
    Join,
    Joined,
    JoinedMember,
    Synced,
    Ticket,
)
from repertory.streams.devbroker.protocol import ErrorCode, Refused


class State(StrEnum):
    """The state of a group, by the name that Kafka's tools show."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"


@dataclass
class Member:
    """A member of the group."""

    member_id: str
    join: Join
    seen: float
    assignment: bytes = b""
    joining: Ticket | None = field(default=None, repr=False)
    syncing: Ticket | None = field(default=None, repr=False)

    @property
    def static(self) -> bool:
        """Whether the member keeps its place when it comes back under the same instance id."""
        return self.join.instance_id is not None

    @property
    def parked(self) -> bool:
        """Whether the member waits for the group: it cannot send heartbeats meanwhile."""
        return self.joining is not None or self.syncing is not None

    def metadata(self, protocol: str) -> bytes:
        """Return what the member said under this protocol."""
        return dict(self.join.protocols).get(protocol, b"")


def _new_member_id(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4()}"


class Group:
    """One consumer group."""

    def __init__(
        self,
        group_id: str,
        *,
        initial_delay: float,
        new_member_id: Callable[[str], str] = _new_member_id,
    ) -> None:
        self.group_id = group_id
        self.state = State.EMPTY
        self.generation = 0
        self.protocol_type = ""
        self.protocol = ""
        self.leader = ""
        self.members: dict[str, Member] = {}
        self._initial_delay = initial_delay
        self._new_member_id = new_member_id
        self._expected: dict[str, float] = {}  # ids given out, not yet joined; until when
        self._static: dict[str, str] = {}  # member id by instance id
        self._gathering = False  # PREPARING for the first time: wait for others until the deadline
        self._deadline: float | None = None  # of PREPARING or COMPLETING
        self._answers: Answers = []

    @property
    def idle(self) -> bool:
        """Whether nobody is, or is about to become, a member: the group may be forgotten."""
        return self.state is State.EMPTY and not self._expected

    # Requests

    def join(self, request: Join, ticket: Ticket, now: float) -> Answers:
        """Take in a join; its answer comes when all members have joined."""
        try:
            self._check_protocols(request)
            self._join(request, ticket, now)
        except Refused as error:
            self._answer(ticket, Joined(error=error.code, member_id=request.member_id))
        return self._due()

    def sync(
        self, who: Identity, plan: Mapping[str, bytes], ticket: Ticket, *, now: float
    ) -> Answers:
        """Take in a sync, the leader's with its plan; its answer comes when the plan is there."""
        try:
            member = self._current_member(who, now)
            if self.state is State.PREPARING:
                raise Refused(ErrorCode.REBALANCE_IN_PROGRESS, "join again first")
        except Refused as error:
            self._answer(ticket, Synced(error=error.code))
            return self._due()
        if self.state is State.STABLE:
            self._answer(ticket, Synced(assignment=member.assignment))
            return self._due()
        self._unpark_sync(member, ErrorCode.REBALANCE_IN_PROGRESS, now)
        member.syncing = ticket
        if member.member_id == self.leader:
            self._assign(plan, now)
        return self._due()

    def heartbeat(self, who: Identity, now: float) -> None:
        """Note that a member is alive. Raises Refused, REBALANCE_IN_PROGRESS if it should join."""
        self._current_member(who, now)
        if self.state is State.PREPARING:
            raise Refused(ErrorCode.REBALANCE_IN_PROGRESS, "join again")

    def leave(self, member_id: str, instance_id: str | None, now: float) -> Answers:
        """Let a member go; a static one may be named by its instance id alone. Raises Refused."""
        if instance_id is not None and not member_id:
            member_id = self._static.get(instance_id, "")
        if self._expected.pop(member_id, None) is None:
            self._remove(self._member(member_id, instance_id), now)
        return self._due()

    def check_commit(self, who: Identity, now: float, *, transactional: bool = False) -> None:
        """Raise Refused unless this member, or somebody outside an empty group, may commit.

        A transaction may also come from somebody who does not say who it is (before KIP-447), and
        from a member that has joined but does not know its assignment yet.
        """
        if who.generation < 0 and self.state is State.EMPTY:
            return
        if who.generation >= 0 or who.member_id or who.instance_id is not None:
            self._current_member(who, now)
        elif not transactional and self.state is not State.EMPTY:
            raise Refused(
                ErrorCode.UNKNOWN_MEMBER_ID,
                f"group {self.group_id!r} has members; only they commit offsets",
            )
        if not transactional and self.state is State.COMPLETING:
            raise Refused(ErrorCode.REBALANCE_IN_PROGRESS, "the assignment is not known yet")

    # Time and broken connections

    def tick(self, now: float) -> Answers:
        """Let time pass: expire members and joins that are overdue."""
        self._expected = {key: until for key, until in self._expected.items() if now <= until}
        for member in list(self.members.values()):
            if not member.parked and now - member.seen > member.join.session_timeout:
                self._remove(member, now)
        if self._deadline is not None and now >= self._deadline:
            if self.state is State.PREPARING:
                self._complete(now)
            else:
                for member in [each for each in self.members.values() if each.syncing is None]:
                    self._remove(member, now)
        return self._due()

    def abandon(self, ticket: Ticket, now: float) -> Answers:
        """Forget a parked request whose connection broke: whoever joined is gone."""
        for member in list(self.members.values()):
            if member.syncing == ticket:
                member.syncing, member.seen = None, now
            if member.joining == ticket:
                member.joining = None
                if not member.static:
                    self._remove(member, now)
        return self._due()

    # Joining

    def _check_protocols(self, request: Join) -> None:
        others = [
            member
            for member in self.members.values()
            if member.member_id != request.member_id
            and (request.instance_id is None or member.join.instance_id != request.instance_id)
        ]
        common = {name for name, _ in request.protocols}
        for member in others:
            common &= {name for name, _ in member.join.protocols}
        if not common or any(m.join.protocol_type != request.protocol_type for m in others):
            raise Refused(
                ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
                f"group {self.group_id!r} has no assignment strategy in common with this member",
            )

    def _join(self, request: Join, ticket: Ticket, now: float) -> None:
        if request.member_id:
            if self._expected.pop(request.member_id, None) is not None:
                self._add(request.member_id, request, ticket, now=now)
            else:
                member = self._member(request.member_id, request.instance_id)
                self._rejoin(member, request, ticket, now=now)
        elif request.instance_id is not None and request.instance_id in self._static:
            self._replace(request, ticket, now)
        else:
            member_id = self._new_member_id(request.instance_id or request.client_id)
            if request.knows_id_first and request.instance_id is None:
                self._expected[member_id] = now + request.session_timeout
                self._answer(
                    ticket, Joined(error=ErrorCode.MEMBER_ID_REQUIRED, member_id=member_id)
                )
            else:
                self._add(member_id, request, ticket, now=now)

    def _add(self, member_id: str, request: Join, ticket: Ticket, *, now: float) -> None:
        member = self.members[member_id] = Member(member_id, request, now)
        if request.instance_id is not None:
            self._static[request.instance_id] = member_id
        self._park_join(member, ticket, now)

    def _rejoin(self, member: Member, request: Join, ticket: Ticket, *, now: float) -> None:
        same = member.join.protocols == request.protocols
        member.join = replace(request, instance_id=member.join.instance_id)
        member.seen = now
        is_leader = member.member_id == self.leader
        settled = self.state is State.COMPLETING or (self.state is State.STABLE and not is_leader)
        if same and settled:  # the answer was lost on its way
            self._answer(ticket, self._joined(member))
        else:
            self._park_join(member, ticket, now)

    def _replace(self, request: Join, ticket: Ticket, now: float) -> None:
        """Give a static member's place to the process that came back under its name."""
        assert request.instance_id is not None
        old = self.members[self._static[request.instance_id]]
        self._unpark_join(old, ErrorCode.FENCED_INSTANCE_ID, now)
        self._unpark_sync(old, ErrorCode.FENCED_INSTANCE_ID, now)
        former_leader = self.leader
        member = Member(
            self._new_member_id(request.instance_id), request, now, assignment=old.assignment
        )
        self.members = {
            (member.member_id if each is old else key): (member if each is old else each)
            for key, each in self.members.items()
        }
        self._static[request.instance_id] = member.member_id
        if self.leader == old.member_id:
            self.leader = member.member_id
        if self.state is State.STABLE and self._elected_protocol() == self.protocol:
            # No rebalance. Named the former leader, it makes no plan and asks for its assignment.
            self._answer(
                ticket,
                Joined(
                    generation=self.generation,
                    protocol=self.protocol,
                    leader=former_leader,
                    member_id=member.member_id,
                ),
            )
        else:
            self._park_join(member, ticket, now)

    def _park_join(self, member: Member, ticket: Ticket, now: float) -> None:
        self._unpark_join(member, ErrorCode.REBALANCE_IN_PROGRESS, now)
        member.joining = ticket
        self.protocol_type = member.join.protocol_type
        if self.state is State.EMPTY:
            self.state = State.PREPARING
            self._gathering = True
            self._deadline = now + self._initial_delay
        elif self.state is State.PREPARING:
            self._complete_if_all_joined(now)
        else:
            self._prepare(now)

    # Rebalancing

    def _prepare(self, now: float) -> None:
        for member in self.members.values():
            self._unpark_sync(member, ErrorCode.REBALANCE_IN_PROGRESS, now)
        self.state = State.PREPARING
        self._deadline = now + self._rebalance_timeout()
        self._complete_if_all_joined(now)

    def _complete_if_all_joined(self, now: float) -> None:
        if not self._gathering and all(m.joining is not None for m in self.members.values()):
            self._complete(now)

    def _complete(self, now: float) -> None:
        """Begin the next generation with those who joined."""
        self._gathering = False
        for member in [m for m in self.members.values() if m.joining is None and not m.static]:
            self._forget(member, now)
        if not self.members:
            self._empty()
            return
        self._deadline = now + self._rebalance_timeout()
        joined = [member for member in self.members.values() if member.joining is not None]
        if not joined:
            return  # static members keep their place until their sessions expire
        self.generation += 1
        self.protocol = self._elected_protocol()
        if self.leader not in {member.member_id for member in joined}:
            self.leader = joined[0].member_id
        self.state = State.COMPLETING
        for member in joined:
            ticket, member.joining, member.seen = member.joining, None, now
            assert ticket is not None
            self._answer(ticket, self._joined(member))

    def _assign(self, plan: Mapping[str, bytes], now: float) -> None:
        self.state = State.STABLE
        self._deadline = None
        for member in self.members.values():
            member.assignment = plan.get(member.member_id, b"")
            if member.syncing is not None:
                self._answer(member.syncing, Synced(assignment=member.assignment))
                member.syncing, member.seen = None, now

    def _remove(self, member: Member, now: float) -> None:
        self._forget(member, now)
        if not self.members:
            self._empty()
        elif self.state is State.PREPARING:
            self._complete_if_all_joined(now)
        else:
            self._prepare(now)

    def _forget(self, member: Member, now: float) -> None:
        self.members.pop(member.member_id, None)
        if self._static.get(member.join.instance_id or "") == member.member_id:
            del self._static[member.join.instance_id or ""]
        self._unpark_join(member, ErrorCode.UNKNOWN_MEMBER_ID, now)
        self._unpark_sync(member, ErrorCode.UNKNOWN_MEMBER_ID, now)

    def _empty(self) -> None:
        self.state = State.EMPTY
        self.generation += 1
        self.protocol = self.leader = ""
        self._gathering = False
        self._deadline = None

    # Small helpers

    def _member(self, member_id: str, instance_id: str | None) -> Member:
        if instance_id is not None and self._static.get(instance_id, member_id) != member_id:
            raise Refused(
                ErrorCode.FENCED_INSTANCE_ID, f"another process is instance {instance_id!r} now"
            )
        if member_id not in self.members:
            raise Refused(
                ErrorCode.UNKNOWN_MEMBER_ID,
                f"{member_id!r} is no member of group {self.group_id!r}",
            )
        return self.members[member_id]

    def _current_member(self, who: Identity, now: float) -> Member:
        member = self._member(who.member_id, who.instance_id)
        if who.generation != self.generation:
            raise Refused(
                ErrorCode.ILLEGAL_GENERATION,
                f"group {self.group_id!r} is in generation {self.generation}, not {who.generation}",
            )
        member.seen = now
        return member

    def _elected_protocol(self) -> str:
        """Return the strategy that all members know and most of them prefer."""
        everyone = list(self.members.values())
        common = set.intersection(*({name for name, _ in m.join.protocols} for m in everyone))
        votes = Counter(
            next(name for name, _ in member.join.protocols if name in common) for member in everyone
        )
        return votes.most_common(1)[0][0]

    def _rebalance_timeout(self) -> float:
        return max((member.join.rebalance_timeout for member in self.members.values()), default=0.0)

    def _joined(self, member: Member) -> Joined:
        is_leader = member.member_id == self.leader
        return Joined(
            generation=self.generation,
            protocol=self.protocol,
            leader=self.leader,
            member_id=member.member_id,
            members=tuple(
                JoinedMember(each.member_id, each.join.instance_id, each.metadata(self.protocol))
                for each in self.members.values()
                if is_leader
            ),
        )

    def _unpark_join(self, member: Member, error: ErrorCode, now: float) -> None:
        if member.joining is not None:
            self._answer(member.joining, Joined(error=error, member_id=member.member_id))
            member.joining, member.seen = None, now

    def _unpark_sync(self, member: Member, error: ErrorCode, now: float) -> None:
        if member.syncing is not None:
            self._answer(member.syncing, Synced(error=error))
            member.syncing, member.seen = None, now

    def _answer(self, ticket: Ticket, answer: Joined | Synced) -> None:
        self._answers.append((ticket, answer))

    def _due(self) -> Answers:
        answers, self._answers = self._answers, []
        return answers
