"""Claims: what may be committed, whatever the order in which records are done."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from repertory.streams.claims import Claim, Claims

increasing = st.lists(st.integers(0, 10**6), min_size=1, max_size=40, unique=True).map(sorted)


def taken(offsets: Sequence[int]) -> Claim:
    claim = Claim("t", 0)
    for offset in offsets:
        claim.take(offset)
    return claim


def test_there_is_nothing_to_commit_before_the_first_record() -> None:
    assert Claim("t", 0).position is None


def test_the_position_is_after_the_last_record_when_all_are_done() -> None:
    claim = taken([4, 5, 9])
    for offset in (9, 4, 5):
        claim.finish(offset)
    assert claim.position == 10


@given(increasing, st.data())
def test_everything_before_the_position_is_done_and_what_is_at_it_is_not(
    offsets: list[int], data: st.DataObject
) -> None:
    done = data.draw(st.sets(st.sampled_from(offsets)))
    claim = taken(offsets)
    for offset in data.draw(st.permutations(sorted(done))):
        claim.finish(offset)
    position = claim.position
    assert position is not None
    assert {each for each in offsets if each < position} <= done
    assert position not in done


@given(increasing, st.integers(0, 40))
def test_what_is_discarded_stays_uncommitted_and_is_not_waited_for(
    offsets: list[int], kept: int
) -> None:
    claim = taken(offsets)
    for _ in offsets[kept:]:
        claim.discard()
    for offset in offsets[:kept]:
        assert not claim.settled
        claim.finish(offset)
    assert claim.settled
    assert claim.position == (offsets[kept] if kept < len(offsets) else offsets[-1] + 1)


def test_a_topic_that_was_made_anew_begins_again() -> None:
    claim = taken([100, 0])
    claim.finish(100)
    assert claim.position == 0


def test_a_partition_that_comes_back_knows_nothing_of_its_old_claim() -> None:
    claims = Claims()
    claims.add([("t", 0)])
    [old] = claims
    old.take(7)
    claims.release([("t", 0)])
    claims.add([("t", 0)])
    old.finish(7)
    assert old.released
    assert claims.uncommitted() == []


def test_only_positions_that_the_broker_does_not_have_are_committed() -> None:
    claims = Claims()
    claims.add([("t", 0), ("t", 1), ("u", 0)])
    for place in (("t", 0), ("u", 0)):
        claim = claims.get(place)
        assert claim is not None
        claim.take(3)
        claim.finish(3)
    [first, _, _] = claims
    first.committed = 4
    assert [(claim.place, position) for claim, position in claims.uncommitted()] == [(("u", 0), 4)]
