"""Who is there: by beats, and a clock that stands until it is moved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.actors.membership import Beat, Membership, MemberState, Patience, Standing

SUSPECT_SECONDS, DOWN_SECONDS = 1.5, 5.0


class World:
    """The view of node a, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        patience = Patience(SUSPECT_SECONDS, DOWN_SECONDS)
        nodes = ["a", "b", "c"]
        self.view = Membership("a", nodes, patience=patience, clock=lambda: self.now)

    def beat(self, node: str, *, leaving: bool = False, **ready: int) -> list[MemberState]:
        """Have a node tell of itself; return the states that members come to."""
        standings = {name: Standing(position) for name, position in ready.items()}
        changes = self.view.heard(Beat(node, "1", leaving=leaving, ready=standings))
        return [change.after for change in changes]

    def wait(self, seconds: float) -> list[MemberState]:
        """Let time pass, in steps; return the states that members come to."""
        end, states = self.now + seconds, list[MemberState]()
        while self.now < end:
            self.now = min(self.now + 0.5, end)
            states += [change.after for change in self.view.tick()]
        return states


@pytest.fixture
def world() -> World:
    return World()


def test_a_node_that_was_never_heard_keeps_its_share_for_a_while(world: World) -> None:
    assert world.view.reachable() == ["a"]
    assert world.view.owning() == ["a", "b", "c"]
    assert world.wait(60) == [MemberState.DOWN, MemberState.DOWN]
    assert world.view.owning() == ["a"]


def test_a_node_that_was_stopped_itself_takes_nobody_for_silent(world: World) -> None:
    world.beat("b")
    world.now += 30
    assert world.view.tick() == []
    assert world.wait(SUSPECT_SECONDS) == [MemberState.SUSPECT]


def test_a_node_that_is_heard_is_up(world: World) -> None:
    assert world.beat("b") == [MemberState.UP]
    assert world.beat("b") == []
    assert world.view.reachable() == ["a", "b"]


def test_one_that_misses_beats_is_sent_nothing_and_owns_what_it_owned(world: World) -> None:
    world.beat("b")
    assert world.wait(SUSPECT_SECONDS) == [MemberState.SUSPECT]
    assert world.view.reachable() == ["a"]
    assert world.view.owning() == ["a", "b", "c"]
    assert world.beat("b") == [MemberState.UP]


def test_one_that_is_silent_for_long_is_down_until_it_is_heard(world: World) -> None:
    world.beat("b")
    assert world.wait(DOWN_SECONDS)[-1] is MemberState.DOWN
    assert world.view.owning() == ["a"]
    assert world.wait(60) == []
    assert world.beat("b") == [MemberState.UP]


def test_one_that_leaves_owns_nothing_more_and_serves_until_it_is_gone(world: World) -> None:
    world.beat("b", wine=7)
    assert world.beat("b", leaving=True, wine=7) == [MemberState.LEAVING]
    assert world.view.owning() == ["a", "c"]
    assert world.view.ready("wine") == {"b": Standing(7)}
    assert [change.after for change in world.view.gone("b")] == [MemberState.DOWN]
    assert world.view.ready("wine") == {}


def test_beats_of_strangers_and_of_itself_are_ignored(world: World) -> None:
    assert world.beat("stranger") == []
    assert world.beat("a", leaving=True) == []
    assert world.view.reachable() == ["a"]


@given(st.lists(st.tuples(st.sampled_from(["b", "c", "wait"]), st.floats(0.0, 3.0)), max_size=40))
def test_who_was_heard_lately_is_reachable_and_nobody_else(
    events: list[tuple[str, float]],
) -> None:
    world, heard = World(), dict[str, float]()
    for what, seconds in events:
        if what == "wait":
            world.wait(seconds)
        else:
            world.beat(what)
            heard[what] = world.now
    world.view.tick()
    recent = [node for node in "bc" if world.now - heard.get(node, -99) < SUSPECT_SECONDS]
    assert world.view.reachable() == ["a", *recent]
