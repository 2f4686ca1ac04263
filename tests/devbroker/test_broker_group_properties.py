"""Whatever happens to a consumer group, every request is answered, and the group settles."""

import itertools
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from repertory.streams.devbroker.group import Group, State
from repertory.streams.devbroker.group_messages import Answers, Identity, Join, Joined
from repertory.streams.devbroker.protocol import ErrorCode, Refused

clients = st.sampled_from(["a", "b", "c", "d"])
SESSION, REBALANCE = 6.0, 30.0


class GroupMachine(RuleBasedStateMachine):
    """Clients that join, sync, leave, fall silent and break off in any order."""

    def __init__(self) -> None:
        super().__init__()
        numbers = itertools.count()
        self.group = Group("g", initial_delay=0.2, new_member_id=lambda _: f"m{next(numbers)}")
        self.now = 0.0
        self.tickets = itertools.count()
        self.asked: dict[int, str] = {}
        self.answered: Counter[int] = Counter()
        self.ids: dict[str, str] = {}

    def note(self, answers: Answers) -> None:
        for ticket, answer in answers:
            self.answered[ticket] += 1
            client = self.asked[ticket]
            if isinstance(answer, Joined) and answer.error in (
                ErrorCode.NONE,
                ErrorCode.MEMBER_ID_REQUIRED,
            ):
                self.ids[client] = answer.member_id
            elif answer.error in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID):
                self.ids.pop(client, None)

    def ask(self, client: str) -> int:
        ticket = next(self.tickets)
        self.asked[ticket] = client
        return ticket

    @rule(client=clients, static=st.booleans(), metadata=st.sampled_from([b"x", b"y"]))
    def join(self, client: str, static: bool, metadata: bytes) -> None:
        request = Join(
            member_id=self.ids.get(client, ""),
            instance_id=client if static else None,
            client_id=client,
            host="h",
            session_timeout=SESSION,
            rebalance_timeout=REBALANCE,
            protocol_type="consumer",
            protocols=(("range", metadata),),
        )
        self.note(self.group.join(request, self.ask(client), self.now))

    def who(self, client: str) -> Identity:
        return Identity(
            member_id=self.ids.get(client, ""),
            instance_id=None,
            generation=self.group.generation,
        )

    @rule(client=clients)
    def sync(self, client: str) -> None:
        plan = {member: member.encode() for member in self.group.members}
        self.note(self.group.sync(self.who(client), plan, self.ask(client), now=self.now))

    @rule(client=clients)
    def leave(self, client: str) -> None:
        try:
            self.note(self.group.leave(self.ids.pop(client, ""), None, self.now))
        except Refused as error:
            assert error.code is ErrorCode.UNKNOWN_MEMBER_ID, error.code  # noqa: PT017

    @rule(client=clients)
    def break_off(self, client: str) -> None:
        for ticket in [t for t in self.open_tickets() if self.asked[t] == client]:
            self.asked.pop(ticket)
            late = self.group.abandon(ticket, self.now)
            self.note([answer for answer in late if answer[0] != ticket])
        self.ids.pop(client, None)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.note(self.group.tick(self.now))

    def open_tickets(self) -> list[int]:
        return [ticket for ticket in self.asked if not self.answered[ticket]]

    @invariant()
    def nothing_is_answered_twice(self) -> None:
        assert all(count == 1 for count in self.answered.values())

    @invariant()
    def what_is_not_answered_is_parked(self) -> None:
        parked = {
            ticket
            for member in self.group.members.values()
            for ticket in (member.joining, member.syncing)
            if ticket is not None
        }
        assert parked == set(self.open_tickets())

    @invariant()
    def members_and_state_agree(self) -> None:
        assert bool(self.group.members) == (self.group.state is not State.EMPTY)
        if self.group.state in (State.COMPLETING, State.STABLE):
            assert self.group.leader in self.group.members

    def teardown(self) -> None:
        """Left alone, every group gives all its answers and ends empty."""
        for _ in range(8):
            self.wait(31.0)
        assert self.open_tickets() == []
        assert self.group.state is State.EMPTY


TestGroup = GroupMachine.TestCase
TestGroup.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
