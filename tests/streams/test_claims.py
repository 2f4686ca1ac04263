"""Claims: what may be committed, and what is still under way."""

from hypothesis import given
from hypothesis import strategies as st

from repertory.streams.claims import Claim, Claims

PLACE = ("t", 0)


def test_there_is_nothing_to_commit_before_the_first_record_is_done() -> None:
    claim = Claim("t", 0)
    claim.take(3)
    assert claim.position is None


def test_the_position_is_after_the_last_record_that_is_done() -> None:
    claim = Claim("t", 0)
    claim.take(3)
    claim.finish(10, 2)
    assert claim.position == 10


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.data())
def test_what_is_taken_is_under_way_until_it_is_done_or_discarded(
    counts: list[int], data: st.DataObject
) -> None:
    claim = Claim("t", 0)
    claim.take(sum(counts))
    kept = data.draw(st.integers(0, len(counts)))
    claim.discard(sum(counts[kept:]))
    for count in counts[:kept]:
        assert not claim.settled
        claim.finish(1, count)
    assert claim.settled


def test_a_topic_that_was_made_anew_begins_again() -> None:
    claim = Claim("t", 0)
    claim.take(2)
    claim.finish(101, 1)
    claim.finish(1, 1)
    assert claim.position == 1


def test_a_partition_that_comes_back_knows_nothing_of_its_old_claim() -> None:
    claims = Claims()
    claims.add([PLACE])
    [old] = claims
    old.take()
    claims.release([PLACE])
    claims.add([PLACE])
    old.finish(8, 1)
    assert old.released
    assert claims.uncommitted() == []


def test_only_positions_that_the_broker_does_not_have_are_committed() -> None:
    claims = Claims()
    claims.add([("t", 0), ("t", 1), ("u", 0)])
    for claim in claims.only([("t", 0), ("u", 0)]):
        claim.take()
        claim.finish(4, 1)
    [first, _, _] = claims
    first.committed = 4
    assert [(claim.place, position) for claim, position in claims.uncommitted()] == [(("u", 0), 4)]


def test_floors_that_the_broker_does_not_have_are_committed_where_the_work_begins() -> None:
    claim = Claim("t", 0)
    claim.inherit({"wine": 5})
    claim.take(3, first=40)
    claim.raise_floor("wine", 4)
    found = [claim.uncommitted]
    claim.raise_floor("wine", 6)
    found.append(claim.uncommitted)
    claim.finish(42, 2)
    found.append(claim.uncommitted)
    claim.committed, claim.noted = 42, claim.floors
    assert [*found, claim.uncommitted] == [None, 40, 42, None]
    assert claim.floors == {"wine": 6}
