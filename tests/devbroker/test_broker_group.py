"""The state machine of a consumer group, without network or clock."""

import itertools

import pytest

from repertory.streams.devbroker.group import Group, State
from repertory.streams.devbroker.group_messages import (
    Answers,
    Identity,
    Join,
    Joined,
    Synced,
)
from repertory.streams.devbroker.protocol import ErrorCode, Refused

DELAY, SESSION, REBALANCE = 0.2, 6.0, 30.0
RANGE = (("range", b"topics"),)


class Scene:
    """A group, the members that play in it, and the time."""

    def __init__(self) -> None:
        numbers = itertools.count(1)
        self.group = Group(
            "g", initial_delay=DELAY, new_member_id=lambda prefix: f"{prefix}-{next(numbers)}"
        )
        self.now = 0.0
        self.answers: dict[int, Joined | Synced] = {}
        self._tickets = itertools.count()

    def note(self, answers: Answers) -> None:
        for ticket, answer in answers:
            assert ticket not in self.answers, "answered twice"
            self.answers[ticket] = answer

    def join(
        self,
        client: str = "c",
        *,
        member_id: str = "",
        instance_id: str | None = None,
        protocols: tuple[tuple[str, bytes], ...] = RANGE,
        protocol_type: str = "consumer",
        knows_id_first: bool = False,
    ) -> int:
        ticket = next(self._tickets)
        request = Join(
            member_id=member_id,
            instance_id=instance_id,
            client_id=client,
            host="h",
            session_timeout=SESSION,
            rebalance_timeout=REBALANCE,
            protocol_type=protocol_type,
            protocols=protocols,
            knows_id_first=knows_id_first,
        )
        self.note(self.group.join(request, ticket, self.now))
        return ticket

    def sync(self, member_id: str, plan: dict[str, bytes] | None = None) -> int:
        ticket = next(self._tickets)
        self.note(self.group.sync(self.who(member_id), plan or {}, ticket, now=self.now))
        return ticket

    def who(self, member_id: str, instance_id: str | None = None) -> Identity:
        return Identity(
            member_id=member_id, instance_id=instance_id, generation=self.group.generation
        )

    def wait(self, seconds: float, *alive: str) -> None:
        """Let time pass, second by second, in which the members named send heartbeats."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 1.0, until)
            for member_id in alive:
                self.heartbeat(member_id)
            self.note(self.group.tick(self.now))

    def heartbeat(self, member_id: str) -> ErrorCode:
        try:
            self.group.heartbeat(self.who(member_id), self.now)
        except Refused as error:
            return error.code
        return ErrorCode.NONE

    def joined(self, ticket: int) -> Joined:
        answer = self.answers[ticket]
        assert isinstance(answer, Joined)
        return answer

    def synced(self, ticket: int) -> Synced:
        answer = self.answers[ticket]
        assert isinstance(answer, Synced)
        return answer

    def stable(self, *clients: str) -> list[str]:
        """Bring these clients into a stable group; return their member ids, the leader first."""
        tickets = [self.join(client) for client in clients]
        self.wait(DELAY)
        ids = [self.joined(ticket).member_id for ticket in tickets]
        for member_id in reversed(ids):
            self.sync(member_id, {each: each.encode() for each in ids})
        assert self.group.state is State.STABLE
        return ids


@pytest.fixture
def scene() -> Scene:
    """Return an empty group."""
    return Scene()


def test_the_first_members_gather_for_a_while(scene: Scene) -> None:
    first, second = scene.join("a"), scene.join("b")
    assert (scene.answers, scene.group.state) == ({}, State.PREPARING)
    scene.wait(DELAY)
    assert scene.joined(first).generation == scene.joined(second).generation == 1
    assert scene.group.state is State.COMPLETING


def test_only_the_leader_learns_of_all_members(scene: Scene) -> None:
    first, second = scene.join("a"), scene.join("b")
    scene.wait(DELAY)
    told = [[each.member_id for each in scene.joined(t).members] for t in (first, second)]
    assert told == [["a-1", "b-2"], []]
    assert {scene.joined(ticket).leader for ticket in (first, second)} == {"a-1"}


def test_a_member_waits_for_the_leaders_plan(scene: Scene) -> None:
    scene.join("a")
    scene.join("b")
    scene.wait(DELAY)
    follower = scene.sync("b-2")
    assert follower not in scene.answers
    leader = scene.sync("a-1", {"a-1": b"A", "b-2": b"B"})
    assert [scene.synced(t).assignment for t in (leader, follower)] == [b"A", b"B"]
    assert scene.synced(scene.sync("b-2")).assignment == b"B"


def test_a_newcomer_is_told_its_id_first(scene: Scene) -> None:
    told = scene.joined(scene.join("a", knows_id_first=True))
    assert (told.error, told.member_id) == (ErrorCode.MEMBER_ID_REQUIRED, "a-1")
    ticket = scene.join("a", member_id="a-1", knows_id_first=True)
    scene.wait(DELAY)
    assert scene.joined(ticket).member_id == "a-1"


def test_an_id_that_was_given_out_is_not_kept_for_ever(scene: Scene) -> None:
    scene.join("a", knows_id_first=True)
    scene.wait(SESSION + 1)
    assert scene.joined(scene.join(member_id="a-1")).error is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_second_member_makes_the_first_join_again(scene: Scene) -> None:
    (first,) = scene.stable("a")
    second = scene.join("b")
    assert scene.heartbeat(first) is ErrorCode.REBALANCE_IN_PROGRESS
    again = scene.join("a", member_id=first)
    assert {scene.joined(ticket).generation for ticket in (second, again)} == {2}


def test_a_member_that_does_not_join_again_in_time_is_out(scene: Scene) -> None:
    first, second = scene.stable("a", "b")
    ticket = scene.join("a", member_id=first)
    scene.wait(REBALANCE - 1, second)
    assert ticket not in scene.answers
    scene.wait(2, second)
    assert len(scene.joined(ticket).members) == 1
    assert scene.heartbeat(second) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_silent_member_is_out_after_its_session(scene: Scene) -> None:
    first, second = scene.stable("a", "b")
    scene.wait(SESSION + 1, first)
    assert list(scene.group.members) == [first]
    assert scene.heartbeat(second) is ErrorCode.UNKNOWN_MEMBER_ID
    ticket = scene.join("a", member_id=first)
    assert scene.joined(ticket).generation == 2


def test_a_parked_member_does_not_expire(scene: Scene) -> None:
    first, second = scene.stable("a", "b")
    ticket = scene.join("a", member_id=first)
    scene.wait(SESSION * 2, second)
    assert first in scene.group.members
    scene.join("b", member_id=second)
    assert scene.joined(ticket).error is ErrorCode.NONE


def test_leaving_hands_over_at_once(scene: Scene) -> None:
    first, second = scene.stable("a", "b")
    scene.note(scene.group.leave(first, None, scene.now))
    assert scene.heartbeat(second) is ErrorCode.REBALANCE_IN_PROGRESS
    ticket = scene.join("b", member_id=second)
    assert scene.joined(ticket).leader == second


def test_the_last_one_to_leave_empties_the_group(scene: Scene) -> None:
    (first,) = scene.stable("a")
    scene.note(scene.group.leave(first, None, scene.now))
    assert scene.group.state is State.EMPTY
    scene.stable("b")
    assert scene.group.generation == 3


def test_a_follower_whose_answer_got_lost_gets_it_again(scene: Scene) -> None:
    _, second = scene.stable("a", "b")
    again = scene.joined(scene.join("b", member_id=second))
    assert (again.error, again.generation) == (ErrorCode.NONE, 1)
    assert scene.group.state is State.STABLE


def test_a_leader_that_joins_again_makes_everyone_join(scene: Scene) -> None:
    first, second = scene.stable("a", "b")
    scene.join("a", member_id=first)
    assert scene.heartbeat(second) is ErrorCode.REBALANCE_IN_PROGRESS


def test_changed_subscriptions_make_everyone_join(scene: Scene) -> None:
    first, second = scene.stable("a", "b")
    scene.join("b", member_id=second, protocols=(("range", b"others"),))
    assert scene.heartbeat(first) is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_leader_that_makes_no_plan_is_out(scene: Scene) -> None:
    scene.join("a")
    scene.join("b")
    scene.wait(DELAY)
    follower = scene.sync("b-2")
    scene.wait(SESSION + 1)
    assert scene.synced(follower).error is ErrorCode.REBALANCE_IN_PROGRESS
    assert list(scene.group.members) == ["b-2"]


def test_one_that_joins_but_never_syncs_is_out_after_the_rebalance_timeout(scene: Scene) -> None:
    scene.join("a")
    scene.join("b")
    scene.wait(DELAY)
    scene.wait(REBALANCE + 1, "a-1", "b-2")
    assert scene.group.state is State.EMPTY


def test_the_strategy_is_one_that_all_know_and_most_prefer(scene: Scene) -> None:
    both = (("coop", b""), ("range", b""))
    for protocols in (both, both, (("range", b""), ("coop", b""))):
        scene.join(protocols=protocols)
    scene.wait(DELAY)
    assert scene.group.protocol == "coop"
    scene.join(protocols=RANGE)
    for member_id in list(scene.group.members)[:3]:
        scene.join(member_id=member_id, protocols=both)
    assert scene.group.protocol == "range"


@pytest.mark.parametrize(
    ("protocols", "protocol_type"),
    [((("other", b""),), "consumer"), ((), "consumer"), (RANGE, "x")],
)
def test_one_that_has_nothing_in_common_is_refused(
    scene: Scene, protocols: tuple[tuple[str, bytes], ...], protocol_type: str
) -> None:
    (first,) = scene.stable("a")
    ticket = scene.join("b", protocols=protocols, protocol_type=protocol_type)
    assert scene.joined(ticket).error is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert list(scene.group.members) == [first]


def test_a_broken_connection_ends_a_parked_join(scene: Scene) -> None:
    first, second = scene.stable("a", "b")
    scene.join("c")
    ticket = scene.join("b", member_id=second)
    scene.note(scene.group.abandon(ticket, scene.now))
    assert second not in scene.group.members
    again = scene.join("a", member_id=first)
    assert len(scene.joined(again).members) == 2


def static_pair(scene: Scene) -> tuple[str, str]:
    scene.join("a", instance_id="A")
    scene.join("b", instance_id="B")
    scene.wait(DELAY)
    scene.sync("B-2")
    scene.sync("A-1", {"A-1": b"1", "B-2": b"2"})
    return "A-1", "B-2"


@pytest.mark.parametrize("instance", ["A", "B"])
def test_a_static_member_that_comes_back_gets_its_place_without_a_rebalance(
    scene: Scene, instance: str
) -> None:
    static_pair(scene)
    back = scene.joined(scene.join("x", instance_id=instance))
    assert (back.error, back.generation, back.members) == (ErrorCode.NONE, 1, ())
    assert back.member_id != back.leader, "it must not make a plan"
    expected = b"1" if instance == "A" else b"2"
    assert scene.synced(scene.sync(back.member_id)).assignment == expected
    assert scene.group.state is State.STABLE


def test_a_static_members_former_self_is_shut_out(scene: Scene) -> None:
    _, former = static_pair(scene)
    scene.join("x", instance_id="B")
    with pytest.raises(Refused) as caught:
        scene.group.heartbeat(scene.who(former, "B"), scene.now)
    assert caught.value.code is ErrorCode.FENCED_INSTANCE_ID
    assert scene.joined(scene.join(member_id=former, instance_id="B")).error is (
        ErrorCode.FENCED_INSTANCE_ID
    )


def test_a_static_member_may_miss_a_rebalance_but_not_its_session(scene: Scene) -> None:
    first, second = static_pair(scene)
    scene.join("a", member_id=first, instance_id="A")
    scene.wait(SESSION + 1)
    assert second not in scene.group.members
    assert scene.group.state is State.COMPLETING


def test_two_processes_under_one_name_end_with_one_of_them(scene: Scene) -> None:
    first = scene.join("a", instance_id="A")
    second = scene.join("a", instance_id="A")
    assert scene.joined(first).error is ErrorCode.FENCED_INSTANCE_ID
    scene.wait(DELAY)
    assert scene.joined(second).error is ErrorCode.NONE


def test_only_members_of_this_generation_commit(scene: Scene) -> None:
    (first,) = scene.stable("a")
    scene.group.check_commit(scene.who(first), scene.now)
    old = Identity(member_id=first, instance_id=None, generation=0)
    stranger = Identity(member_id="", instance_id=None, generation=-1)
    codes = []
    for who in (old, stranger, scene.who("nobody")):
        with pytest.raises(Refused) as caught:
            scene.group.check_commit(who, scene.now)
        codes.append(caught.value.code)
    assert codes == [ErrorCode.ILLEGAL_GENERATION, *[ErrorCode.UNKNOWN_MEMBER_ID] * 2]


def test_anyone_commits_for_a_group_without_members(scene: Scene) -> None:
    scene.group.check_commit(Identity(member_id="", instance_id=None, generation=-1), scene.now)


def test_a_commit_is_told_to_wait_for_the_plan_but_not_for_joins(scene: Scene) -> None:
    (first,) = scene.stable("a")
    scene.join("b")
    scene.group.check_commit(scene.who(first), scene.now)
    scene.join("a", member_id=first)
    with pytest.raises(Refused) as caught:
        scene.group.check_commit(scene.who(first), scene.now)
    assert caught.value.code is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_static_member_whose_connection_breaks_while_joining_stays(scene: Scene) -> None:
    ticket = scene.join("a", instance_id="A")
    scene.note(scene.group.abandon(ticket, scene.now))
    assert list(scene.group.members) == ["A-1"]
    scene.wait(SESSION + 1)
    assert scene.group.state is State.EMPTY


def test_a_transaction_of_a_member_that_has_joined_is_taken_before_the_plan_is_there(
    scene: Scene,
) -> None:
    [member] = scene.stable("a")
    scene.join("a", member_id=member)
    assert scene.group.state is State.COMPLETING
    scene.group.check_commit(scene.who(member), scene.now, transactional=True)
    with pytest.raises(Refused) as caught:
        scene.group.check_commit(scene.who(member), scene.now)
    assert caught.value.code is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_static_member_that_leaves_makes_the_others_share_at_once(scene: Scene) -> None:
    first = scene.join("a", instance_id="A")
    scene.join("b", instance_id="B")
    scene.wait(DELAY)
    leader, follower = scene.joined(first).member_id, "B-2"
    scene.sync(follower)
    scene.sync(leader, {leader: b"x", follower: b"y"})
    scene.note(scene.group.leave(follower, None, scene.now))
    assert scene.heartbeat(leader) is ErrorCode.REBALANCE_IN_PROGRESS
    assert list(scene.group.members) == [leader]
