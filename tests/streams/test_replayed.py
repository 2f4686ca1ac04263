"""Which dead letters were replayed, whatever was chosen in whatever order."""

import itertools
from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from repertory.streams.dead_letters import DeadLetter, Place
from repertory.streams.replayed import NOTE_CHARACTERS, Replayed


def letter(offset: int, code: str = "a") -> DeadLetter:
    return DeadLetter(
        partition=0,
        offset=offset,
        timestamp_ms=0,
        key=None,
        value=None,
        headers=[],
        code=code,
        reason="",
        source=Place("mdata", 0, 0),
        data_type="wine",
        model=None,
        failed_ms=0,
        value_bytes=None,
        headers_left_out=False,
        attempts=0,
    )


def stored(replayed: Replayed) -> Replayed:
    return Replayed(replayed.position, replayed.note())


def scan(
    replayed: Replayed, letters: list[DeadLetter], chosen: Callable[[DeadLetter], bool]
) -> Replayed:
    for each in letters:
        done = replayed.has(each) or chosen(each)
        (replayed.sent if done else replayed.passed)(each)
    return stored(replayed)


def known(replayed: Replayed, letters: list[DeadLetter]) -> set[int]:
    return {each.offset for each in letters if replayed.has(each)}


some = st.sets(st.integers(0, 11))  # of the letters, by their number
kinds = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 3)), max_size=12)


@example([("a", 1)] * 3, [(set(), 1, {1})])
@given(kinds, st.lists(st.tuples(some, st.integers(0, 12), some), max_size=4))
def test_it_knows_exactly_what_was_replayed(
    kinds: list[tuple[str, int]], steps: list[tuple[set[int], int, set[int]]]
) -> None:
    gaps = itertools.accumulate(gap for _, gap in kinds)
    letters = [letter(offset, code) for offset, (code, _) in zip(gaps, kinds, strict=True)]
    replayed, expected = Replayed(), set[int]()
    for chosen, stop, alone in steps:
        wanted = {each.offset for number, each in enumerate(letters[:stop]) if number in chosen}
        replayed = scan(replayed, letters[:stop], lambda each: each.offset in wanted)  # noqa: B023
        expected |= wanted
        assert known(replayed, letters) == expected
        for number, each in enumerate(letters):
            if number in alone:
                replayed.add(each)
                expected.add(each.offset)
        assert known(replayed, letters) == known(stored(replayed), letters) == expected
        replayed = stored(replayed)


def test_replaying_all_needs_a_position_only() -> None:
    replayed = scan(Replayed(), [letter(at) for at in range(100)], lambda _: True)
    assert (replayed.position, replayed.note()) == (100, "")


def test_one_run_stands_for_all_letters_of_a_kind() -> None:
    letters = [letter(at, "abcd"[at % 4]) for at in range(100_000)]
    replayed = scan(Replayed(), letters, lambda each: each.code == "b")
    assert replayed.position == 0
    assert len(replayed.note()) < 40
    assert known(replayed, letters) == set(range(1, 100_000, 4))


def test_a_scan_that_is_stopped_keeps_what_was_known_beyond() -> None:
    letters = [letter(at, "ab"[at % 2]) for at in range(20)]
    replayed = scan(Replayed(), letters, lambda each: each.code == "b")
    replayed = scan(replayed, letters[:10], lambda _: True)
    assert replayed.position == 10
    assert known(replayed, letters) == {*range(10), 11, 13, 15, 17, 19}


def test_what_does_not_fit_the_note_is_forgotten_and_said() -> None:
    letters = [letter(at) for at in range(3000)]
    replayed = Replayed()
    for each in letters[1:2000:2]:
        replayed.add(each)
    for each in letters[2100:2900]:
        replayed.add(each)
    found = stored(scan(replayed, letters, lambda _: False))
    assert replayed.forgotten
    assert len(found.note()) <= NOTE_CHARACTERS
    assert known(found, letters) >= set(range(2100, 2900))


def test_letters_that_are_gone_do_not_count() -> None:
    replayed = Replayed(10, Replayed(10).note(), first=50)
    assert replayed.position == 50


def test_a_note_of_another_program_says_nothing() -> None:
    for note in ("host-1", "[1]", '{"a": 3}', '{"a": [[1]]}', "null"):
        assert known(Replayed(5, note), [letter(5), letter(6)]) == set()
