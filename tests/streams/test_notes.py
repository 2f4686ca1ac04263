"""Notes beside offsets: ours come back as they were, others say nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.streams.notes import MOST_BYTES, Note, read_note, write_note

NAMES = st.text("abcdefghij-", min_size=1, max_size=60)


@given(st.builds(Note, NAMES, st.dictionaries(NAMES, st.integers(1, 2**53), max_size=5)))
def test_a_note_comes_back_as_it_was(note: Note) -> None:
    assert read_note(write_note(note)) == note


@pytest.mark.parametrize("text", [None, "", "x", "7", "[]", '{"node": 7, "floors": [1]}'])
def test_what_is_no_note_says_nothing(text: str | None) -> None:
    assert read_note(text) == Note()


def test_what_is_no_position_is_ignored() -> None:
    text = '{"node": "a", "floors": {"b": "7", "c": -1, "d": true, "e": 5, "f": 1.5}}'
    assert read_note(text) == Note("a", {"e": 5})


def test_the_highest_floors_of_very_many_data_types_are_kept() -> None:
    note = Note("a", {f"data-type-{number}": number for number in range(1, 1000)})
    text = write_note(note)
    kept = read_note(text).floors
    assert MOST_BYTES * 3 / 4 < len(text) <= MOST_BYTES
    assert min(kept.values()) == 1000 - len(kept)
